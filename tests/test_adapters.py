"""LoRA adapters on a random model, and files that cannot be loaded."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from modular_pluralism import Pool
from modular_pluralism.errors import ModelLoadError
from modular_pluralism.llama import ChatLlama, Engine, EngineSettings, GenerationRequest, Sampling
from modular_pluralism.llama.generation import Event, Finish, Piece
from modular_pluralism.llama.job import Adapter
from modular_pluralism.models.pool_models import PoolModels
from modular_pluralism.pool import Community, EmbeddedModel
from tests.command import python
from tests.fake_models import always
from tests.random_model import RANDOM_GGUF
from tests.tiny_gguf import RANDOM, write_beginning, write_lora

_LENGTH = 16


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("adapters")


@pytest.fixture(scope="module")
def zero(folder: Path) -> Adapter:
    return Adapter(write_lora(folder / "zero.gguf", seed=None))


@pytest.fixture(scope="module")
def left(folder: Path) -> Adapter:
    return Adapter(write_lora(folder / "left.gguf", seed=1))


@pytest.fixture(scope="module")
def right(folder: Path) -> Adapter:
    return Adapter(write_lora(folder / "right.gguf", seed=2))


def _engine(*adapters: Adapter) -> Engine:
    return Engine(EngineSettings(RANDOM_GGUF, context=256, adapters=tuple(each.path for each in adapters)))


def _request(engine: Engine, adapter: Adapter | None, *, length: int = _LENGTH) -> GenerationRequest:
    tokens = engine.model.tokenize("The most important thing in life is", parse_special=False)
    greedy = Sampling(temperature=0)
    return GenerationRequest(tuple(tokens), max_tokens=length, sampling=greedy, adapter=adapter, ignore_end=True)


def _generate(engine: Engine, adapter: Adapter | None) -> list[int]:
    events = engine.stream(_request(engine, adapter))
    return [token for event in events if isinstance(event, Piece) for token in event.tokens]


def _alone(adapter: Adapter | None) -> list[int]:
    engine = _engine(*([adapter] if adapter else []))
    try:
        return _generate(engine, adapter)
    finally:
        engine.close()


def _together(engine: Engine, adapters: Sequence[Adapter | None], length: int) -> list[list[int]]:
    """Generate with every adapter at once; all of them are submitted between two steps of the engine."""
    tokens: list[list[int]] = [[] for _ in adapters]
    failures: list[Exception] = []
    ended = threading.Semaphore(0)

    def deliver(index: int, event: Event) -> None:
        if isinstance(event, Piece):
            tokens[index] += event.tokens
        else:
            failures.extend([event] if isinstance(event, Exception) else [])
            ended.release()

    def start_all(event: Event) -> None:
        if isinstance(event, Finish):
            for index, adapter in enumerate(adapters):
                engine.submit_generation(_request(engine, adapter, length=length), partial(deliver, index))

    engine.submit_generation(_request(engine, None, length=1), start_all)
    for _ in adapters:
        assert ended.acquire(timeout=120)
    assert not failures
    return tokens


def test_a_zero_adapter_changes_nothing_and_a_random_one_does(zero: Adapter, left: Adapter) -> None:
    bare = _alone(None)
    assert len(bare) == _LENGTH
    assert _alone(zero) == bare
    assert _alone(left) != bare


def test_adapters_and_the_bare_model_run_at_once_as_each_would_alone(
    left: Adapter, right: Adapter, zero: Adapter
) -> None:
    adapters = [left, None, right, left, zero]
    expected = {adapter: _alone(adapter) for adapter in (left, right, None, zero)}
    assert expected[left] != expected[right]
    engine = _engine(zero, right, left)
    try:
        # They go on for a few tokens: a sequence that outlives another one may be laid out differently in the cache.
        results = _together(engine, adapters, _LENGTH + 4)
        assert [tokens[:_LENGTH] for tokens in results] == [expected[adapter] for adapter in adapters]
    finally:
        engine.close()


_LONE_PROCESS = """
import json, sys
from pathlib import Path
from modular_pluralism.llama import Engine, EngineSettings, GenerationRequest, Sampling
from modular_pluralism.llama.generation import Piece
from modular_pluralism.llama.job import Adapter
from modular_pluralism.models.pool_models import PoolModels
from modular_pluralism.pool import Community, EmbeddedModel
gguf, adapter, tokens, length = json.loads(sys.argv[-1])
engine = Engine(EngineSettings(Path(gguf), context=256, slots=1, adapters=(Path(adapter),)))
request = GenerationRequest(
    tuple(tokens), length, Sampling(temperature=0), adapter=Adapter(Path(adapter)), ignore_end=True
)
print([token for event in engine.stream(request) if isinstance(event, Piece) for token in event.tokens])
engine.close()
"""


def test_six_communities_speak_as_six_processes_each_with_its_adapter_alone(folder: Path) -> None:
    names = ["news_left", "news_center", "news_right", "reddit_left", "reddit_center", "reddit_right"]
    for number, name in enumerate(names):
        write_lora(folder / f"{name}.gguf", seed=10 + number)
    communities = "".join(
        f'[communities.{name}]\nmodel = "small"\nlora = "{name}.gguf"\ndescription = "{name}"\n' for name in names
    )
    pool = Pool.from_toml(
        f'base = "small"\n[models.small]\ngguf = "{RANDOM_GGUF}"\nprepared = false\ncontext = 256\n{communities}',
        source="six.toml",
        folder=folder,
    )
    models = PoolModels(pool)
    chats = [models.community(name).chat for name in names]
    assert all(isinstance(chat, ChatLlama) for chat in chats)
    engine = chats[0].engine  # type: ignore[attr-defined]
    assert all(chat.engine is engine for chat in chats)  # type: ignore[attr-defined]
    adapters = [chat.adapter for chat in chats]  # type: ignore[attr-defined]
    together = _together(engine, adapters, 24)
    prompt = _request(engine, None).tokens
    for adapter, tokens in zip(adapters, together, strict=True):
        asked = json.dumps([str(RANDOM_GGUF), str(adapter.path), prompt, 24])
        assert json.loads(python(_LONE_PROCESS, asked).stdout) == tokens
    assert len({tuple(tokens) for tokens in together}) == 6
    engine.close()


def test_sequences_of_one_adapter_are_decoded_together(left: Adapter, right: Adapter) -> None:
    """However they arrive: two adapters take turns, and each turn is one decode for all of its sequences."""
    engine = Engine(EngineSettings(RANDOM_GGUF, context=256, slots=8, adapters=(left.path, right.path), audit=True))
    try:
        _together(engine, [left, right] * 4, 16)
        # One decode reads the first request's prompt. Then eight prompts, and 15 tokens for each adapter's four.
        assert engine.stats.decodes <= 1 + 8 + 2 * (15 + 3)
        assert engine.stats.moves > 0
    finally:
        engine.close()


def test_an_adapter_without_weight_is_the_bare_model_and_half_of_it_is_neither(left: Adapter) -> None:
    engine = _engine(left)
    try:
        prompt = [engine.model.tokenize("Politics is", parse_special=False)]
        bare = engine.next_token_logprobs(prompt)
        none = engine.next_token_logprobs(prompt, adapter=Adapter(left.path, 0.0))
        half = engine.next_token_logprobs(prompt, adapter=Adapter(left.path, 0.5))
        full = engine.next_token_logprobs(prompt, adapter=left)
        assert np.array_equal(none, bare)
        assert np.abs(half - bare).max() > 0.1
        assert np.abs(half - full).max() > 0.1
        assert np.array_equal(engine.next_token_logprobs(prompt), bare)  # and it is taken off again
    finally:
        engine.close()


def test_an_adapter_that_the_engine_was_not_given_is_refused(left: Adapter) -> None:
    engine = _engine()
    try:
        with pytest.raises(ModelLoadError, match=r"left\.gguf"):
            _generate(engine, left)
    finally:
        engine.close()


def test_a_chat_model_in_the_place_of_an_embedded_one_cannot_have_an_adapter(left: Adapter) -> None:
    pool = Pool(
        base="small",
        models={"small": EmbeddedModel(gguf=str(RANDOM_GGUF))},
        communities={"left": Community(model="small", lora=str(left.path), description="The left")},
        folder=Path(),
    )
    with pytest.raises(ModelLoadError, match=r"given for \[models\.small\] cannot add the adapter .*left\.gguf"):
        PoolModels(pool, {"small": always("x")}).check()


def _load(gguf: Path, adapter: Path | None = None) -> None:
    Engine(EngineSettings(gguf, context=256, adapters=(adapter,) if adapter else ())).close()


def test_an_adapter_for_another_base_is_an_error_that_names_it(folder: Path) -> None:
    for path in (
        write_lora(folder / "qwen.gguf", seed=1, architecture="qwen2"),
        write_lora(folder / "wide.gguf", seed=1, shape=RANDOM._replace(hidden=128)),
        RANDOM_GGUF,  # a model is no adapter
        write_beginning(folder / "cut.gguf", write_lora(folder / "whole.gguf", seed=1), 1_000),
        folder / "missing.gguf",
    ):
        with pytest.raises(ModelLoadError) as caught:
            _load(RANDOM_GGUF, path)
        assert str(path) in str(caught.value)


@pytest.mark.parametrize("size", [0, 3, 4, 20, 5_000, 1_000_000, 3_500_000])
def test_a_model_file_that_breaks_off_is_an_error_that_names_it(folder: Path, size: int) -> None:
    path = write_beginning(folder / f"cut-{size}.gguf", RANDOM_GGUF, size)
    with pytest.raises(ModelLoadError) as caught:
        _load(path)
    assert str(path) in str(caught.value)
    path.unlink()


def test_no_gguf_is_an_error_that_names_it(folder: Path) -> None:
    text = folder / "text.gguf"
    text.write_text("This is no model.")
    noise = folder / "noise.gguf"
    noise.write_bytes(b"GGUF" + np.random.default_rng(1).bytes(10_000))
    lora = write_lora(folder / "lora.gguf", seed=1)
    for path in (text, noise, lora, folder, folder / "missing.gguf"):
        with pytest.raises(ModelLoadError) as caught:
            _load(path)
        assert str(path) in str(caught.value)


def test_a_file_name_may_hold_any_letters(folder: Path) -> None:
    path = folder / "Modell für 日本 \udcff.gguf"
    path.symlink_to(RANDOM_GGUF)
    _load(path)
