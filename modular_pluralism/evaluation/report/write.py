"""Writing the report: rendered whole, then put into its place, so that a reader never finds half of one."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from modular_pluralism.evaluation.report.folder import write_text
from modular_pluralism.evaluation.report.plain_text import fact_text, plain_text
from modular_pluralism.evaluation.report.view import (
    MANY_ROWS,
    examples_view,
    option_letter,
    reliability_view,
    style_hash,
    tables_view,
)
from modular_pluralism.evaluation.statistics.results import Results


def write_report(results: Results, path: Path) -> None:
    """Write the results as one HTML file that loads nothing and runs nothing; a file of that name is replaced.

    Raises:
        ModelLoadError: matplotlib is not installed.
        EvaluationError: the file cannot be written.
    """
    write_text(path, render_report(results))


def render_report(results: Results) -> str:
    """The page as text. The same results give the same text.

    Raises:
        ModelLoadError: matplotlib is not installed.
    """
    here = files("modular_pluralism.evaluation.report")
    style = here.joinpath("style.css").read_text(encoding="utf-8")
    # What comes from models and users is escaped by the environment, after the filter has made it plain.
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"plain": plain_text, "fact": fact_text, "letter": option_letter}
    environment.filters["svg"] = Markup  # only for drawings of charts.py, which escapes names itself
    template = environment.from_string(here.joinpath("report.html.jinja").read_text(encoding="utf-8"))
    page = template.render(
        results=results,
        style=Markup(style),
        style_hash=style_hash(style),
        tables=tables_view(results),
        reliability=reliability_view(results),
        examples=examples_view(results),
        many_rows=MANY_ROWS,
        has_baselines=any(row.baseline for table in results.tables for row in table.rows),
    )
    return page.lstrip()
