"""The HTML report of an evaluation: one file that needs nothing else."""

from modular_pluralism.evaluation.report.write import render_report, write_report

__all__ = ["render_report", "write_report"]
