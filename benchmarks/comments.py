"""The comments that every fan-out is measured with: the demo pool's prompts, new ones in each round."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any, NamedTuple

from langchain_core.messages import SystemMessage

from benchmarks.errors import BenchmarkError
from benchmarks.row import Settings
from modular_pluralism import Pool, PromptSet
from modular_pluralism.llama import ChatLlama, Engine, GenerationRequest, Sampling, close_engines
from modular_pluralism.llama.generation import Finish
from modular_pluralism.nodes.comment import failed
from modular_pluralism.types import Comment

TOKENS = 128
QUICK_TOKENS = 8
SAMPLING = Sampling()
QUESTIONS = (
    "Should a city ban cars from its centre?",
    "Should wages be public?",
    "Is it acceptable to lie to protect a friend?",
    "Should voting be compulsory?",
)
_OPENING_TOKENS = 24
"""What prompts may have in common: the beginning of the chat template, and of the line that tells them apart."""


class Prompt(NamedTuple):
    """What a community reads, as tokens and as the text that they come from."""

    tokens: tuple[int, ...]
    text: str


def comment_prompts(chat: ChatLlama, number: int, count: int = 6, *, known: bool = False) -> list[Prompt]:
    """`count` prompts of the perspective pool for round `number`: all six communities on one question after another.

    Each begins with a line of its own, so that no side can profit from prompts that it has read before; where the
    communities are `known`, only the question is new, as it is for every question to a pool but the first.
    """
    pool, prompts = Pool.load("perspective"), PromptSet.load()
    communities = list(pool.communities)
    found = []
    for index in range(count):
        persona = pool.persona_text(communities[index % len(communities)], prompts)
        question = QUESTIONS[index // len(communities) % len(QUESTIONS)]
        asked = prompts["comment"].render(question=f"{number}: {question}" if known else question)
        messages = [SystemMessage(str(persona) if known else f"Interview {number}.{index}\n\n{persona}"), *asked]
        found.append(Prompt(tuple(chat.prompt_tokens(messages)), chat.prompt_text(messages)))
    return found


@contextlib.contextmanager
def opened(settings: Settings, slots: int | None = None) -> Iterator[ChatLlama]:
    """The chat model under test, as a pool opens it, or with so many slots; its engine ends on the way out."""
    try:
        yield ChatLlama(gguf=settings.file.path, threads=settings.threads, slots=slots)
    finally:
        close_engines()


def by_engine(engine: Engine, prompts: Sequence[Prompt], tokens: int, number: int, *, known: bool = False) -> float:
    """Seconds for all comments at once.

    Raises:
        BenchmarkError: a comment has another length, or its prompt was in the cache without being `known`.
    """

    async def one(prompt: Prompt, seed: int) -> Finish:
        request = GenerationRequest(prompt.tokens, max_tokens=tokens, sampling=Sampling(seed=seed), ignore_end=True)
        *_, finish = await engine.agenerate(request)
        assert isinstance(finish, Finish)
        return finish

    async def everything() -> tuple[float, list[Finish]]:
        started = time.perf_counter()
        requests = (one(prompt, seed_of(number, index)) for index, prompt in enumerate(prompts))
        finishes = await asyncio.gather(*requests)
        return time.perf_counter() - started, finishes

    seconds, finishes = asyncio.run(everything())
    check_counts("the engine", [finish.completion_tokens for finish in finishes], tokens)
    reused = max(finish.reused_tokens for finish in finishes)
    if reused > _OPENING_TOKENS and not known:
        raise BenchmarkError(f"The engine reused {reused} tokens of a prompt that is to be new.")
    return seconds


def said(community: str, text: str) -> Comment:
    """A comment as a community leaves it in the state."""
    return {**failed(community, ""), "text": text, "error": None, "finish_reason": "stop", "attempts": 1}


def seed_of(number: int, index: int) -> int:
    """The seed of one comment of a round, the same on every side."""
    return 1000 * number + index


def sampling_json() -> dict[str, Any]:
    """The sampling settings without the seed."""
    return {name: value for name, value in asdict(SAMPLING).items() if name != "seed"}


def check_counts(who: str, counts: Sequence[int], tokens: int) -> None:
    """Raise BenchmarkError unless every comment has `tokens` tokens."""
    if any(count != tokens for count in counts):
        raise BenchmarkError(f"{who} generated {list(counts)} tokens instead of {tokens} each.")


def check_prompts(who: str, counts: Sequence[int], prompts: Sequence[Sequence[int]]) -> None:
    """Raise BenchmarkError unless a peer read as many tokens as the engine."""
    expected = [len(tokens) for tokens in prompts]
    if list(counts) != expected:
        raise BenchmarkError(f"{who} read prompts of {list(counts)} tokens instead of {expected}.")


def end_tokens(chat: ChatLlama) -> list[int]:
    """The tokens with which the model may end its turn: peers that cannot ignore them have them ruled out."""
    model = chat.engine.model
    return [token for token in model.special_tokens.spelled if model.is_end(token)]
