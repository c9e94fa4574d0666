"""Activated adapters: what stands before their invocation is read once for all of them, and says the same."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modular_pluralism.errors import InputError
from modular_pluralism.llama import Engine, EngineSettings, GenerationRequest, Sampling
from modular_pluralism.llama.generation import Piece
from modular_pluralism.llama.job import Adapter
from modular_pluralism.llama.reading import LogProbs, continuations, next_tokens
from tests.architectures import ARCHITECTURES, VOCABULARY, write_adapter, write_architecture
from tests.random_model import RANDOM_GGUF
from tests.tiny_gguf import write_lora

INVOCATION = [700, 701, 702]
COMMUNITIES = 4


@pytest.fixture(scope="module")
def adapters(tmp_path_factory: pytest.TempPathFactory) -> list[Adapter]:
    folder = tmp_path_factory.mktemp("activated")
    return [
        Adapter(write_lora(folder / f"community{seed}.gguf", seed=seed, invocation=INVOCATION))
        for seed in range(COMMUNITIES)
    ]


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Adapter:
    return Adapter(write_lora(tmp_path_factory.mktemp("plain") / "plain.gguf", seed=0))


def opened(adapters: Sequence[Adapter], **more: int | bool) -> Engine:
    paths = tuple(each.path for each in adapters)
    return Engine(EngineSettings(RANDOM_GGUF, context=1024, adapters=paths, threads=1, audit=True, **more))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def together(adapters: list[Adapter], plain: Adapter) -> Iterator[Engine]:
    engine = opened([*adapters, plain], slots=8)
    yield engine
    engine.close()


@pytest.fixture(scope="module")
def afresh(adapters: list[Adapter], plain: Adapter) -> Iterator[Engine]:
    """An engine that takes nothing from its cache."""
    engine = opened([*adapters, plain], slots=1, reuse=False)
    yield engine
    engine.close()


def tokens(seed: int, count: int) -> list[int]:
    return [int(token) for token in np.random.default_rng(seed).integers(20, 600, count)]


def asked(length: int, seed: int = 0, ends: int = 4) -> list[list[int]]:
    """Prompts of one question whose options stand in several orders."""
    question = tokens(seed, length)
    return [[*question, *tokens(100 + seed + end, 40), *INVOCATION] for end in range(ends)]


def read_by_all(engine: Engine, adapters: Sequence[Adapter | None], prompts: list[list[int]]) -> list[LogProbs]:
    async def read() -> list[LogProbs]:
        readings = [next_tokens(prompts, engine.model.n_vocab) for _ in adapters]
        return await asyncio.gather(
            *(engine.aread(reading, adapter=adapter) for reading, adapter in zip(readings, adapters, strict=True))
        )

    return asyncio.run(read())


def test_what_stands_before_the_invocation_is_read_once_for_all_communities(adapters: list[Adapter]) -> None:
    engine = opened(adapters, slots=20)
    try:
        prompts = asked(100)
        read_by_all(engine, adapters, prompts)
        once = 100 + 40 * len(prompts)
        suffixes = len(prompts) * COMMUNITIES * len(INVOCATION)
        # Of each end but the first, what is shared is copied, and of two equal prompts the last tokens are read again.
        assert once + suffixes <= engine.stats.tokens_read <= once + suffixes + 4 * len(prompts) * COMMUNITIES
        assert engine.stats.decodes < len(prompts) * COMMUNITIES  # those of one community are decoded together
    finally:
        engine.close()


@pytest.mark.parametrize("length", [30, 100, 520, 700])
def test_communities_that_share_a_prompt_say_what_each_says_alone(
    together: Engine, afresh: Engine, adapters: list[Adapter], plain: Adapter, length: int
) -> None:
    who = [*adapters, None, plain]
    prompts = asked(length, seed=length)
    said = read_by_all(together, who, prompts)
    for adapter, rows in zip(who, said, strict=True):
        np.testing.assert_allclose(rows, afresh.next_token_logprobs(prompts, adapter=adapter), atol=2e-3)
    assert all(np.abs(said[0] - other).max() > 0.05 for other in said[1:])


def test_before_the_invocation_the_base_reads_and_after_it_the_adapter(
    afresh: Engine, adapters: list[Adapter], plain: Adapter
) -> None:
    """The adapter of seed 0 has the weights of the plain one."""
    (prompt,) = asked(20, ends=1)
    activated, whole, bare = (
        afresh.next_token_logprobs([prompt], adapter=each)[0] for each in (adapters[0], plain, None)
    )
    assert np.abs(activated - whole).max() > 0.05
    assert np.abs(activated - bare).max() > 0.05
    start = afresh.next_token_logprobs([INVOCATION], adapter=adapters[0])[0]  # where nothing stands before it
    np.testing.assert_allclose(start, afresh.next_token_logprobs([INVOCATION], adapter=plain)[0], atol=1e-4)


def test_the_last_invocation_counts(together: Engine, adapters: list[Adapter]) -> None:
    """As of a conversation, in which the model has had turns before."""
    model = together.model
    history = [*tokens(1, 10), *INVOCATION, *tokens(2, 10)]
    assert model.bare_length(adapters[0], [*history, *INVOCATION]) == len(history)
    assert model.bare_length(None, history) == 0


def test_a_prompt_that_does_not_invoke_it_is_refused(together: Engine, adapters: list[Adapter]) -> None:
    with pytest.raises(InputError, match=r"acts from .* on, which this prompt has not"):
        together.next_token_logprobs([tokens(3, 10)], adapter=adapters[0])
    with pytest.raises(InputError, match=r"acts from .* on, which this prompt has not"):
        together.generate(GenerationRequest(tuple(tokens(3, 10)), adapter=adapters[0]))


def written(engine: Engine, prompt: Sequence[int], adapter: Adapter) -> list[int]:
    request = GenerationRequest(tuple(prompt), 12, Sampling(temperature=0), adapter=adapter, ignore_end=True)
    return [token for event in engine.generate(request) if isinstance(event, Piece) for token in event.tokens]


def test_texts_and_continuations_are_those_of_the_adapter_alone(
    together: Engine, afresh: Engine, adapters: list[Adapter]
) -> None:
    (prompt,) = asked(60, seed=9, ends=1)
    for adapter in adapters:
        assert written(together, prompt, adapter) == written(afresh, prompt, adapter)
        following = [tokens(4, 3), tokens(5, 5)]
        rows = [engine.read(continuations(prompt, following), adapter=adapter) for engine in (together, afresh)]
        for one, other in zip(*rows, strict=True):
            np.testing.assert_allclose(one, other, atol=2e-3)


@settings(max_examples=25, deadline=None)
@given(
    lengths=st.lists(st.sampled_from([0, 1, 2, 5, 33, 63, 64, 65, 130]), min_size=1, max_size=4),
    who=st.lists(st.integers(-1, COMMUNITIES - 1), min_size=1, max_size=5),
)
def test_whoever_asks_what_after_whom_is_told_the_same(
    together: Engine, afresh: Engine, adapters: list[Adapter], lengths: list[int], who: list[int]
) -> None:
    prompts = [[*tokens(6, length), *INVOCATION] for length in lengths]
    chosen = [None if each < 0 else adapters[each] for each in who]
    for adapter, rows in zip(chosen, read_by_all(together, chosen, prompts), strict=True):
        np.testing.assert_allclose(rows, afresh.next_token_logprobs(prompts, adapter=adapter), atol=2e-3)


@pytest.mark.parametrize("name", ["gemma3", "mamba", "lfm2"])
def test_windows_and_states_share_what_stands_before_the_invocation(tmp_path: Path, name: str) -> None:
    """What they have read cannot be cut anywhere: they go back to a copy of where the invocation begins."""
    (architecture,) = (each for each in ARCHITECTURES if each.name == name)
    path = write_architecture(tmp_path / "model.gguf", architecture, context=512)
    invocation = [30, 31, 32]
    adapter = write_adapter(tmp_path / "adapter.gguf", architecture, invocation)
    question = [int(token) for token in np.random.default_rng(0).integers(40, VOCABULARY, 330)]
    prompts = [[*question, *range(50 + end, 90 + end), *invocation] for end in range(3)]
    who = [Adapter(adapter), Adapter(adapter, 0.5), None]
    said, read = [], []
    for how in ({"slots": 8}, {"slots": 1, "reuse": False}):
        settings = EngineSettings(path, context=512, threads=1, adapters=(adapter,), audit=True, **how)  # type: ignore[arg-type]
        engine = Engine(settings)
        said.append(read_by_all(engine, who, prompts))
        read.append(engine.stats.tokens_read)
        engine.close()
    for rows, alone in zip(*said, strict=True):
        np.testing.assert_allclose(rows, alone, atol=1e-4)
    assert np.abs(said[0][0] - said[0][2]).max() > 0.05
    assert read[0] < read[1] / 4
