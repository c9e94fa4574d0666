"""Writing the report: rendered whole, then put into its place, so that a reader never finds half of one."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from string import ascii_uppercase

from markupsafe import Markup

from modular_pluralism.evaluation.report.charts import SHARES, WIDTH, short
from modular_pluralism.evaluation.report.figure_text import is_number
from modular_pluralism.evaluation.report.folder import write_text
from modular_pluralism.evaluation.report.pages import allowed, page_templates
from modular_pluralism.evaluation.report.view import MANY_ROWS, examples_view, reliability_view, tables_view
from modular_pluralism.evaluation.statistics.results import Results


def write_report(results: Results, path: Path) -> None:
    """Write the results as one HTML file that loads nothing and runs nothing; a file of that name is replaced.

    Raises:
        EvaluationError: the file cannot be written.
    """
    write_text(path, render_report(results))


def render_report(results: Results) -> str:
    """The page as text. The same results give the same text."""
    style = files(__package__).joinpath("style.css").read_text(encoding="utf-8")
    environment = page_templates(__package__)
    environment.filters |= {"letter": _option_letter, "short": short}
    environment.tests["number_to_draw"] = is_number
    environment.globals["chart_width"] = WIDTH
    page = environment.get_template("report.html.jinja").render(
        results=results,
        style=Markup(style),
        style_hash=allowed(style),
        tables=tables_view(results),
        reliability=reliability_view(results),
        axes=SHARES,
        examples=examples_view(results),
        many_rows=MANY_ROWS,
        has_baselines=any(row.baseline for table in results.tables for row in table.rows),
    )
    return page.lstrip()


def _option_letter(place: int) -> str:
    """A to Z, then numbers."""
    return ascii_uppercase[place] if place < len(ascii_uppercase) else str(place + 1)
