"""Next-token log-probabilities and scores on the real demo model: right, shared, and never more than asked for.

Where a step has fewer than 64 tokens, llama.cpp's result for a sequence does not depend on what else is in it (see
test_engine_reference.py), so that what is shared has to give exactly what is read alone.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pytest

import modular_pluralism.llama.engine as engine_module
from modular_pluralism.llama import Engine, EngineSettings, GenerationRequest, Sampling
from modular_pluralism.llama.generation import Event, Piece
from modular_pluralism.llama.reading import LogProbs, ReadingJob, next_token_paths
from tests.demo_model import DEMO_GGUF

_EXACT = 1e-5
_ROUNDING = 1.0
"""Most that a log-probability differs by where llama.cpp takes other kernels; another prompt differs by far more."""


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    engine = Engine(EngineSettings(DEMO_GGUF, context=1024))
    yield engine
    engine.close()


@pytest.fixture
def small_engine() -> Iterator[Callable[[EngineSettings], Engine]]:
    engines = []

    def make(settings: EngineSettings) -> Engine:
        engines.append(Engine(settings))
        return engines[-1]

    yield make
    for engine in engines:
        engine.close()


def _tokens(engine: Engine, text: str) -> list[int]:
    return engine.model.tokenize(text, parse_special=False)


def _alone(engine: Engine, prompts: Sequence[Sequence[int]]) -> LogProbs:
    return np.concatenate([engine.next_token_logprobs([prompt]) for prompt in prompts])


def _cost(engine: Engine, read: Callable[[], object]) -> tuple[int, int]:
    """How many tokens were read and how many shared."""
    before = engine.stats.tokens_read, engine.stats.tokens_shared
    read()
    return engine.stats.tokens_read - before[0], engine.stats.tokens_shared - before[1]


def test_probabilities_sum_to_one(engine: Engine) -> None:
    rows = engine.next_token_logprobs([_tokens(engine, "The sky is"), _tokens(engine, "1, 2, 3,")])
    assert rows.shape == (2, engine.model.n_vocab)
    assert rows.dtype == np.float32
    assert np.exp(rows.astype(np.float64)).sum(axis=1) == pytest.approx([1, 1], abs=1e-4)


def test_prompts_that_begin_alike_cost_their_own_ends_only(engine: Engine) -> None:
    trunk = _tokens(engine, "The capital of France is the city of")
    ends = [_tokens(engine, end) for end in (" Paris", " London, no", " Berlin, no, it", " Paris and")]
    prompts = [trunk + end for end in ends]
    shared = len(trunk)
    expected = _alone(engine, prompts)
    rows: list[LogProbs] = []
    cost = _cost(engine, lambda: rows.append(engine.next_token_logprobs(prompts)))
    assert cost == (shared + sum(map(len, ends)), shared * 3)
    assert np.abs(rows[0] - expected).max() < _EXACT


def test_a_prompt_may_be_the_beginning_of_the_others_or_stand_twice(engine: Engine) -> None:
    trunk = _tokens(engine, "The capital of France is")
    prompts = [trunk, trunk + _tokens(engine, " the city"), trunk, trunk + _tokens(engine, " not")]
    expected = _alone(engine, prompts)
    rows: list[LogProbs] = []
    cost = _cost(engine, lambda: rows.append(engine.next_token_logprobs(prompts)))
    assert cost == (len(trunk) + 3, len(trunk) * 3)
    assert np.abs(rows[0] - expected).max() < _EXACT

    cost = _cost(engine, lambda: rows.append(engine.next_token_logprobs([trunk] * 5)))
    assert cost == (len(trunk), len(trunk) * 4)
    assert np.abs(rows[1] - expected[0]).max() < _EXACT


def test_prompts_with_nothing_in_common(engine: Engine) -> None:
    prompts = [_tokens(engine, text) for text in ("The sky is", "Once upon a time", "1, 2, 3,")]
    expected = _alone(engine, prompts)
    rows: list[LogProbs] = []
    cost = _cost(engine, lambda: rows.append(engine.next_token_logprobs(prompts)))
    assert cost == (sum(map(len, prompts)), 0)
    assert np.abs(rows[0] - expected).max() < _EXACT


def test_long_prompts_differ_by_rounding_only(engine: Engine) -> None:
    trunk = _tokens(engine, "The committee met again and could not agree on the budget. " * 20)
    prompts = [trunk + _tokens(engine, end) for end in ("The chair", "Then the members", "1, 2, 3,")]
    shared, alone = engine.next_token_logprobs(prompts), _alone(engine, prompts)
    assert np.abs(np.exp(shared) - np.exp(alone)).max() < 0.05
    assert np.abs(shared - alone).max() < _ROUNDING < np.abs(alone[0] - alone[1]).max()


@pytest.mark.parametrize("slots", [1, 2, 3])
def test_more_prompts_than_slots(engine: Engine, small_engine: Callable[[EngineSettings], Engine], slots: int) -> None:
    small = small_engine(EngineSettings(DEMO_GGUF, context=256, slots=slots))
    for trunk in ([], _tokens(engine, "Let me count:")):
        ends = [_tokens(engine, f"{word} and {word} again") for word in ("one", "two", "three", "four", "five", "six")]
        prompts = [trunk + end for end in ends]
        expected = _alone(engine, prompts)
        rows: list[LogProbs] = []
        cost = _cost(small, lambda prompts=prompts, rows=rows: rows.append(small.next_token_logprobs(prompts)))  # type: ignore[misc]
        assert np.abs(rows[0] - expected).max() < _EXACT
        assert cost == (len(trunk) + sum(map(len, ends)), len(trunk) * 5)


def test_a_job_that_needs_more_than_all_cells(engine: Engine, small_engine: Callable[[EngineSettings], Engine]) -> None:
    small = small_engine(EngineSettings(DEMO_GGUF, context=256, cells=256))
    trunk = _tokens(engine, "Let me tell you about")
    prompts = [
        trunk + _tokens(engine, f" {word}, and then about {word} again, and once more, because {word} " * 3)[:45]
        for word in ("war", "peace", "love", "hate", "rain", "sun", "bread", "wine")
    ]
    assert sum(map(len, prompts)) > 256 + 7 * len(trunk)
    assert np.abs(small.next_token_logprobs(prompts) - _alone(engine, prompts)).max() < _EXACT
    assert small._free_cells == small._cells


def test_a_branch_forked_while_another_borrows_the_trunk_sees_the_trunk_only(
    engine: Engine, small_engine: Callable[[EngineSettings], Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two slots, one of them taken by a text: the job's first branch runs on its trunk's own sequence, and before that
    has ended the text does, so that the second branch gets a sequence of its own. Its cells do not stand in order, and
    so it is only equal up to rounding."""
    monkeypatch.setattr(engine_module, "_CHUNK", 4)  # for many steps to a branch
    small = small_engine(EngineSettings(DEMO_GGUF, context=256, slots=2))
    trunk = _tokens(engine, "The capital of France is")
    prompts = [
        trunk + _tokens(engine, " 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20"),
        trunk + _tokens(engine, " the city of light, which is called"),
    ]
    expected = _alone(engine, prompts)
    paths, rows = next_token_paths(prompts, small.model.n_vocab)
    job = ReadingJob(paths)
    pieces = 0

    def deliver(event: Event) -> None:
        nonlocal pieces
        pieces += isinstance(event, Piece)
        if isinstance(event, Piece) and pieces == 2:
            small._submit_reading(job)

    request = GenerationRequest(
        tuple(_tokens(engine, "Hello")), max_tokens=8, sampling=Sampling(temperature=0), ignore_end=True
    )
    small.submit_generation(request, deliver)
    while pieces < 2:
        threading.Event().wait(0.01)
    job.future.result(timeout=60)
    assert np.abs(rows - expected).max() < _ROUNDING
    assert np.abs(np.exp(rows) - np.exp(expected)).max() < 0.05


# -- scores ------------------------------------------------------------------------------------------------------------


def _step_by_step(engine: Engine, prefix: list[int], continuation: list[int]) -> list[float]:
    return [
        float(engine.next_token_logprobs([prefix + continuation[:at]])[0, token])
        for at, token in enumerate(continuation)
    ]


def test_scores_are_the_next_token_logprobs_of_each_step(engine: Engine) -> None:
    prefix = _tokens(engine, "Question: what is the capital of France? Answer:")
    texts = [" Paris", " Paris, of course", " London", " The city of Paris", " Paris", " Paris, of"]
    continuations = [_tokens(engine, text) for text in texts]
    scores = engine.score(prefix, continuations)
    assert [row.shape for row in scores] == [(len(each),) for each in continuations]
    for row, continuation in zip(scores, continuations, strict=True):
        assert row.tolist() == pytest.approx(_step_by_step(engine, prefix, continuation), abs=_EXACT)


@pytest.mark.parametrize(
    "texts",
    [
        [" Paris"],
        [" Paris", " Paris"],
        [" Paris, of course", " Paris, of course"],
        [" Paris, of course", " Paris, of"],  # all of the shorter one is shared
        [" Paris, of course, and", " Paris, of course, or"],
        [" Paris, of course", " London, of course"],
    ],
)
def test_scores_of_continuations_that_begin_alike(engine: Engine, texts: list[str]) -> None:
    prefix = _tokens(engine, "The capital of France is")
    continuations = [_tokens(engine, text) for text in texts]
    for row, continuation in zip(engine.score(prefix, continuations), continuations, strict=True):
        assert row.tolist() == pytest.approx(_step_by_step(engine, prefix, continuation), abs=_EXACT)


def test_scores_cost_the_prefix_once_and_no_last_token(engine: Engine) -> None:
    prefix = _tokens(engine, "The capital of France is")
    continuations = [_tokens(engine, text) for text in (" Paris, of course", " the city of London", " Rome")]
    cost = _cost(engine, lambda: engine.score(prefix, continuations))
    assert cost == (len(prefix) + sum(len(each) - 1 for each in continuations), len(prefix) * 2)


def test_more_wanted_rows_than_a_step_gives(engine: Engine) -> None:
    """Every token of a continuation is a row of logits, and a step asks for at most 64 of them."""
    prefix = _tokens(engine, "Numbers:")
    continuations = [_tokens(engine, " ".join(map(str, range(first, first + 40)))) for first in (0, 50)]
    assert all(len(each) > 64 for each in continuations)
    for row, continuation in zip(engine.score(prefix, continuations), continuations, strict=True):
        assert np.isfinite(row).all()
        alone = engine.score(prefix, [continuation])[0]
        assert np.abs(row - alone).max() < _ROUNDING
        assert row.sum() == pytest.approx(alone.sum(), rel=0.05)
