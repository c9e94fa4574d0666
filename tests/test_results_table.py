"""The results in a terminal: nothing is lost at 80 columns, nothing said by a model is obeyed."""

from __future__ import annotations

import io
import re

import pytest
from rich.console import Console

from modular_pluralism.cli.results_table import print_results
from modular_pluralism.evaluation.report.figure_text import table_texts
from modular_pluralism.evaluation.statistics.results import Column, Figure, Results, Row, Table
from tests.example_results import HOSTILE, METHODS, example_results


def printed(results: Results, width: int = 80, *, colours: bool = False) -> str:
    out = io.StringIO()
    print_results(results, Console(file=out, width=width, highlight=False, force_terminal=colours, no_color=False))
    return out.getvalue()


@pytest.mark.parametrize("width", [80, 120, 200])
def test_every_figure_of_a_short_table_is_printed_whole(width: int) -> None:
    results = example_results()
    text = printed(results, width)
    assert all(len(line) <= width for line in text.splitlines())
    for table in results.tables[:4]:
        assert table.title in text
        for cell in (cell for row in table_texts(table) for cell in row if cell is not None):
            assert cell.value in text
            assert cell.interval in text
    for word in ("modular − vanilla", "uniform", "JS distance", "n=547", "Paired on the same items."):
        assert word in text


def test_a_wide_table_is_printed_in_parts_and_a_wide_terminal_needs_none() -> None:
    overall = Results(title="t", task={}, run={}, warnings=[], tables=example_results().tables[:1])
    narrow, wide = printed(overall, 80), printed(overall, 200)
    assert narrow.count("prompting") == 2
    assert wide.count("prompting") == 1
    assert narrow.count("○ uniform") == 1, "a row without a figure in a part is not printed there"


def test_warnings_stand_before_any_number() -> None:
    results = example_results()
    text = printed(results, 200)
    assert "In brackets: 95 % bootstrap intervals" in text
    assert all(text.index(f"! {warning}") < text.index("Overall") for warning in results.warnings)


def test_long_tables_by_group_are_left_to_the_report() -> None:
    results = example_results()
    text = printed(results, 200)
    assert "Oceania" not in text
    assert "By country (440 rows)" in text
    assert "By continent (42 rows)" in text
    assert "low ambiguity" in text, "a short one is printed"


def test_the_caller_says_where_the_rest_is() -> None:
    out = io.StringIO()
    print_results(example_results(), Console(file=out, width=200), rest="out/report.html")
    assert "In out/report.html: By continent (42 rows)" in out.getvalue()


def test_only_a_clear_difference_is_bold() -> None:
    def shown(clear: bool) -> str:
        cells = {"d": Figure(value=-0.25, low=-0.5, high=-0.125 if clear else 0.5, n=9, clear=clear)}
        table = Table(name="t", title="T", columns=[Column(key="d", title="d")], rows=[Row(name="a − b", cells=cells)])
        results = Results(title="r", task={}, run={}, warnings=[], tables=[table])
        return printed(results, colours=True)

    assert re.search(r"\x1b\[1m *−0\.250", shown(True))
    assert "the interval excludes zero" in shown(True)
    assert not re.search(r"\x1b\[1m *−0\.250", shown(False))
    assert "−0.250" in shown(False)
    assert "the interval excludes zero" not in shown(False)


def test_text_from_models_is_shown_and_never_obeyed() -> None:
    text = printed(example_results())
    assert "\x1b" not in text
    assert not set(text) & set("\x00\x07\u202e\u202c\ud800")
    assert "<script>document.title" in text
    hostile = Results(title=f"[bold]x[/bold] {HOSTILE}", task={}, run={}, warnings=["[red]not markup[/red]"], tables=[])
    assert "[bold]x[/bold]" in printed(hostile)
    assert "[red]not markup[/red]" in printed(hostile)


def test_failures_are_counted_and_named() -> None:
    text = printed(example_results(), 200)
    assert "3 failed" in text
    assert "moe, item 17: The deadline of 120 s passed" in text


def test_what_a_column_means_is_told_once() -> None:
    results = example_results()
    text = " ".join(printed(results, 200).split())
    for column in {column.title: column for table in results.tables for column in table.columns}.values():
        assert text.count(column.help) == 1, column.title
    assert all(method in text for method in METHODS)


def test_a_missing_value_is_no_zero() -> None:
    rows = [Row(name="m", cells={"a": Figure(value=None, n=0), "b": Figure(value=float("nan"), n=2)})]
    columns = [Column(key="a", title="first"), Column(key="b", title="second")]
    results = Results(
        title="r", task={}, run={}, warnings=[], tables=[Table(name="t", title="T", columns=columns, rows=rows)]
    )
    text = printed(results)
    assert text.count("–") == 2
    assert "0.0" not in text
    assert "nan" not in text
