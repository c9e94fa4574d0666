"""The page of an assembly's minutes in a real browser: it can be read, and counts as the package does."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
import pytest

from modular_pluralism.societal.choice import ChoiceName, choice_rules
from modular_pluralism.societal.slate import SLATE
from modular_pluralism.societal.table import Normalise, Table
from modular_pluralism.societal.tally import tally
from tests.browser import assert_nothing_overflows, chromium, contrast
from tests.kept_assembly import KeptAssembly

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.browser

RULES: tuple[ChoiceName, ...] = get_args(ChoiceName)
NORMALISERS: tuple[Normalise, ...] = get_args(Normalise)


@pytest.fixture(scope="module")
def browser(address: str) -> Iterator[Browser]:
    """Once the page is there: the command cannot run in the thread of a browser, which has an event loop."""
    with chromium() as running:
        yield running


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    kept = KeptAssembly(tmp_path_factory.mktemp("minutes"))
    kept.ask("ruled", "--contract", str(kept.folder / "rules.toml"))
    return kept.page("ruled").as_uri()


@pytest.fixture
def page(browser: Browser, address: str) -> Iterator[Page]:
    shown = browser.new_page()
    shown.goto(address)
    yield shown
    shown.close()


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark"), (390, "light")])
def test_it_can_be_read_and_asks_for_nothing(browser: Browser, address: str, width: int, scheme: Any) -> None:
    shown = browser.new_page(viewport={"width": width, "height": 844}, color_scheme=scheme)
    said: list[str] = []
    requests: list[str] = []
    shown.on("console", lambda message: said.append(message.text))
    shown.on("pageerror", lambda error: said.append(str(error)))
    shown.on("request", lambda request: requests.append(request.url))
    shown.goto(address)
    assert (said, requests) == ([], [address])
    assert_nothing_overflows(shown, width)
    ink, *shades = shown.evaluate(
        """[getComputedStyle(document.body).color, ...[...document.querySelectorAll('.ballots td')].map(cell => {
            const canvas = document.createElement('canvas').getContext('2d');
            canvas.fillStyle = getComputedStyle(cell).backgroundColor;
            canvas.fillRect(0, 0, 1, 1);
            const [red, green, blue, alpha] = canvas.getImageData(0, 0, 1, 1).data;
            return alpha ? `rgb(${red}, ${green}, ${blue})` : getComputedStyle(document.body).backgroundColor;
        })]"""
    )
    assert len(set(shades)) > 4
    assert min(contrast(ink, shade) for shade in shades) >= 4.5
    shown.close()


def test_a_screen_reader_finds_the_tables_the_sliders_and_what_changes(page: Page) -> None:
    table = page.get_by_role("region", name="Whom each candidate serves").get_by_role("table")
    assert table.get_by_role("rowheader").all_inner_texts() == ["north", "east", "south"]
    assert [text.split()[0] for text in table.get_by_role("columnheader").all_inner_texts()] == [
        "member",
        "weight",
        "base",
        "merge",
        "north",
        "east",
        "south",
    ]
    assert "(its highest)" in (table.get_by_role("row").nth(1).text_content() or "")
    assert page.get_by_role("slider", name="Weight of north, as a slider").count() == 1
    assert page.get_by_role("spinbutton", name="Weight of north").count() == 1
    assert page.get_by_role("combobox", name="Rule").count() == 1
    assert page.get_by_role("combobox", name="Normalising").count() == 1
    assert page.get_by_role("status").count() == 1


def test_a_weight_a_rule_and_a_normalising_change_what_would_be_chosen_and_back(page: Page) -> None:
    now, reset = page.get_by_role("status"), page.get_by_role("button", name="As it was")
    ranking = page.get_by_role("list", name="Ranking").get_by_role("listitem")
    assert now.inner_text() == "merge is chosen, as it was."
    assert reset.is_disabled()
    before = ranking.all_inner_texts()

    page.get_by_role("spinbutton", name="Weight of north").fill("9")
    assert now.inner_text() == "north is chosen instead of merge."
    assert ranking.first.inner_text() == "north"
    assert page.locator("#worst").inner_text().startswith("Worst off: east, at 0.042.")
    page.get_by_role("spinbutton", name="Weight of north").fill("-1")
    assert page.get_by_role("spinbutton", name="Weight of north").get_attribute("aria-invalid") == "true"
    assert now.inner_text() == "north is chosen instead of merge.", "what cannot be is not counted"

    reset.click()
    assert (now.inner_text(), ranking.all_inner_texts()) == ("merge is chosen, as it was.", before)
    slider = page.get_by_role("slider", name="Weight of east, as a slider")
    slider.focus()
    slider.press("End")
    assert page.get_by_role("spinbutton", name="Weight of east").input_value() == "1"
    slider.press("Home")
    assert page.locator("#used tr.uncounted").count() == 1
    for name in ("north", "south"):
        page.get_by_role("spinbutton", name=f"Weight of {name}").fill("0")
    assert now.inner_text() == "Nobody has a weight, so nothing can be chosen."
    assert ranking.count() == 0

    reset.click()
    page.get_by_role("combobox", name="Rule").select_option("slate")
    assert now.inner_text().startswith("north is chosen instead of merge.")
    assert "common levels" in page.locator("#of-rule").inner_text()
    page.get_by_role("combobox", name="Normalising").select_option("range")
    assert page.locator("#used td").nth(2).text_content() == "1.000 ▲ (its highest)"


def random_tables(count: int) -> list[Table]:
    """Tables with ties, gaps and members without a weight, of up to nine by nine."""
    draw = np.random.default_rng(11)
    made = []
    for number in range(count):
        members, candidates = (int(each) for each in draw.integers(1, 10, size=2))
        scores = draw.random((members, candidates))
        if number % 3:
            scores = np.round(scores * (2, 10)[number % 2]) / (2, 10)[number % 2]
        if number % 4 == 0:
            gaps = draw.random(scores.shape) < 0.25
            gaps[np.arange(members), draw.integers(0, candidates, members)] = False
            scores[gaps] = np.nan
        weights = draw.choice([0.0, 0.5, 1.0, 1.0, 2.0, 3.0], size=members) if number % 5 else draw.random(members)
        weights[0] = weights[0] or 1.0
        names = tuple(f"m{at}" for at in range(members)), tuple(f"c{at}" for at in range(candidates))
        made.append(Table(*names, scores, weights))
    return made


def plain(tables: list[Table]) -> list[dict[str, Any]]:
    """As the page's script has them."""
    return [
        {
            "scores": [[None if np.isnan(score) else score for score in row] for row in table.scores.tolist()],
            "weights": table.weights.tolist(),
            "slate": min(SLATE, len(table.candidates)),
        }
        for table in tables
    ]


def test_the_script_places_candidates_as_the_package_does(page: Page) -> None:
    tables = random_tables(250)
    everything = page.evaluate(
        """tables => tables.map(table => Object.fromEntries(choice.normalisers.map(normalise => {
            const used = choice.used(table.scores, normalise);
            return [normalise, [used, choice.placesUnder(used, choice.sharesOf(table.weights), table.slate)]];
        })))""",
        plain(tables),
    )
    for table, told in zip(tables, everything, strict=True):
        assert set(told) == set(NORMALISERS)
        rules = choice_rules(min(SLATE, len(table.candidates)))
        for normalise, (used, places) in told.items():
            scores = table.normalised(normalise).filled()
            assert abs(np.array(used) - scores).max() <= 1e-12
            assert set(places) == set(rules)
            for name, rule in rules.items():
                assert places[name] == rule.places(scores, table.weights[None, :])[0].tolist(), (name, table)


def test_the_script_tells_the_same_of_the_winner_as_a_tally(page: Page) -> None:
    tables = random_tables(42)
    ways = [(RULES[number % 7], NORMALISERS[number % 3]) for number in range(42)]
    told = page.evaluate(
        "given => given.map(([table, [rule, normalise]]) => choice.tally(table, rule, normalise))",
        list(zip(plain(tables), ways, strict=True)),
    )
    for table, (rule, normalise), found in zip(tables, ways, told, strict=True):
        counted, names = tally(table, rule, normalise), table.candidates
        assert names[found["winner"]] == counted["winner"]
        assert [names[at] for at in found["ranking"]] == counted["ranking"]
        assert {name: names[at] for name, at in found["winners"].items()} == counted["winners"]
        assert [names[at] for at in found["level"]] == (counted["tied"] or [counted["winner"]])
        assert table.members[found["worstOff"]] == counted["worst_off"]["member"]
        assert found["worstScore"] == pytest.approx(counted["worst_off"]["score"], abs=1e-12)
        assert found["gini"] == pytest.approx(counted["gini"], abs=1e-9)
        assert found["price"] == pytest.approx(counted["price_of_fairness"], abs=1e-9)
