"""The HTML report of an evaluation: one file that needs nothing else."""

from modular_pluralism.evaluation.report.write import ReportError, write_report

__all__ = ["ReportError", "write_report"]
