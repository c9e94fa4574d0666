"""What takes long of a model is not done on the event loop's thread: opening it, loading it, and tokenizing prompts."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from modular_pluralism import Pool, close_engines
from modular_pluralism.errors import QuorumError
from modular_pluralism.llama.chat_template import ChatTemplate
from modular_pluralism.llama.engine import Engine
from modular_pluralism.llama.model_file import ModelFile
from modular_pluralism.models.pool_models import PoolModels
from modular_pluralism.modes import find_mode
from tests.fake_models import fake_pool
from tests.random_model import RANDOM_GGUF

OPTIONS = {"options": ["Yes", "No", "Perhaps"]}


@pytest.fixture
def threads(monkeypatch: pytest.MonkeyPatch) -> set[tuple[str, int]]:
    """Which thread has done what."""
    seen: set[tuple[str, int]] = set()

    def noting(owner: type, name: str) -> None:
        do = getattr(owner, name)

        def noted(*arguments: Any, **more: Any) -> Any:
            seen.add((name, threading.get_ident()))
            return do(*arguments, **more)

        monkeypatch.setattr(owner, name, noted)

    noting(ModelFile, "tokenize")
    noting(ChatTemplate, "tokens")
    noting(Engine, "__init__")
    noting(PoolModels, "_make")
    return seen


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize(
    ("mode", "settings", "asked"),
    [
        ("overton", {}, {}),
        ("steerable", {}, {"attribute": "thrift"}),
        ("distributional", {"voice": "both"}, OPTIONS),
        ("distributional", {"voice": "vote", "scoring": "text"}, OPTIONS),
    ],
)
def test_the_loops_thread_neither_opens_nor_loads_nor_tokenizes(
    mode: str, settings: Any, asked: Any, streamed: bool, threads: set[tuple[str, int]]
) -> None:
    close_engines()
    pool = Pool.model_validate(
        {
            "base": "m",
            "models": {"m": {"gguf": str(RANDOM_GGUF), "prepared": False}},
            "communities": {name: {"model": "m", "description": name} for name in ("north", "east")},
            "run": {"comment_tokens": 3, "answer_tokens": 3},
        }
    )
    graph = find_mode(mode).graph(pool, **settings).compile()

    async def run() -> int:
        async for _ in graph.astream({"question": "Why?", **asked}, stream_mode="messages" if streamed else "values"):
            pass
        return threading.get_ident()

    of_loop = asyncio.run(run())
    assert {name for name, _ in threads} == {"tokenize", "tokens", "__init__", "_make"}
    assert of_loop not in {thread for _, thread in threads}


def test_a_remote_model_is_opened_in_a_thread_for_the_loop_that_asks(threads: set[tuple[str, int]]) -> None:
    pool = fake_pool(["north"]).with_run(attempts=1)
    graph = find_mode("overton").graph(pool).compile()

    async def run() -> int:
        for _ in range(2):
            with pytest.raises(QuorumError):  # nobody is there
                await graph.ainvoke({"question": "Why?"})
        return threading.get_ident()

    assert asyncio.run(run()) not in {thread for _, thread in threads}
    assert [name for name, _ in threads] == ["_make"]
    with pytest.raises(QuorumError):
        graph.invoke({"question": "Why?"})
