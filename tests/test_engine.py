"""The engine: what it generates, and which calls it refuses."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from modular_pluralism.errors import ContextOverflowError, EngineClosedError, InputError, ModelLoadError
from modular_pluralism.llama import (
    ChatLlama,
    Engine,
    EngineSettings,
    GenerationRequest,
    Sampling,
    close_engines,
    model_file,
    shared_engine,
    slot_budget,
)
from modular_pluralism.llama.chat_template import ChatTemplate, Turn
from modular_pluralism.llama.generation import Event, Finish, Piece
from modular_pluralism.llama.reading import continuations
from tests.random_model import RANDOM_GGUF

_GREEDY = Sampling(temperature=0)


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    engine = Engine(EngineSettings(RANDOM_GGUF, context=2048, slots=2))
    yield engine
    engine.close()


@pytest.fixture(scope="module")
def demo_engine(demo_gguf: Path) -> Iterator[Engine]:
    engine = Engine(EngineSettings(demo_gguf, context=256, slots=1))
    yield engine
    engine.close()


def _chat(engine: Engine, question: str) -> tuple[int, ...]:
    return tuple(ChatTemplate(engine.model).tokens([Turn("user", question)]))


def _tokens(engine: Engine, request: GenerationRequest) -> list[int]:
    return [token for event in engine.stream(request) if isinstance(event, Piece) for token in event.tokens]


def test_a_seed_repeats_its_text_and_another_does_not(engine: Engine) -> None:
    def text(seed: int) -> list[int]:
        sampling = Sampling(temperature=1, top_p=1, top_k=0, min_p=0, seed=seed)
        return _tokens(engine, GenerationRequest(_chat(engine, "What is pluralism?"), max_tokens=24, sampling=sampling))

    first = text(1)
    assert text(1) == first
    assert text(2) != first


def test_usage_reason_and_lengths(engine: Engine) -> None:
    tokens = _chat(engine, "Name three colours.")
    *pieces, finish = engine.stream(GenerationRequest(tokens, max_tokens=5, sampling=_GREEDY))
    assert finish == Finish("length", len(tokens), 5)
    assert sum(len(piece.tokens) for piece in pieces if isinstance(piece, Piece)) == 5

    # The model ends this answer by itself; the end token counts as generated and is not shown.
    wild = Sampling(temperature=1, top_p=1, top_k=0, min_p=0, seed=1)
    request = GenerationRequest(_chat(engine, "What is 2+2?"), max_tokens=1900, sampling=wild)
    *pieces, finish = engine.stream(request)
    shown = [token for piece in pieces if isinstance(piece, Piece) for token in piece.tokens]
    assert finish == Finish("stop", len(request.tokens), len(shown) + 1)
    assert not any(engine.model.is_end(token) for token in shown)


async def test_generating_without_a_stream_gives_the_same_events(engine: Engine) -> None:
    request = GenerationRequest(_chat(engine, "Name three colours."), max_tokens=12, sampling=_GREEDY)
    streamed = list(engine.stream(request))
    assert engine.generate(request) == streamed
    assert await engine.agenerate(request) == streamed
    task = asyncio.create_task(engine.agenerate(request))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert engine.generate(request) == streamed


def test_a_stop_string_ends_the_text_before_it(engine: Engine) -> None:
    tokens = _chat(engine, "Name three colours.")
    whole = _text(engine, GenerationRequest(tokens, max_tokens=24, sampling=_GREEDY))
    stop = whole[len(whole) // 2 :][:3]
    request = GenerationRequest(tokens, max_tokens=24, sampling=_GREEDY, stop=(stop, "never said"))
    *_, finish = engine.stream(request)
    assert isinstance(finish, Finish)
    assert finish.reason == "stop"
    assert _text(engine, request) == whole[: whole.index(stop)]


def _text(engine: Engine, request: GenerationRequest) -> str:
    return "".join(event.text for event in engine.stream(request) if isinstance(event, Piece))


@pytest.mark.parametrize("begin", ["🙂🎉🚀🌍🙂🎉🚀🌍🙂🎉", "東京は日本の首都です。大阪は日本の都市です。京都は"])
def test_characters_of_several_tokens_are_never_cut(demo_engine: Engine, begin: str) -> None:
    engine = demo_engine
    tokens = tuple(engine.model.tokenize(begin, parse_special=False))
    request = GenerationRequest(tokens, max_tokens=40, sampling=_GREEDY, ignore_end=True)
    pieces = [event for event in engine.stream(request) if isinstance(event, Piece)]
    data = b"".join(engine.model.piece(token) for piece in pieces for token in piece.tokens)
    text = "".join(piece.text for piece in pieces)
    # It did write such characters, some piece of which held back half a character, and none was spoilt.
    assert any(len(character.encode()) > 2 for character in text)
    assert any(not piece.text for piece in pieces)
    assert "\ufffd" not in text
    assert data.startswith(text.encode())
    assert len(data) - len(text.encode()) < 4


def test_logprobs_are_those_of_the_next_token(engine: Engine) -> None:
    tokens = _chat(engine, "Name three colours.")
    row = engine.next_token_logprobs([tokens])[0]
    for count in (0, 3, 10**9):
        request = GenerationRequest(tokens, max_tokens=1, sampling=_GREEDY, top_logprobs=count)
        (first,) = next(iter(engine.stream(request))).logprobs  # type: ignore[union-attr]
        best = np.argsort(row)[::-1][: min(count, engine.model.n_vocab)]
        assert [logprob for _, logprob in first.top] == pytest.approx(row[best].tolist(), abs=1e-4)
        assert first.token == row.argmax()
        assert first.logprob == pytest.approx(float(row.max()), abs=1e-4)


# -- what is refused ---------------------------------------------------------------------------------------------------


def test_a_prompt_longer_than_the_context_gives_both_lengths(engine: Engine) -> None:
    token = engine.model.tokenize("a", parse_special=False)[0]
    with pytest.raises(ContextOverflowError, match=r"2049 .* 2048"):
        next(engine.stream(GenerationRequest((token,) * 2048)))
    with pytest.raises(ContextOverflowError, match=r"3000 .* 2048"):
        engine.next_token_logprobs([[token], [token] * 3000])
    with pytest.raises(ContextOverflowError, match=r"2100 .* 2048"):
        engine.read(continuations([token] * 2000, [[token], [token] * 101]))


def test_the_context_may_be_filled_to_the_last_token() -> None:
    engine = Engine(EngineSettings(RANDOM_GGUF, context=64))
    try:
        token = engine.model.tokenize("a", parse_special=False)[0]
        *_, finish = engine.stream(GenerationRequest((token,) * 60, max_tokens=50, sampling=_GREEDY, ignore_end=True))
        assert finish == Finish("length", 60, 4)
        assert engine.next_token_logprobs([[token] * 64]).shape == (1, engine.model.n_vocab)
    finally:
        engine.close()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tokens": ()}, "empty"),
        ({"max_tokens": 0}, "max_tokens is 0"),
        ({"stop": ("",)}, "stop string is empty"),
        ({"top_logprobs": -1}, "top_logprobs is -1"),
    ],
)
def test_a_request_that_makes_no_sense_is_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        GenerationRequest(**{"tokens": (1,), **changes})  # type: ignore[arg-type]


def test_reading_nothing_is_refused(engine: Engine) -> None:
    with pytest.raises(InputError):
        engine.next_token_logprobs([])
    with pytest.raises(InputError):
        engine.next_token_logprobs([[1], []])
    with pytest.raises(InputError):
        engine.read(continuations([], [[1]]))
    with pytest.raises(InputError):
        engine.read(continuations([1], [[1], []]))
    with pytest.raises(InputError):
        engine.read(continuations([1], []))


@pytest.mark.parametrize("token", [-1, 10**6, 2**40])
def test_a_token_outside_the_vocabulary_is_refused(engine: Engine, token: int) -> None:
    with pytest.raises(InputError, match="vocabulary"):
        next(engine.stream(GenerationRequest((1, token))))
    with pytest.raises(InputError, match="vocabulary"):
        engine.next_token_logprobs([[1], [1, token]])
    with pytest.raises(InputError, match="vocabulary"):
        engine.read(continuations([1], [[1, token]]))


@pytest.mark.parametrize("name", ["context", "slots", "threads", "queue"])
def test_an_engine_without_room_is_refused(name: str) -> None:
    with pytest.raises(InputError, match=f"{name} is 0"):
        EngineSettings(RANDOM_GGUF, **{name: 0})  # type: ignore[arg-type]


def test_a_caller_whose_callback_raises_harms_nobody_else(engine: Engine) -> None:
    tokens = _chat(engine, "Name three colours.")
    request = GenerationRequest(tokens, max_tokens=8, sampling=_GREEDY)
    expected = _tokens(engine, request)
    called = threading.Event()

    def deliver(event: Event) -> None:
        called.set()
        raise ValueError("a bug in the caller")

    engine.submit_generation(request, deliver)
    assert called.wait(60)
    assert _tokens(engine, request) == expected
    assert not engine.closed


# -- opening and closing -----------------------------------------------------------------------------------------------


def test_a_closed_engine_refuses_everything_and_closing_twice_is_fine() -> None:
    engine = Engine(EngineSettings(RANDOM_GGUF, context=256))
    engine.close()
    engine.close()
    assert engine.closed
    with pytest.raises(EngineClosedError):
        next(engine.stream(GenerationRequest((1, 2))))
    with pytest.raises(EngineClosedError):
        engine.next_token_logprobs([[1]])
    with pytest.raises(EngineClosedError):
        engine.read(continuations([1], [[1]]))


def test_equal_settings_share_an_engine_until_it_is_closed() -> None:
    settings = EngineSettings(RANDOM_GGUF, context=256)
    first = shared_engine(settings)
    assert shared_engine(EngineSettings(RANDOM_GGUF, context=256)) is first
    assert shared_engine(EngineSettings(RANDOM_GGUF, context=512)) is not first
    close_engines()
    assert first.closed
    second = shared_engine(settings)
    assert second is not first
    assert second.next_token_logprobs([[1, 2]]).shape == (1, second.model.n_vocab)
    close_engines()


def test_a_chat_model_outlives_its_engine() -> None:
    model = ChatLlama(gguf=RANDOM_GGUF, context=256, temperature=0, max_tokens=4)
    before = model.invoke("Hello").content
    close_engines()
    assert model.invoke("Hello").content == before
    close_engines()


def test_nothing_is_printed(capfd: pytest.CaptureFixture[str]) -> None:
    code = f"""
from pathlib import Path
from modular_pluralism.errors import ModelLoadError
from modular_pluralism.llama import ChatLlama, Engine, EngineSettings, GenerationRequest
engine = Engine(EngineSettings(Path({str(RANDOM_GGUF)!r}), context=512))
list(engine.stream(GenerationRequest((1, 2, 3), max_tokens=4)))
engine.next_token_logprobs([[1, 2], [1, 3]])
engine.close()
try:
    Engine(EngineSettings(Path({__file__!r})))
except ModelLoadError:
    pass
model = ChatLlama(gguf={str(RANDOM_GGUF)!r}, context=512, max_tokens=4)
model.invoke("Hello")
next(model.stream("Hello", max_tokens=400))  # still open when the process ends
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize(
    ("settings", "slots"),
    [
        ({"context": 1000}, 22),  # half a GiB, at 23,040 bytes a token and 1,024 tokens a slot
        ({"context": 1000, "slots": 3}, 3),
        ({"context": 1000, "memory": 0.1}, 4),
        ({"context": 1000, "memory": 0.1, "slots": 2}, 2),
        ({"context": 256}, 48),
    ],
)
def test_slots_stay_inside_the_memory_budget(demo_gguf: Path, settings: dict[str, Any], slots: int) -> None:
    engine = Engine(EngineSettings(demo_gguf, **settings))
    assert engine.stats.slots == slots
    engine.close()


def test_a_context_beyond_the_budget_is_refused_with_both_sizes(demo_gguf: Path) -> None:
    with pytest.raises(ModelLoadError, match=r"0\.04 GiB of cache, and 0\.01 GiB are allowed"):
        Engine(EngineSettings(demo_gguf, context=2048, memory=0.01))


def test_more_than_the_host_has_is_refused_before_it_is_asked_for(
    demo_gguf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slot_budget, "usable_memory", lambda: 100 << 20)
    with pytest.raises(ModelLoadError, match=r"4 x 2048 tokens .* need 0\.18 GiB of cache, and 0\.10 GiB are free"):
        Engine(EngineSettings(demo_gguf, context=2048, slots=4))
    monkeypatch.setattr(model_file, "usable_memory", lambda: 50 << 20)
    with pytest.raises(ModelLoadError, match=r"SmolLM2.* needs 0\.09 GiB.* 0\.05 GiB are free"):
        Engine(EngineSettings(demo_gguf, context=256))
