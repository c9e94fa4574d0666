"""The HTML report of an evaluation: one file that needs nothing else."""

from modular_pluralism.evaluation.report.charts import ChartsMissingError, require_charts
from modular_pluralism.evaluation.report.write import ReportError, render_report, write_report

__all__ = ["ChartsMissingError", "ReportError", "render_report", "require_charts", "write_report"]
