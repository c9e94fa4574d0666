"""Sampler: which tokens may be drawn, how often, and which settings are refused."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from modular_pluralism.errors import InputError
from modular_pluralism.llama.sampling import Row, Sampler, Sampling, likeliest, log_normaliser

_LOGITS = hnp.arrays(np.float32, st.integers(1, 60), elements=st.floats(-30, 30, width=32))
_SEEDS = st.integers(0, 2**32 - 1)


def _draws(settings: Sampling, logits: Row, count: int) -> list[int]:
    sampler = Sampler(settings)
    return [sampler.draw(logits) for _ in range(count)]


def _probabilities(logits: Row) -> np.ndarray:
    exponentials = np.exp(logits.astype(np.float64) - logits.max())
    return np.asarray(exponentials / exponentials.sum())


@given(logits=_LOGITS, seed=_SEEDS)
def test_greedy_is_the_likeliest_token(logits: Row, seed: int) -> None:
    assert Sampler(Sampling(temperature=0, seed=seed)).draw(logits) == logits.argmax()


@given(logits=_LOGITS, seed=_SEEDS, temperature=st.floats(0.01, 5))
def test_top_k_of_one_draws_a_likeliest_token(logits: Row, seed: int, temperature: float) -> None:
    token = Sampler(Sampling(temperature=temperature, top_k=1, seed=seed)).draw(logits)
    assert logits[token] == logits.max()


@given(logits=_LOGITS, seed=_SEEDS, temperature=st.sampled_from([5e-324, 1e-310, 1e-200, 1e-30]))
def test_a_tiny_temperature_is_nearly_greedy(logits: Row, seed: int, temperature: float) -> None:
    token = Sampler(Sampling(temperature=temperature, top_k=0, top_p=1, min_p=0, seed=seed)).draw(logits)
    # One that is 1,000 temperatures below the highest has a probability of exactly 0.
    assert float(logits.max()) - float(logits[token]) <= 1000 * temperature


@given(
    logits=_LOGITS,
    seed=_SEEDS,
    top_k=st.integers(0, 70),
    top_p=st.floats(0.01, 1),
    min_p=st.floats(0, 1),
    temperature=st.floats(0.1, 10),
)
def test_a_token_passes_every_filter(
    logits: Row, seed: int, top_k: int, top_p: float, min_p: float, temperature: float
) -> None:
    settings = Sampling(temperature=temperature, top_k=top_k, top_p=top_p, min_p=min_p, seed=seed)
    order = np.sort(logits)[::-1][: top_k or None]
    probabilities = _probabilities(order)
    for token in _draws(settings, logits, 5):
        assert logits[token] >= order[-1]  # top_k
        likelier = int((order > logits[token]).sum())
        assert likelier == 0 or probabilities[:likelier].sum() < top_p + 1e-9
        assert probabilities[likelier] >= min_p * probabilities[0] - 1e-12


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_frequencies_are_those_of_softmax(temperature: float) -> None:
    logits = np.array([2.0, 1.0, 0.5, 0.0, -1.0, 1.5], dtype=np.float32)
    count = 6000
    drawn = _draws(Sampling(temperature=temperature, top_k=0, top_p=1, min_p=0, seed=7), logits, count)
    expected = _probabilities(logits / np.float32(temperature)) * count
    observed = np.bincount(drawn, minlength=logits.size)
    # 99.9 % of chi-square with 5 degrees of freedom is 20.5; the seed is fixed.
    assert ((observed - expected) ** 2 / expected).sum() < 20.5


def test_the_filters_come_before_the_temperature() -> None:
    # At temperature 1 the first token has more than top_p; a high temperature must not let the others back in.
    logits = np.array([3.0, 0.0, 0.0], dtype=np.float32)
    assert set(_draws(Sampling(temperature=100, top_k=0, top_p=0.8, min_p=0), logits, 50)) == {0}


@given(logits=_LOGITS, seed=_SEEDS)
def test_a_seed_repeats_its_tokens(logits: Row, seed: int) -> None:
    settings = Sampling(temperature=2, top_k=0, top_p=1, min_p=0, seed=seed)
    assert _draws(settings, logits, 8) == _draws(settings, logits, 8)


def test_another_seed_draws_others() -> None:
    logits = np.zeros(1000, dtype=np.float32)
    off = {"temperature": 1.0, "top_k": 0, "top_p": 1.0, "min_p": 0.0}
    assert _draws(Sampling(**off, seed=1), logits, 8) != _draws(Sampling(**off, seed=2), logits, 8)  # type: ignore[arg-type]


def test_drawing_leaves_the_logits_as_they_are() -> None:
    logits = np.arange(50, dtype=np.float32)
    Sampler(Sampling(seed=3)).draw(logits)
    assert (logits == np.arange(50)).all()


@given(logits=_LOGITS)
def test_the_normaliser_makes_probabilities_sum_to_one(logits: Row) -> None:
    assert math.isclose(np.exp(logits.astype(np.float64) - log_normaliser(logits)).sum(), 1, rel_tol=1e-4)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("temperature", -0.1),
        ("temperature", math.inf),
        ("temperature", math.nan),
        ("top_p", 0.0),
        ("top_p", 1.01),
        ("top_p", math.nan),
        ("min_p", -0.1),
        ("min_p", 1.1),
        ("min_p", math.nan),
        ("top_k", -1),
    ],
)
def test_a_bad_setting_is_refused_by_name(name: str, value: float) -> None:
    with pytest.raises(InputError, match=name):
        Sampling(**{name: value})  # type: ignore[arg-type]


@given(
    st.lists(st.sampled_from([-float("inf"), -1.5, 0.0, 0.25, 3.0, 7.5]), min_size=1, max_size=900),
    st.integers(0, 900) | st.integers(0, 14),
    st.integers(0, 2**32 - 1),
)
@example([0.0] * 128, 0, 0)
def test_likeliest_are_the_highest_in_order(values: list[float], count: int, seed: int) -> None:
    logits = np.array(values, dtype=np.float32)
    np.random.default_rng(seed).shuffle(logits)
    tokens = likeliest(logits, count)
    assert len(set(tokens.tolist())) == len(tokens) == min(count, len(values))
    assert logits[tokens].tolist() == sorted(logits.tolist(), reverse=True)[:count]
