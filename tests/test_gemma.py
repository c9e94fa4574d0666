"""Gemma 3 270M, whose layers see 512 tokens back, but every sixth: it runs, and reuses what its windows still hold."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from langchain_core.messages import HumanMessage

from modular_pluralism.hardware import Hardware
from modular_pluralism.llama import ChatLlama, GenerationRequest, Sampling, close_engines
from modular_pluralism.llama.generation import Piece
from modular_pluralism.llama.host import usable_cores
from modular_pluralism.models.engine_reader import EngineOptionReader
from tests.gemma_model import gemma_gguf
from tests.plain_llama import greedy

_LENGTH = 8
_LONG = "The committee met again and could not agree on the budget. " * 64
_TEXTS = [
    "The capital of France is",
    "The capital of France is Paris, and the capital of Italy is",
    _LONG,
    _LONG[:1200] + "Then somebody proposed",
]


@pytest.fixture(scope="module")
def chat() -> Iterator[ChatLlama]:
    # A small batch, so that few tokens are enough to push others out of the windows; as many threads as llama.cpp has,
    # whatever else runs, since the sums of a long sequence depend on them.
    yield ChatLlama(
        gguf=gemma_gguf(),
        context=1024,
        slots=3,
        template=False,
        hardware=Hardware(ubatch=64),
        threads=usable_cores(),
    )
    close_engines()


@pytest.fixture(scope="module")
def prompts(chat: ChatLlama) -> list[list[int]]:
    model = chat.engine.model
    return [model.tokenize(text, parse_special=False, add_special=True) for text in _TEXTS]


@pytest.fixture(scope="module")
def expected(chat: ChatLlama, prompts: list[list[int]]) -> list[list[int]]:
    """What llama.cpp writes by itself."""
    return greedy(gemma_gguf(), prompts, _LENGTH, context=1024, threads=usable_cores())


def _text(chat: ChatLlama, prompt: list[int]) -> list[int]:
    request = GenerationRequest(tuple(prompt), max_tokens=_LENGTH, sampling=Sampling(temperature=0), ignore_end=True)
    return [token for event in chat.engine.generate(request) if isinstance(event, Piece) for token in event.tokens]


def test_it_writes_what_llama_cpp_writes_and_reuses_what_its_windows_hold(
    chat: ChatLlama, prompts: list[list[int]], expected: list[list[int]]
) -> None:
    stats = chat.engine.stats
    reused = []
    for prompt, text in zip([*prompts, *prompts[2:]], [*expected, *expected[2:]], strict=True):
        before = stats.tokens_reused
        assert _text(chat, prompt) == text
        reused.append(stats.tokens_reused - before)
    assert len(prompts[2]) > 768  # more than the windows and their room hold
    assert reused[3] <= 2  # what it shares with the one before has left the windows
    assert all(again >= len(prompt) - 128 for again, prompt in zip(reused[4:], prompts[2:], strict=True))
    assert chat.engine.model.window == 512


def test_many_at_once_write_what_each_writes_alone(
    chat: ChatLlama, prompts: list[list[int]], expected: list[list[int]]
) -> None:
    with ThreadPoolExecutor(6) as pool:
        written = list(pool.map(lambda prompt: _text(chat, prompt), prompts[:2] * 3))
    for text, own in zip(written, expected[:2] * 3, strict=True):
        # What is decoded beside it may change a word, but hardly the first one.
        assert text[0] == own[0]


def test_it_knows_the_capital_of_france_when_its_options_are_read(chat: ChatLlama) -> None:
    reader = EngineOptionReader(chat)
    (reading,) = reader.read_labels([[HumanMessage("The capital of France is")]], [" Paris", " Rome"], {})
    assert reading.probabilities[0] > 10 * reading.probabilities[1]
