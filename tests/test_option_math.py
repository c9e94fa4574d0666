"""The arithmetic of option distributions, as properties."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modular_pluralism.option_math import (
    disagreement,
    from_mean_logprobs,
    is_low,
    letters,
    linear_pool,
    log_linear_pool,
    mass_of_texts,
    mean_over_rotations,
    most_likely,
    normalise,
    rotations,
)

COUNTS = st.integers(1, 26)
RAW = st.floats(0, 1)


def distributions(size: int) -> st.SearchStrategy[list[float]]:
    return st.lists(RAW, min_size=size, max_size=size).filter(any).map(normalise)


def test_of_equal_shares_the_first_is_the_most_likely() -> None:
    assert [most_likely([0.2, 0.4, 0.4]), most_likely((0.5, 0.5)), most_likely([0, 3, 1])] == [1, 0, 1]
    with pytest.raises(ValueError, match="empty"):
        most_likely([])


@st.composite
def weighted(draw: st.DrawFn) -> tuple[list[list[float]], list[float]]:
    """Distributions [n, n_options] and weights [n]."""
    options, n = draw(st.integers(2, 8)), draw(st.integers(1, 8))
    return draw(st.lists(distributions(options), min_size=n, max_size=n)), draw(distributions(n))


def entropy(values: list[float]) -> float:
    return -sum(value * math.log(value) for value in values if value > 0)


def test_options_are_lettered_from_a_to_z() -> None:
    assert letters(3) == "ABC"
    assert letters(26)[-1] == "Z"


@given(COUNTS)
def test_rotations_are_a_latin_square(count: int) -> None:
    square = rotations(count)
    assert square[0] == list(range(count))
    for line in (*square, *zip(*square, strict=True)):
        assert sorted(line) == list(range(count))


@given(COUNTS.flatmap(distributions))
def test_a_rotated_distribution_is_mapped_back(fixed: list[float]) -> None:
    readings = [[fixed[option] for option in order] for order in rotations(len(fixed))]
    assert mean_over_rotations(readings) == pytest.approx(fixed)


@given(COUNTS.flatmap(distributions))
def test_a_preference_for_a_letter_is_taken_out(by_letter: list[float]) -> None:
    count = len(by_letter)
    assert mean_over_rotations([by_letter] * count) == pytest.approx([1 / count] * count)


def test_rotations_need_a_reading_each() -> None:
    with pytest.raises(ValueError, match="zip"):
        mean_over_rotations([[0.5, 0.5]])


@given(weighted())
def test_a_pool_is_a_distribution_between_its_parts(case: tuple[list[list[float]], list[float]]) -> None:
    parts, weights = case
    pool = linear_pool(parts, weights)
    assert sum(pool) == pytest.approx(1)
    for value, column in zip(pool, zip(*parts, strict=True), strict=True):
        assert min(column) - 1e-9 <= value <= max(column) + 1e-9


@given(distributions(5), distributions(3))
def test_equal_parts_pool_to_themselves_without_disagreement(part: list[float], weights: list[float]) -> None:
    assert linear_pool([part] * 3, weights) == pytest.approx(part)
    assert disagreement([part] * 3, weights) == pytest.approx(0, abs=1e-9)


@given(weighted())
def test_disagreement_lies_between_zero_and_the_entropy_of_the_weights(
    case: tuple[list[list[float]], list[float]],
) -> None:
    parts, weights = case
    assert 0 <= disagreement(parts, weights) <= entropy(weights) + 1e-9


def test_disagreement_of_opposites_is_the_entropy_of_the_weights() -> None:
    assert disagreement([[1, 0], [0, 1]], [0.5, 0.5]) == pytest.approx(math.log(2))
    assert disagreement([[1, 0], [0, 1]], [0.9, 0.1]) == pytest.approx(entropy([0.9, 0.1]))
    # By hand: the pool is (0.6, 0.4).
    mixed = entropy([0.6, 0.4]) - 0.5 * (entropy([0.9, 0.1]) + entropy([0.3, 0.7]))
    assert disagreement([[0.9, 0.1], [0.3, 0.7]], [0.5, 0.5]) == pytest.approx(mixed)


@pytest.mark.parametrize("pool", [linear_pool, log_linear_pool, disagreement])
@pytest.mark.parametrize(
    ("parts", "weights"), [([[1, 0], [0, 1]], [1]), ([[0.5, 0.5]], [0.5, 0.5]), ([[1], [0, 1]], [0.5] * 2)]
)
def test_every_part_has_a_weight_and_the_same_options(
    pool: Any, parts: list[list[float]], weights: list[float]
) -> None:
    with pytest.raises(ValueError, match="zip"):
        pool(parts, weights)


@given(weighted(), st.randoms(use_true_random=False))
def test_neither_the_order_of_parts_nor_of_options_matters(
    case: tuple[list[list[float]], list[float]], random: st.DataObject
) -> None:
    parts, weights = case
    by_part = list(range(len(parts)))
    by_option = list(range(len(parts[0])))
    random.shuffle(by_part)  # type: ignore[attr-defined]
    random.shuffle(by_option)  # type: ignore[attr-defined]
    mixed = [[parts[row][option] for option in by_option] for row in by_part]
    mixed_weights = [weights[row] for row in by_part]
    pool = linear_pool(parts, weights)
    assert linear_pool(mixed, mixed_weights) == pytest.approx([pool[option] for option in by_option])
    assert disagreement(mixed, mixed_weights) == pytest.approx(disagreement(parts, weights), abs=1e-9)


@given(st.lists(st.floats(0, 1e308), min_size=1, max_size=30).filter(any))
def test_normalising_keeps_proportions(values: list[float]) -> None:
    shares = normalise(values)
    assert sum(shares) == pytest.approx(1)
    assert [share == max(shares) for share in shares].count(True) >= values.count(max(values))
    assert Counter(share > 0 for share in shares)[True] <= sum(value > 0 for value in values)


def test_normalising_by_hand() -> None:
    assert normalise([1, 3]) == [0.25, 0.75]
    assert normalise([5e-324, 0]) == [1, 0]
    assert normalise([1e308, 1e308]) == [0.5, 0.5]


@pytest.mark.parametrize(
    "values", [[], [0, 0], [1, -0.5], [-1], [math.nan, 1], [1, math.nan], [math.inf, 1], [math.inf, -math.inf]]
)
def test_what_is_no_distribution_is_refused(values: list[float]) -> None:
    with pytest.raises(ValueError, match="cannot be normalised"):
        normalise(values)


def test_text_likelihoods_are_normalised_by_length() -> None:
    # Means of -1 and -2, although the first sum is the smaller one.
    found = from_mean_logprobs([[-1.0, -1.0, -1.0], [-2.0]])
    assert found == pytest.approx([1 / (1 + math.exp(-1)), 1 / (1 + math.e)])
    assert from_mean_logprobs([[-5000.0], [-5000.0]]) == [0.5, 0.5]
    assert from_mean_logprobs([[-math.inf, -1.0], [-1.0]]) == [0, 1]


def test_the_mass_of_texts_is_that_of_replies_that_begin_with_one() -> None:
    half, quarter, none = [math.log(0.5)], [math.log(0.5), math.log(0.5)], [-math.inf, -1.0]
    assert mass_of_texts(["Yes", "No way"], [half, quarter]) == pytest.approx(0.75)
    assert mass_of_texts(["Yes", "No"], [half, none]) == pytest.approx(0.5)
    assert mass_of_texts(["Yes", "Yes, often", "No"], [half, quarter, quarter]) == pytest.approx(0.75)
    assert mass_of_texts(["Yes", "Yes"], [half, half]) == pytest.approx(0.5)
    assert mass_of_texts(["A", "B"], [[0.0], [1e-9]]) == 1.0


def test_no_mass_of_texts_is_low() -> None:
    assert is_low(0.4, "label")
    assert is_low(0.0, "rotate")
    assert not any([is_low(0.5, "label"), is_low(None, "rotate"), is_low(1e-9, "text")])


def test_impossible_texts_are_no_distribution() -> None:
    with pytest.raises(ValueError, match="cannot be normalised"):
        from_mean_logprobs([[-math.inf], [-math.inf]])
