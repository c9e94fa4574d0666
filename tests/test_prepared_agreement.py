"""How far predictions are from the original's, and how fast texts come: the arithmetic."""

from __future__ import annotations

import numpy as np
import pytest

from modular_pluralism.prepared.agreement import compare, wilson
from modular_pluralism.prepared.speed import rate_of_all


def logs(*rows: list[float]) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    with np.errstate(divide="ignore"):
        return np.log(np.array(rows, dtype=np.float32))


def test_the_same_predictions_agree_wholly() -> None:
    random = np.random.default_rng(0)
    texts = [logs(*random.dirichlet([0.1] * 50, 4).tolist()) for _ in range(3)]
    agreement = compare(texts, texts)
    assert agreement.positions == 12
    assert agreement.top1 == 1.0
    assert agreement.mean_kl == 0.0
    assert agreement.mean_kl_interval == (0.0, 0.0)


def test_the_divergence_is_of_the_original_from_the_candidate() -> None:
    original, candidate = logs([0.75, 0.25, 0.0], [0.5, 0.25, 0.25]), logs([0.25, 0.5, 0.25], [0.5, 0.25, 0.25])
    agreement = compare([original], [candidate])
    assert agreement.mean_kl == pytest.approx((0.75 * np.log(3) + 0.25 * np.log(0.5)) / 2, rel=1e-5)
    assert agreement.top1 == 0.5


def test_the_interval_of_the_divergence_is_over_texts() -> None:
    same, other = logs([0.5, 0.5]), logs([0.9, 0.1])
    agreement = compare([same] * 20, [same] * 10 + [other] * 10)
    low, high = agreement.mean_kl_interval
    assert 0 < low < agreement.mean_kl < high


def test_wilsons_interval() -> None:
    assert wilson(50, 100) == pytest.approx((0.4038, 0.5962), abs=1e-4)
    assert wilson(100, 100) == pytest.approx((0.9630, 1.0), abs=1e-4)
    assert wilson(0, 10) == pytest.approx((0.0, 0.2775), abs=1e-4)


def test_tokens_count_while_all_sequences_are_generating() -> None:
    one, other = [1.0, 2.0, 3.0, 4.0], [2.0, 3.0, 4.0, 5.0, 6.0]
    assert rate_of_all([one, other]) == pytest.approx(4 / 2)  # two of each within (2, 4]


def test_texts_that_do_not_overlap_count_over_everything() -> None:
    assert rate_of_all([[1.0, 2.0], [3.0, 4.0]]) == pytest.approx(3 / 3)
