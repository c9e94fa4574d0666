"""The engine against `llama_cpp.Llama`, which decodes one sequence at a time, on the real demo model.

Both use flash attention: without it llama.cpp's own results differ between reading a prompt at once and token by token.
With it they still depend on whether 64 tokens or more are read at once, since llama.cpp has another kernel for those,
and quantised weights magnify a difference in the last bit to tenths in the logits. Which one the engine uses follows
from the prompt's length (see chunks.py), so `Llama` is made to read its prompts in pieces that use the same ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import pytest
from llama_cpp import Llama, llama_get_logits_ith

from modular_pluralism.llama import Engine, EngineSettings, GenerationRequest, Sampling
from modular_pluralism.llama.chat_template import ChatTemplate, Turn
from modular_pluralism.llama.chunks import wide_length
from modular_pluralism.llama.generation import Piece
from modular_pluralism.llama.host import usable_cores
from modular_pluralism.llama.reading import LogProbs
from modular_pluralism.llama.sampling import log_normaliser
from tests.demo_model import DEMO_GGUF

_LENGTH = 24
_QUESTIONS = [
    "What is pluralism?",
    "Translate 'good morning' into French.",
    "Is it wrong to lie to a friend?",
    "Schreibe einen Satz über Berlin.",
    "写一句关于春天的话。",
    "def add(a, b):",
    "Repeat after me: 🙂🙂🙂",
    "Summarise: " + "The committee met again and could not agree on the budget. " * 12,
    "Continue: " + "one two three four five six seven eight nine ten " * 55,  # more than one batch of 512
]


class _Reference(NamedTuple):
    """What `Llama` says for one question."""

    prompt: list[int]
    prompt_tokens: int
    """As its own chat completion counts them."""
    reply: list[int]
    logprobs: LogProbs
    """Of the token after the prompt."""


def _ask_llama() -> list[_Reference]:
    threads = usable_cores()
    settings: dict[str, Any] = {"n_ctx": 2048, "flash_attn": True, "verbose": False}
    llama = Llama(str(DEMO_GGUF), n_threads=threads, n_threads_batch=threads, **settings)
    references = []
    for question in _QUESTIONS:
        llama.reset()
        usage = llama.create_chat_completion([{"role": "user", "content": question}], max_tokens=1)["usage"]
        # That has left the prompt's tokens behind, as this Llama read them.
        prompt = llama.input_ids[: usage["prompt_tokens"]].tolist()
        llama.reset()
        for piece in _pieces(prompt):
            llama.eval(piece)
        row = _last_logits(llama)
        reply: list[int] = []
        while len(reply) < _LENGTH:
            token = int(_last_logits(llama).argmax())
            if token in (llama.token_eos(), llama.token_bos()):
                break
            reply.append(token)
            llama.eval([token])
        references.append(_Reference(prompt, usage["prompt_tokens"], reply, row - np.float32(log_normaliser(row))))
    llama.close()
    return references


def _last_logits(llama: Llama) -> LogProbs:
    return np.ctypeslib.as_array(llama_get_logits_ith(llama.ctx, -1), shape=(llama.n_vocab(),)).copy()


def _pieces(prompt: list[int]) -> list[list[int]]:
    """The prompt as the engine reads it: the whole 64s of a long one, then what is left, less than 64 at a time."""
    wide = wide_length(len(prompt))
    cuts = [0, *([wide] if wide else []), *range(wide + 48, len(prompt) - 1, 48), len(prompt)]
    return [prompt[start:end] for start, end in pairwise(cuts) if end > start]


def _in_a_thread_that_ends(function: Callable[[], list[_Reference]]) -> list[_Reference]:
    # OpenMP keeps worker threads for every thread that has decoded, and slows all down once they outnumber the cores.
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(function).result()


@pytest.fixture(scope="module")
def references() -> list[_Reference]:
    return _in_a_thread_that_ends(_ask_llama)


@pytest.fixture(scope="module")
def engine(references: list[_Reference]) -> Iterator[Engine]:
    # As many threads as the reference has, whatever else runs: the sums of a long sequence depend on them.
    engine = Engine(EngineSettings(DEMO_GGUF, context=2048, threads=usable_cores()))
    yield engine
    engine.close()


def test_a_chat_has_the_same_prompt(engine: Engine, references: list[_Reference]) -> None:
    template = ChatTemplate(engine.model)
    for question, reference in zip(_QUESTIONS, references, strict=True):
        tokens = template.tokens([Turn("user", question)])
        assert len(tokens) == reference.prompt_tokens
        assert tokens == reference.prompt


@pytest.mark.parametrize("index", range(len(_QUESTIONS)))
def test_a_lone_greedy_request_gives_the_same_tokens(engine: Engine, references: list[_Reference], index: int) -> None:
    """Token for token."""
    prompt = tuple(references[index].prompt)
    request = GenerationRequest(prompt, max_tokens=_LENGTH, sampling=Sampling(temperature=0))
    tokens = [token for event in engine.stream(request) if isinstance(event, Piece) for token in event.tokens]
    assert len(tokens) > 2
    assert tokens == references[index].reply


def test_a_lone_prompt_has_the_same_logprobs(engine: Engine, references: list[_Reference]) -> None:
    for reference in references:
        (row,) = engine.next_token_logprobs([reference.prompt])
        assert np.abs(row - reference.logprobs).max() < 1e-4
