"""Distances between distributions, the groups of a report, and the training-free baselines."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modular_pluralism.evaluation.data.groups import groups
from modular_pluralism.evaluation.data.items import OptionItem, ValueItem
from modular_pluralism.evaluation.measures.distances import (
    FARTHEST,
    agrees_with_any_mode,
    has_tied_modes,
    js_distance,
    most_likely_agrees,
)
from modular_pluralism.option_math import normalise
from modular_pluralism.records.countries import continent, country
from modular_pluralism.records.populations import population
from tests.scipy_distance import jensenshannon


def distributions(size: int) -> st.SearchStrategy[list[float]]:
    return st.lists(st.floats(0, 1), min_size=size, max_size=size).filter(any).map(normalise)


@given(st.integers(1, 8).flatmap(lambda size: st.tuples(distributions(size), distributions(size))))
def test_the_js_distance_is_the_root_of_the_divergence(case: tuple[list[float], list[float]]) -> None:
    gold, predicted = case
    middle = [(a + b) / 2 for a, b in zip(gold, predicted, strict=True)]

    def kl(p: list[float]) -> float:
        return math.fsum(a * math.log(a / m) for a, m in zip(p, middle, strict=True) if a > 0 and m > 0)

    found = js_distance(gold, predicted)
    assert found**2 == pytest.approx((kl(gold) + kl(predicted)) / 2, abs=1e-9)
    assert found == pytest.approx(js_distance(predicted, gold), abs=1e-9)
    assert 0 <= found <= FARTHEST + 1e-12
    by_scipy = float(jensenshannon(gold, predicted))
    # Shares that are too small for a float to be halved exactly count as none here.
    assert (
        found == pytest.approx(by_scipy, rel=1e-12, abs=1e-150)
        or (math.isnan(by_scipy) and found == 0)
        or math.isinf(by_scipy)
    )


def test_a_share_next_to_nothing_is_no_distance() -> None:
    assert js_distance([0, 1, 0], [0, 1, 5e-324]) == 0
    assert js_distance([0, 1, 5e-324], [1, 0, 0]) == pytest.approx(FARTHEST)


def test_equal_and_opposite_distributions() -> None:
    assert js_distance([0.1, 0.2, 0.7], [0.1, 0.2, 0.7]) == pytest.approx(0, abs=1e-8)
    assert js_distance([1, 0], [0, 1]) == pytest.approx(FARTHEST)


def test_of_equally_likely_options_the_first_counts() -> None:
    assert most_likely_agrees([0.5, 0.5], [0.9, 0.1])
    assert not most_likely_agrees([0.5, 0.5], [0.1, 0.9])
    assert agrees_with_any_mode([0.5, 0.5], [0.1, 0.9])
    assert not agrees_with_any_mode([0.6, 0.4], [0.1, 0.9])
    assert has_tied_modes([0.4, 0.4, 0.2])
    assert not has_tied_modes([0.4, 0.3, 0.3])


def option_item(gold: list[float], attribute: str = "Kenya") -> OptionItem:
    options = tuple("abcdefgh"[: len(gold)])
    return OptionItem(str(gold) + attribute, "?", options, attribute, tuple(gold), None, True)


def value_item(label: str, value: str = "Honesty") -> ValueItem:
    return ValueItem(label, "lying", value, label, "?", None)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("attribute", "name", "where"),
    [
        ("S. Africa (Non-national sample)", "South Africa", "Africa"),
        ("India (Old national sample)", "India", "Asia"),
        ("South Korea", "South Korea", "Asia"),
        ("S. Korea", "South Korea", "Asia"),
        ("Great Britain", "Britain", "Europe"),
        ("Mexico", "Mexico", "North America"),
        ("Peru", "Peru", "South America"),
        ("New Zealand", "New Zealand", "Oceania"),
        ("DEU", "DEU", "Europe"),
        ("NA", "NA", "Africa"),
        ("united kingdom", "united kingdom", "Europe"),
        ("Côte d'Ivoire", "Côte d'Ivoire", "Africa"),
        ("no", "no", "other"),
        ("Atlantis (sunk)", "Atlantis (sunk)", "other"),
    ],
)
def test_countries_have_one_name_and_a_continent(attribute: str, name: str, where: str) -> None:
    assert (country(attribute), continent(attribute)) == (name, where)
    assert population(attribute) == name
    assert groups(option_item([1, 0], attribute), "distributional") == {"continent": where, "country": name}


@pytest.mark.parametrize(
    ("attribute", "told"),
    [
        ("low_ambiguity", None),
        ("high_ambiguity", None),
        ("POLIDEOLOGY_Conservative", "Conservative (political ideology)"),
        ("EDUCATION_College graduate/some postgrad", "College graduate/some postgrad (education)"),
        ("HOBBY_Chess_club", "Chess_club (hobby)"),
    ],
)
def test_a_model_is_told_the_population_and_never_the_ambiguity(attribute: str, told: str | None) -> None:
    assert population(attribute) == told


def test_groups_of_the_other_kinds() -> None:
    assert groups(option_item([1, 0], "low_ambiguity"), "distributional") == {"ambiguity": "low ambiguity"}
    assert groups(option_item([1, 0], "RELIG_Hindu"), "steerable-opinion") == {
        "category": "religion",
        "group": "religion: Hindu",
    }
    # Asked for as distributions, they are the same groups.
    as_distribution = groups(option_item([1, 0], "RELIG_Hindu"), "distributional")
    assert as_distribution == groups(option_item([1, 0], "RELIG_Hindu"), "steerable-opinion")
    assert groups(value_item("B", "Duty to care"), "steerable-value") == {
        "label": "B (oppose)",
        "sort of value": "duty",
    }
    assert groups(value_item("A", "Rightness"), "steerable-value")["sort of value"] == "value"
