"""Next-token log-probabilities and scores of an embedded model: right, shared, and never more than asked for.

What is shared has to give exactly, to the last bit, what is read alone.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from pathlib import Path

import numpy as np
import pytest

from modular_pluralism.llama import Engine, EngineSettings, GenerationRequest, Sampling
from modular_pluralism.llama.generation import Event, Finish, Piece
from modular_pluralism.llama.job import Adapter
from modular_pluralism.llama.reading import LogProbs, continuations, next_tokens
from tests.random_model import RANDOM_GGUF
from tests.tiny_gguf import write_lora

_TEXT = "The committee met again and could not agree on the budget. "


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    """Reads everything anew."""
    engine = Engine(EngineSettings(RANDOM_GGUF, context=1024, slots=2, reuse=False, repeatable=True))
    yield engine
    engine.close()


@pytest.fixture
def sharing() -> Iterator[Engine]:
    engine = Engine(EngineSettings(RANDOM_GGUF, context=1024, slots=3, repeatable=True, audit=True))
    yield engine
    engine.close()


def _tokens(engine: Engine, text: str) -> list[int]:
    return engine.model.tokenize(text, parse_special=False)


def _alone(engine: Engine, prompts: Sequence[Sequence[int]]) -> LogProbs:
    return np.concatenate([engine.next_token_logprobs([prompt]) for prompt in prompts])


def _reused(engine: Engine, prompts: Sequence[Sequence[int]], expected: LogProbs) -> int:
    """How many tokens were reused for what has to be the expected result."""
    read, reused = engine.stats.tokens_read, engine.stats.tokens_reused
    assert np.array_equal(engine.next_token_logprobs(prompts), expected)
    read, reused = engine.stats.tokens_read - read, engine.stats.tokens_reused - reused
    assert read + reused == sum(map(len, prompts))
    return reused


def test_probabilities_sum_to_one(engine: Engine) -> None:
    rows = engine.next_token_logprobs([_tokens(engine, "The sky is"), _tokens(engine, "1, 2, 3,")])
    assert rows.shape == (2, engine.model.n_vocab)
    assert rows.dtype == np.float32
    assert np.exp(rows.astype(np.float64)).sum(axis=1) == pytest.approx([1, 1], abs=1e-4)


def test_prompts_that_begin_alike_cost_their_own_ends_only(engine: Engine, sharing: Engine) -> None:
    trunk = _tokens(engine, "The capital of France is the city of")
    ends = [_tokens(engine, end) for end in (" Paris, no", " London, no", " Berlin, no, it", " Paris and")]
    prompts = [trunk + end for end in ends]
    assert _reused(sharing, prompts, _alone(engine, prompts)) == 3 * len(trunk)


def test_a_prompt_may_be_the_beginning_of_the_others_or_stand_twice(engine: Engine, sharing: Engine) -> None:
    trunk = _tokens(engine, "The capital of France is")
    prompts = [trunk, trunk + _tokens(engine, " the city"), trunk, trunk + _tokens(engine, " not")]
    # At least two tokens are read, so that they are read as a chunk.
    assert _reused(sharing, prompts, _alone(engine, prompts)) == 3 * len(trunk) - 2 - 1
    assert _reused(sharing, [trunk] * 5, _alone(engine, [trunk] * 5)) == 5 * (len(trunk) - 2)


def test_prompts_with_nothing_in_common(engine: Engine, sharing: Engine) -> None:
    prompts = [_tokens(engine, text) for text in ("The sky is", "Once upon a time", "1, 2, 3,")]
    assert _reused(sharing, prompts, _alone(engine, prompts)) == 0


@pytest.mark.parametrize("lengths", [(63, 64), (65, 130, 129), (511, 512), (514, 600)])
def test_prompts_around_the_lengths_at_which_kernels_change(
    engine: Engine, sharing: Engine, lengths: Sequence[int]
) -> None:
    text = _tokens(engine, _TEXT * 60)
    other = _tokens(engine, " So it went home. " * 60)
    prompts = [
        text[: length - back] + other[:back]
        for length in lengths
        for back in ((1, 2, 40, 100) if length < 200 else (1, 40))
        if back < length
    ]
    expected = _alone(engine, prompts)
    assert _reused(sharing, prompts, expected) > 0
    for prompt, row in zip(prompts, expected, strict=True):  # and from what other requests have left behind
        assert np.array_equal(sharing.next_token_logprobs([prompt])[0], row)


def test_a_prompt_shared_by_several_requests_at_once_is_read_once_but_for_its_last_chunk(
    engine: Engine, sharing: Engine
) -> None:
    prompt = _tokens(engine, _TEXT * 40)[:400]
    first = _tokens(engine, "Once upon a time")
    read: list[tuple[Future[None], LogProbs]] = []
    submitted = threading.Event()

    def submit_all(event: Event) -> None:
        """Between two steps of the engine, so that none has been begun before the last is there."""
        if isinstance(event, Finish):
            for _ in range(3):
                reading = next_tokens([prompt], sharing.model.n_vocab)
                (job,) = sharing._submit_reading(reading, None, None)
                read.append((job.future, reading.result))
            submitted.set()

    sharing.submit_generation(GenerationRequest(tuple(first), max_tokens=1), submit_all)
    assert submitted.wait(60)
    expected = _alone(engine, [prompt])
    for future, row in read:
        future.result(60)
        assert np.array_equal(row, expected)
    # The others wait for the chunks of 63, and read the rest, for which waiting is not worth it, beside the first.
    assert sharing.stats.tokens_read == len(first) + 400 + 2 * (400 % 63)
    assert sharing.stats.reuses == 2
    assert _reused(sharing, [prompt], expected) == 400 - 2


def test_a_reply_that_was_generated_is_reused_in_the_next_turn(engine: Engine, sharing: Engine) -> None:
    prompt = tuple(_tokens(engine, _TEXT * 12)[:100])
    request = GenerationRequest(prompt, max_tokens=20, sampling=Sampling(temperature=0), ignore_end=True)
    reply = [token for event in sharing.stream(request) if isinstance(event, Piece) for token in event.tokens]
    turn = [*prompt, *reply, *_tokens(engine, " Who?")]
    assert _reused(sharing, [turn], _alone(engine, [turn])) == 100 + 19


def test_what_was_read_with_an_adapter_is_not_reused_without_it(tmp_path: Path) -> None:
    adapter = Adapter(write_lora(tmp_path / "adapter.gguf", seed=3))
    engine = Engine(EngineSettings(RANDOM_GGUF, context=256, slots=2, adapters=(adapter.path,), audit=True))
    try:
        prompt = _tokens(engine, _TEXT * 4)
        bare = engine.next_token_logprobs([prompt])
        assert np.abs(engine.next_token_logprobs([prompt], adapter=adapter) - bare).max() > 0.1
        assert engine.stats.tokens_reused == 0
        assert np.array_equal(engine.next_token_logprobs([prompt]), bare)
        assert engine.stats.tokens_reused == len(prompt) - 2
    finally:
        engine.close()


# -- scores ------------------------------------------------------------------------------------------------------------


def _step_by_step(engine: Engine, prefix: list[int], continuation: list[int]) -> list[float]:
    return [
        float(engine.next_token_logprobs([prefix + continuation[:at]])[0, token])
        for at, token in enumerate(continuation)
    ]


def test_scores_are_the_next_token_logprobs_of_each_step(engine: Engine) -> None:
    prefix = _tokens(engine, "Question: what is the capital of France? Answer:")
    texts = [" Paris", " Paris, of course", " London", " The city of Paris", " Paris", " Paris, of"]
    following = [_tokens(engine, text) for text in texts]
    scores = engine.read(continuations(prefix, following))
    assert [row.shape for row in scores] == [(len(each),) for each in following]
    for row, continuation in zip(scores, following, strict=True):
        assert row.tolist() == _step_by_step(engine, prefix, continuation)


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
    following = [_tokens(engine, text) for text in texts]
    for row, continuation in zip(engine.read(continuations(prefix, following)), following, strict=True):
        assert row.tolist() == _step_by_step(engine, prefix, continuation)


def test_scores_cost_the_prefix_once_and_no_last_token(engine: Engine, sharing: Engine) -> None:
    prefix = _tokens(engine, "The capital of France is")
    following = [_tokens(engine, text) for text in (" Paris, of course", " the city of London", " Rome")]
    expected = engine.read(continuations(prefix, following))
    for row, other in zip(sharing.read(continuations(prefix, following)), expected, strict=True):
        assert np.array_equal(row, other)
    whole = 3 * len(prefix) + sum(len(each) - 1 for each in following)
    assert sharing.stats.tokens_read + sharing.stats.tokens_reused == whole
    # The prefix's last token is read again, for its logits; where nothing follows it, the one before, too.
    assert sharing.stats.tokens_reused == 2 * (len(prefix) - 1) - 1


def test_more_wanted_rows_than_a_decode_gives(engine: Engine, sharing: Engine) -> None:
    """Every token of a continuation is a row of logits, and a decode gives at most 128 of them."""
    prefix = _tokens(engine, "Numbers:")
    following = [_tokens(engine, " ".join(map(str, range(first, first + 80)))) for first in (0, 100)]
    assert all(len(each) > 128 for each in following)
    for row, continuation in zip(sharing.read(continuations(prefix, following)), following, strict=True):
        assert np.isfinite(row).all()
        assert np.array_equal(row, engine.read(continuations(prefix, [continuation]))[0])
