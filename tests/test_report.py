"""The HTML report: complete, the same every time, and deaf to what models say; read by a parser and by a browser."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modular_pluralism.errors import EvaluationError
from modular_pluralism.evaluation.report import render_report, write_report
from modular_pluralism.evaluation.report.charts import Axis
from modular_pluralism.evaluation.report.figure_text import figure_text, number_format
from modular_pluralism.evaluation.report.plain_text import fact_text, plain_text
from modular_pluralism.evaluation.statistics.results import Column, Failure, Figure, Results, Row, Table
from tests.browser import assert_nothing_overflows, chromium, contrast
from tests.example_results import COUNTRIES, HOSTILE, METHODS, RIGHT_TO_LEFT, example_results

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

_VOID = {"meta", "link", "img", "input", "br", "hr"}


class Reading(HTMLParser):
    """The elements of a page with their attributes, and the text inside each kind of element."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.texts: dict[str, list[str]] = {}
        self.unclosed: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in _VOID:
            self.unclosed.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self.unclosed.pop() == tag, f"</{tag}> closes something else"

    def handle_data(self, data: str) -> None:
        if self.unclosed:
            self.texts.setdefault(self.unclosed[-1], []).append(data)

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture(scope="module")
def page() -> str:
    return render_report(example_results())


@pytest.fixture(scope="module")
def reading(page: str) -> Reading:
    return Reading(page)


def results_with(**parts: object) -> Results:
    return Results.model_validate({"title": "t", "task": {}, "run": {}, "warnings": [], "tables": [], **parts})


def table_with(cells: dict[str, Figure], chart: str | None = None) -> Table:
    columns = [Column(key=key, title=key) for key in cells]
    return Table(name="t", title="T", columns=columns, rows=[Row(name="m", cells=cells)], chart=chart)


def test_every_element_is_closed_and_known(reading: Reading) -> None:
    assert reading.unclosed == []
    known = (
        "html head meta title style body header main section aside nav footer h1 h2 h3 h4 p ul li a dl dt dd div span "
        "strong table caption thead tbody tr th td details summary article figure figcaption "
        "svg path text rect line polyline"
    )
    assert {tag for tag, _ in reading.elements} <= set(known.split())


def test_nothing_said_by_a_model_becomes_an_element_or_an_attribute(page: str, reading: Reading) -> None:
    names = {name for _, attributes in reading.elements for name in attributes}
    assert not {name for name in names if name.startswith("on") or name in ("src", "style", "srcdoc", "action")}
    assert all(each["href"].startswith("#") for each in reading.all("a"))
    assert '<script>document.title = "owned"</script>' in "".join(reading.texts["div"]), "it is shown as it was said"
    assert "{{ 7 * 7 }} {% raw %}" in "".join(reading.texts["div"])
    assert "$x$" in "".join(reading.texts["div"])


def test_no_character_of_a_model_is_hidden_or_turns_the_text_round(page: str, reading: Reading) -> None:
    assert not set(page) & {*map(chr, range(0x20)), *"\x7f\u202e\u202c\u2066\ufeff\ud800\uffff"} - {"\n", "\t"}
    assert "⟨U+202E⟩gnp.exe⟨U+202C⟩ ⟨U+001B⟩[31mred" in "".join(reading.texts["div"])
    assert RIGHT_TO_LEFT in page, "true right-to-left text stays as it is"
    assert page.encode("utf-8").decode("utf-8") == page


def test_a_title_and_facts_are_data_too() -> None:
    text = render_report(results_with(title=HOSTILE, task={HOSTILE: [HOSTILE, {HOSTILE: None}]}, warnings=[HOSTILE]))
    found = Reading(text)
    assert not [tag for tag, _ in found.elements if tag in ("script", "img")]
    assert "</style></svg>" in "".join(found.texts["title"])
    assert len(found.all("style")) == 1


def test_the_policy_allows_this_style_sheet_and_nothing_else(page: str) -> None:
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)
    assert policy is not None
    style = page.split("<style>")[1].split("</style>")[0]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert policy[1] == f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    assert page.index("Content-Security-Policy") < page.index("<style>")


def test_nothing_is_loaded_from_elsewhere(page: str, reading: Reading) -> None:
    assert not [tag for tag, _ in reading.elements if tag in ("link", "img", "iframe", "object", "image")]
    assert "@import" not in page
    assert re.findall(r"url\((?!#)", page) == []
    assert not re.findall(r"https?://", page)


def test_ids_are_unique_and_every_reference_has_one(page: str, reading: Reading) -> None:
    ids = [attributes["id"] for _, attributes in reading.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    referenced = set(re.findall(r'(?:href="#|url\(#|aria-labelledby=")([^")]+)', page))
    assert referenced <= set(ids)
    assert len(referenced) > 20


def test_tables_and_charts_can_be_read_aloud(reading: Reading) -> None:
    assert len(reading.all("caption")) == len(reading.all("table"))
    assert all(each.get("scope") in ("col", "row", "rowgroup") for each in reading.all("th"))
    drawings = reading.all("svg")
    charts = [each for each in drawings if each["class"] == "chart"]
    assert len(charts) == 5 + len(METHODS), "overall, differences, three groupings, and the curves"
    assert all(each["role"] == "img" and len(each["aria-label"]) > 20 for each in charts)
    assert all(each["aria-hidden"] == "true" for each in drawings if each["class"] != "chart")


def test_warnings_come_before_any_number(page: str) -> None:
    for warning in example_results().warnings:
        assert page.index(warning) < page.index("<dt>") < page.index("<td")


def test_every_figure_is_there_with_its_interval(reading: Reading) -> None:
    cells = "".join(reading.texts["td"]) + "".join(reading.texts["strong"])
    intervals = "".join(reading.texts["span"])
    for table in example_results().tables:
        for column in table.columns:
            figures = [row.cells[column.key] for row in table.rows if column.key in row.cells]
            write = number_format(column, figures)
            for text in (figure_text(figure, write) for figure in figures):
                assert text.value in cells
                assert text.interval in intervals


def test_what_each_measure_means_stands_beside_it(page: str) -> None:
    for column in {column.title: column for table in example_results().tables for column in table.columns}.values():
        assert page.count(column.help.replace("'", "&#39;")) == 1


def test_bold_is_what_is_clear(page: str) -> None:
    clear = sum(each.clear for table in example_results().tables for row in table.rows for each in row.cells.values())
    assert clear > 0
    assert page.count('<td class="figure"><strong>') == clear


def test_baselines_stand_apart(page: str) -> None:
    baselines = sum(row.baseline for table in example_results().tables for row in table.rows)
    assert page.count('<tr class="baseline">') == baselines
    assert "training-free baselines" in page


def test_the_chart_by_country_names_all_of_them(page: str) -> None:
    chart = re.search(r'<svg [^>]*aria-label="By country.*?</svg>', page, re.DOTALL)
    assert chart is not None
    words = " ".join(Reading(chart[0]).texts["text"])  # a long name is on two lines
    for country in COUNTRIES:
        assert country in words


def test_a_reliability_point_lies_where_its_shares_are() -> None:
    point = {"predicted": 0.25, "real": Figure(value=0.75, low=0.5, high=1.0, n=40)}
    page = render_report(results_with(reliability={"m": [point]}))
    curve = Reading(page)
    [interval] = [each for each in curve.all("line") if each["stroke"] == "var(--series-0)"]
    [point_at] = [each["points"] for each in curve.all("polyline")]
    grid = [each for each in curve.all("line") if each["stroke"] == "var(--rule)"]
    across = sorted({float(each["x1"]) for each in grid if each["x1"] == each["x2"]})
    up = sorted({float(each["y1"]) for each in grid if each["y1"] == each["y2"]}, reverse=True)
    assert len(across) == len(up) == 5, "0, 25, 50, 75 and 100 per cent"
    assert point_at.strip() == f"{across[1]:.2f},{up[3]:.2f}"
    assert float(interval["x1"]) == float(interval["x2"]) == across[1]
    assert (float(interval["y1"]), float(interval["y2"])) == (up[2], up[4])


def test_a_bar_and_its_interval_end_where_their_values_are() -> None:
    page = Reading(render_report(results_with(tables=[table_with({"a": Figure(value=-2, low=-4, high=1, n=9)}, "a")])))
    [bar] = page.all("rect")
    [interval] = [each for each in page.all("line") if (each["stroke"], each["stroke-width"]) == ("var(--ink)", "1.6")]
    [zero] = [float(each["x1"]) for each in page.all("line") if each["stroke-width"] == "0.9"]
    left, right = float(bar["x"]), float(bar["x"]) + float(bar["width"])
    assert right == pytest.approx(zero, abs=0.02)
    assert float(interval["x1"]) == pytest.approx(zero - 2 * (zero - left), abs=0.03)
    assert float(interval["x2"]) == pytest.approx(zero + (zero - left) / 2, abs=0.03)


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (-0.02, 0.36, [0.0, 0.1, 0.2, 0.3]),
        (-4.25, 1.25, [-4.0, -2.0, 0.0]),
        (0.1999, 0.2011, [0.2, 0.2005, 0.201]),
        (950.0, 2050.0, [1000.0, 1500.0, 2000.0]),
        (0.0, 1.0, [0.0, 0.25, 0.5, 0.75, 1.0]),
    ],
)
def test_an_axis_has_a_few_round_values(low: float, high: float, ticks: list[float]) -> None:
    assert Axis(low, high, 0, 1).ticks == pytest.approx(ticks)


@given(low=st.floats(-1e6, 1e6), width=st.floats(1e-3, 1e6))
def test_any_axis_has_two_to_five_values_within_it(low: float, width: float) -> None:
    axis = Axis(low, low + width, 80, 422)
    assert 2 <= len(axis.ticks) <= 5
    assert all(80 - 0.01 <= axis.at(value) <= 422.01 for value in axis.ticks)


def test_the_same_results_give_the_same_file(page: str) -> None:
    assert render_report(example_results()) == page


def test_examples_show_all_it_takes_to_see_why(page: str, reading: Reading) -> None:
    assert page.count("<article>") == len(example_results().examples)
    for word in ("Right to a fair wage", "0.710", "news_center", "52.0 %", "no reply within 120 s"):
        assert word in page
    summaries = "".join(reading.texts["summary"])
    assert "modular: the 10 best" in summaries
    assert "moe: the 10 worst" in summaries


def test_failures_are_counted_even_where_not_listed() -> None:
    failures = [Failure(method="m", id=number, error=f"reason {number}") for number in range(20)]
    page = render_report(results_with(failures=failures, failed=250))
    assert "250 items have no result" in page
    assert "The first 20 are listed." in page
    assert "reason 19" in page
    assert "no result" not in render_report(results_with())


def test_results_without_a_row_or_a_value_still_make_a_page() -> None:
    empty = Table(name="e", title="Empty", columns=[Column(key="a", title="a")], rows=[], chart="a")
    cells = {"a": Figure(value=None, n=0), "b": Figure(value=float("nan"), low=float("-inf"), high=1.0, n=1)}
    page = render_report(results_with(tables=[empty, table_with(cells, chart="a"), table_with(cells, chart="b")]))
    assert "nothing to show" in page
    assert page.count("–") >= 4
    assert "nan" not in Reading(page).texts["td"]
    assert page.count("no value</text>") == 2


def test_any_number_of_options_has_a_letter() -> None:
    example = example_results().examples[0].model_copy(update={"gold": [1 / 30] * 30, "options": [], "predicted": []})
    assert "30. " in render_report(results_with(examples=[example]))


@pytest.mark.parametrize(
    ("column", "values", "expected"),
    [
        ({}, [0.29851, 0.5], "0.299"),
        ({}, [-0.0213, 0.01], "−0.0213"),
        ({}, [0.01, -0.0213], "+0.0100"),
        ({}, [712301, 4], "712,301"),
        ({}, [0.000012], "0.000012"),
        ({"share": True}, [0.4391], "43.9 %"),
        ({}, [12.34, 99.0], "12.3"),
    ],
)
def test_all_of_a_column_has_the_same_decimals(column: dict[str, bool], values: list[float], expected: str) -> None:
    figures = [Figure(value=value, n=3) for value in values]
    write = number_format(Column(key="k", title="t", share=column.get("share", False)), figures)
    assert figure_text(figures[0], write).value == expected


def test_an_interval_is_written_without_its_unit() -> None:
    figure = Figure(value=0.4, low=0.25, high=0.5, n=1234)
    text = figure_text(figure, number_format(Column(key="k", title="t", share=True), [figure]))
    assert (text.value, text.interval, text.n) == ("40.0 %", "[25.0, 50.0]", "1,234")


def test_plain_text_keeps_what_scripts_and_emoji_need() -> None:
    for kept in ("a\tb\nc", "می\u200cخواهم", "👩\u200d👩\u200d👧", "日本語", "ß"):
        assert plain_text(kept) == kept
    assert plain_text("\x00\x9b") == "⟨U+0000⟩⟨U+009B⟩"


def test_facts_are_said_in_words() -> None:
    assert fact_text({"a": [1, True, None], "b": {}}) == "a: 1, yes, –; b: –"
    assert fact_text(0.7) == "0.7"


def test_a_report_is_put_in_its_place_whole(tmp_path: Path) -> None:
    path = tmp_path / "new" / "report.html"
    write_report(results_with(title="first"), path)
    write_report(results_with(title="second"), path)
    assert "<title>second</title>" in path.read_text(encoding="utf-8")
    assert [each.name for each in path.parent.iterdir()] == ["report.html"]


def test_a_failed_write_leaves_the_old_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "report.html"
    write_report(results_with(title="first"), path)

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(EvaluationError, match=r"No space left on device.*--out"):
        write_report(results_with(title="second"), path)
    assert "<title>first</title>" in path.read_text(encoding="utf-8")
    assert [each.name for each in tmp_path.iterdir()] == ["report.html"]


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(EvaluationError, match=r"report\.html cannot be written"):
        write_report(results_with(), tmp_path / "file" / "report.html")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A real Chromium; where there is none the test says how to get it, and fails in CI."""
    with chromium() as running:
        yield running


@pytest.fixture(scope="module")
def report_file(page: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_text(page, encoding="utf-8")
    return path


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.browser
def test_in_a_browser(browser: Browser, report_file: Path, width: int, scheme: str) -> None:
    context = browser.new_context(viewport={"width": width, "height": 844}, color_scheme=scheme)  # type: ignore[arg-type]
    shown = context.new_page()
    said: list[str] = []
    requests: list[str] = []
    shown.on("console", lambda message: said.append(message.text))
    shown.on("pageerror", lambda error: said.append(str(error)))
    shown.on("request", lambda request: requests.append(request.url))
    shown.goto(report_file.as_uri())
    shown.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")
    shown.wait_for_timeout(100)

    assert said == []
    assert requests == [report_file.as_uri()]
    assert shown.title() == example_results().title, "no script renamed it"
    assert shown.evaluate("document.scripts.length + document.images.length") == 0
    _assert_styled(shown, scheme)
    _assert_drawings_are_visible(shown)
    assert_nothing_overflows(shown, width)
    context.close()


def _assert_styled(shown: Page, scheme: str) -> None:
    """The policy let the style sheet through, and both schemes can be read."""
    ink, paper = shown.evaluate(
        "[getComputedStyle(document.body).color, getComputedStyle(document.body).backgroundColor]"
    )
    assert paper == ("rgb(255, 255, 255)" if scheme == "light" else "rgb(21, 24, 28)")
    muted = shown.evaluate("getComputedStyle(document.querySelector('.note')).color")
    warned = shown.evaluate("getComputedStyle(document.querySelector('.warnings')).backgroundColor")
    soft = shown.evaluate("getComputedStyle(document.querySelector('tr.baseline > td')).backgroundColor")
    lettering = shown.evaluate("getComputedStyle(document.querySelector('svg.chart text')).fill")
    for front, back in ((ink, paper), (muted, paper), (ink, warned), (muted, soft), (lettering, paper)):
        assert contrast(front, back) >= 4.5, (front, back)


def _assert_drawings_are_visible(shown: Page) -> None:
    boxes = shown.evaluate(
        """[...document.querySelectorAll('svg.chart')].map(each => {
            const box = each.getBoundingClientRect();
            const words = [...each.querySelectorAll('text')];
            const outside = words.filter(text => {
                const at = text.getBoundingClientRect();
                return at.left < box.left || at.right > box.right || at.top < box.top || at.bottom > box.bottom;
            });
            return [box.width, box.height, each.checkVisibility(), words.length, outside.map(text => text.textContent)];
        })"""
    )
    assert len(boxes) == 5 + len(METHODS)
    for width, height, visible, words, outside in boxes:
        assert visible
        assert width > 250
        assert height > 60
        assert words > 4
        assert outside == []
