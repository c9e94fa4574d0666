"""Bootstrap intervals."""

from __future__ import annotations

import math
import tracemalloc
from typing import Any

import numpy as np
import pytest

from modular_pluralism.evaluation.statistics.bootstrap import CLEAR_FROM, Bootstrap, Draw, ratio
from modular_pluralism.evaluation.statistics.results import Figure

MEAN = ratio(0, 1)


def mean_figure(values: list[float], *, seed: int = 0, resamples: int = 2000, difference: bool = False) -> Figure:
    features = np.stack([np.array(values), np.ones(len(values))], axis=1)
    bootstrap = Bootstrap(features, seed=seed, resamples=resamples)
    return bootstrap.figure(MEAN, n=len(values), difference=difference)


def test_the_interval_of_a_mean_is_about_two_standard_errors_wide() -> None:
    values = list(np.random.default_rng(1).normal(3, 2, 400))
    figure = mean_figure(values)
    error = np.std(values) / math.sqrt(400)
    assert figure.value == pytest.approx(math.fsum(values) / 400, abs=1e-12)
    assert figure.low == pytest.approx(np.mean(values) - 1.96 * error, abs=0.3 * error)
    assert figure.high == pytest.approx(np.mean(values) + 1.96 * error, abs=0.3 * error)


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    random = np.random.default_rng(2)
    held = 0
    for seed in range(200):
        figure = mean_figure(list(random.normal(0, 1, 60)), seed=seed, resamples=400)
        assert figure.low is not None
        assert figure.high is not None
        held += figure.low <= 0 <= figure.high
    assert 180 <= held <= 199  # 190 expected, and a few fewer with 60 items


def test_the_same_seed_draws_the_same_items_and_another_one_others() -> None:
    values = [0.0, 1.0, 4.0, 9.0, 25.0]
    assert mean_figure(values, seed=5) == mean_figure(values, seed=5)
    assert mean_figure(values, seed=5, resamples=50) != mean_figure(values, seed=6, resamples=50)


def test_figures_of_one_bootstrap_come_from_the_same_items() -> None:
    """Two columns that differ by exactly one have a difference without any spread."""
    values = np.random.default_rng(3).normal(0, 5, 50)
    features = np.stack([values + 1, np.ones(50), values], axis=1)
    bootstrap = Bootstrap(features, seed=0)
    figure = bootstrap.figure(lambda sums: MEAN(sums) - ratio(2, 1)(sums), n=50, difference=True)
    assert (figure.low, figure.value, figure.high) == pytest.approx((1, 1, 1))
    assert figure.clear


def test_blocks_of_draws_are_as_good_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    values = list(np.random.default_rng(4).normal(0, 1, 30))
    at_once = mean_figure(values)
    monkeypatch.setattr("modular_pluralism.evaluation.statistics.bootstrap._BLOCK", 300)
    assert mean_figure(values).low == pytest.approx(at_once.low, abs=1e-12)


@pytest.mark.parametrize(("shift", "clear"), [(0.0, False), (1.0, True), (-1.0, True)])
def test_a_difference_is_clear_where_its_interval_excludes_zero(shift: float, clear: bool) -> None:
    values = [shift + each for each in (-0.2, 0.2, -0.1, 0.1) * 10]
    assert mean_figure(values, difference=True).clear is clear
    assert not mean_figure(values).clear


def test_items_of_one_cluster_are_drawn_together() -> None:
    """Each value written down ten times is no more evidence than once."""
    values = np.random.default_rng(5).normal(0, 1, 30)
    tenfold, clusters = np.repeat(values, 10), np.repeat(np.arange(30), 10)
    features = np.stack([tenfold, np.ones(300)], axis=1)
    once = mean_figure(list(values))
    found = Draw(0, clusters=clusters).of(features).figure(MEAN, n=300)
    assert (found.low, found.value, found.high) == pytest.approx((once.low, once.value, once.high))
    apart = Draw(0).of(features).figure(MEAN, n=300)
    assert apart.low is not None
    assert once.low is not None
    assert apart.low - once.low > 0.1


def test_clusters_may_have_any_numbers_and_sizes_and_only_some_items() -> None:
    clusters = np.array([70, 3, 70, 9, 3, 70])
    features = np.stack([np.array([1.0, 2, 3, 4, 5, 6]), np.ones(6)], axis=1)
    summed = Bootstrap(np.array([[7.0, 2], [4, 1], [10, 3]]), seed=1).figure(MEAN, n=6)
    assert Draw(1, clusters=clusters).of(features).figure(MEAN, n=6) == summed
    only = np.array([True, False, True, False, False, True])
    chosen = Draw(1, clusters=clusters).of(features[only], only)
    assert chosen.clusters == 1
    assert chosen.figure(MEAN, n=3) == Figure(value=10 / 3, n=3)


def test_items_of_a_single_cluster_with_a_value_have_no_interval() -> None:
    features = np.array([[1.0, 1], [2, 1], [0, 0], [0, 0]])
    bootstrap = Draw(0, clusters=np.array([0, 0, 1, 2])).of(features)
    assert bootstrap.clusters_with(slice(0, 2)) == 1
    assert bootstrap.figure(MEAN, n=2, clusters=1) == Figure(value=1.5, n=2)


@pytest.mark.parametrize(("count", "clear"), [(CLEAR_FROM - 1, False), (CLEAR_FROM, True)])
def test_a_difference_over_few_clusters_is_never_clear(count: int, clear: bool) -> None:
    assert mean_figure([1.0, *[2.0] * (count - 1)], difference=True).clear is clear
    clusters = np.repeat(np.arange(count), 30)
    features = np.stack([1.0 + clusters, np.ones(len(clusters))], axis=1)
    figure = Draw(0, clusters=clusters).of(features).figure(MEAN, n=len(clusters), difference=True)
    assert figure.low is not None
    assert figure.low > 0
    assert figure.clear is clear


def wilson_interval(successes: int, count: int) -> Any:
    """By SciPy, whose import takes long."""
    from scipy.stats import binomtest

    return binomtest(successes, count).proportion_ci(0.95, "wilson")


@pytest.mark.parametrize("count", [2, 7, 40])
@pytest.mark.parametrize("value", [0.0, 1.0])
def test_a_share_of_nothing_or_of_all_has_a_wilson_interval(value: float, count: int) -> None:
    features = np.stack([np.full(3 * count, value), np.ones(3 * count)], axis=1)
    bootstrap = Draw(0, clusters=np.repeat(np.arange(count), 3)).of(features)
    figure = bootstrap.figure(MEAN, n=3 * count, share=True)
    wilson = wilson_interval(int(value * count), count)
    assert (figure.low, figure.value, figure.high) == pytest.approx((wilson.low, value, wilson.high))
    plain = bootstrap.figure(MEAN, n=3 * count)
    assert (plain.low, plain.high) == (value, value)


@pytest.mark.parametrize(("value", "clear"), [(0.0, False), (1.0, True), (-1.0, True)])
def test_a_difference_of_shares_that_never_differs_is_not_known_exactly(value: float, clear: bool) -> None:
    features = np.stack([np.full(30, value), np.ones(30)], axis=1)
    figure = Bootstrap(features, seed=0).figure(MEAN, n=30, share=True, difference=True)
    reach = float(wilson_interval(0, 30).high)
    ends = {0.0: (-reach, reach), 1.0: (1 - 2 * reach, 1.0), -1.0: (-1.0, 2 * reach - 1)}[value]
    assert (figure.low, figure.high) == pytest.approx(ends)
    assert figure.clear is clear


def test_a_share_in_between_keeps_its_bootstrap_interval() -> None:
    features = np.stack([np.array([0.0, 1.0] * 20), np.ones(40)], axis=1)
    bootstrap = Bootstrap(features, seed=0)
    assert bootstrap.figure(MEAN, n=40, share=True) == bootstrap.figure(MEAN, n=40)


def test_one_item_has_no_interval_and_none_has_no_value() -> None:
    assert mean_figure([2.0]) == Figure(value=2, n=1)
    empty = Bootstrap(np.zeros((3, 2)), seed=0)
    assert empty.figure(MEAN, n=0) == Figure(value=None, n=0)


def test_resamples_without_a_value_are_left_out() -> None:
    features = np.zeros((4, 2))
    features[0] = (7, 1)  # the only item with a value, and in a third of the resamples it is not drawn
    figure = Bootstrap(features, seed=0).figure(MEAN, n=2)
    assert (figure.low, figure.value, figure.high) == (7, 7, 7)


def test_memory_stays_small_beside_many_items() -> None:
    features = np.ones((100_000, 2))
    tracemalloc.start()
    Bootstrap(features, seed=0, resamples=100)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 60_000_000
