"""What takes long is not done on the event loop's thread: opening and loading a model, tokenizing, templates, grammars,
reading and searching a record, and checking what a server is sent."""

from __future__ import annotations

import asyncio
import io
import threading
from pathlib import Path
from typing import Any

import httpx
import pytest

from modular_pluralism import Pool, close_engines
from modular_pluralism.errors import QuorumError
from modular_pluralism.home import CACHE_VARIABLE
from modular_pluralism.llama import LlamaEmbeddings
from modular_pluralism.llama.chat_template import ChatTemplate
from modular_pluralism.llama.engine import Engine
from modular_pluralism.llama.grammar import Grammar
from modular_pluralism.llama.model_file import ModelFile
from modular_pluralism.llama.reply_schema import ReplySchema
from modular_pluralism.models.pool_models import PoolModels
from modular_pluralism.modes import find_mode
from modular_pluralism.prompts import PromptSet
from modular_pluralism.records.record_file import RecordFile
from modular_pluralism.serving import json_body, sending
from modular_pluralism.serving.app import make_app
from modular_pluralism.serving.catalogue import Catalogue
from modular_pluralism.serving.keys import Keys
from modular_pluralism.serving.limits import Gate, Limits
from modular_pluralism.serving.request_log import RequestLog
from tests.fake_models import fake_pool
from tests.random_model import RANDOM_GGUF

OPTIONS = {"options": ["Yes", "No", "Perhaps"]}


@pytest.fixture
def threads(monkeypatch: pytest.MonkeyPatch) -> set[tuple[str, int]]:
    """Which thread has done what."""
    seen: set[tuple[str, int]] = set()

    def noting(owner: Any, name: str) -> None:
        do = getattr(owner, name)

        def noted(*arguments: Any, **more: Any) -> Any:
            seen.add((name, threading.get_ident()))
            return do(*arguments, **more)

        monkeypatch.setattr(owner, name, noted)

    noting(ModelFile, "tokenize")
    noting(ChatTemplate, "tokens")
    noting(Engine, "__init__")
    noting(PoolModels, "_make")
    noting(Grammar, "__init__")
    noting(ReplySchema, "__post_init__")
    noting(json_body, "parse_object")
    noting(sending, "whole_json")
    return seen


POOL = {
    "base": "m",
    "models": {"m": {"gguf": str(RANDOM_GGUF), "prepared": False}},
    "communities": {name: {"model": "m", "description": name} for name in ("north", "east")},
    "run": {"comment_tokens": 3, "answer_tokens": 3},
}


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize(
    ("mode", "settings", "asked"),
    [
        ("overton", {}, {}),
        ("steerable", {}, {"attribute": "thrift"}),
        ("distributional", {"voice": "comment,vote"}, OPTIONS),
        ("distributional", {"voice": "vote", "scoring": "text"}, OPTIONS),
    ],
)
def test_the_loops_thread_neither_opens_nor_loads_nor_tokenizes(
    mode: str, settings: Any, asked: Any, streamed: bool, threads: set[tuple[str, int]]
) -> None:
    close_engines()
    pool = Pool.model_validate(POOL)
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


MESSAGES = [{"role": "user", "content": "Why?"}]
SCHEMA = {"type": "object", "properties": {"why": {"type": "string"}}, "required": ["why"]}
FORMAT = {"type": "json_schema", "json_schema": {"name": "reason", "schema": SCHEMA}}


@pytest.mark.parametrize(
    ("path", "asked", "done"),
    [
        (
            "/v1/chat/completions",
            {"model": "base", "messages": MESSAGES, "response_format": FORMAT},
            {"tokens", "__init__"},
        ),
        ("/v1/responses", {"model": "community/north", "input": "Why?"}, {"tokens"}),
        ("/v1/completions", {"model": "base", "prompt": ["Why?", "How?"]}, {"tokenize", "whole_json"}),
        ("/tokenize", {"prompt": "Why?"}, {"tokenize"}),
        (
            "/v1/chat/completions",
            {"model": "pluralism/overton", "messages": MESSAGES, "response_format": FORMAT},
            {"tokens", "__post_init__"},
        ),
    ],
)
async def test_the_servers_loop_does_nothing_that_takes_long(
    path: str, asked: dict[str, Any], done: set[str], threads: set[tuple[str, int]]
) -> None:
    limits, gates = Limits(), list[int]()

    class Watched(Gate):
        def turn(self, key: int | None) -> Any:
            gates.append(len(threads))
            return super().turn(key)

    catalogue = Catalogue(Pool.model_validate(POOL), PromptSet.load(None), "rotate", limits)
    catalogue.load()
    app = make_app(catalogue, keys=Keys(), limits=limits, gate=Watched(limits), log=RequestLog(out=io.StringIO()))
    threads.clear()
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as client:
        await client.post(path, json=asked)
    assert {name for name, _ in threads} >= {"parse_object", *done}
    assert threading.get_ident() not in {thread for _, thread in threads}
    assert gates == [1], "nothing but the reading of the body is done before its turn has come"


@pytest.mark.parametrize("similarity", ["lexical", "m"])
@pytest.mark.parametrize(
    ("mode", "settings", "asked"), [("overton", {}, {}), ("distributional", {"voice": "record"}, OPTIONS)]
)
def test_the_loops_thread_neither_reads_a_record_nor_embeds_a_question(
    mode: str, settings: Any, asked: Any, similarity: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    (tmp_path / "a.csv").write_text("question,options,distribution\nWhy not?,Yes|No|Perhaps,0.5|0.25|0.25\n")
    communities = {"north": {"model": "m", "description": "north", "answers": "a.csv"}}
    run = {"comment_tokens": 3, "answer_tokens": 3, "record_similarity": similarity, "record_gate": [0.0, 0.1]}
    pool = Pool.model_validate({**POOL, "communities": communities, "run": run, "folder": tmp_path})
    seen: list[tuple[str, int]] = []

    def noting(owner: Any, name: str) -> None:
        do = getattr(owner, name)

        def noted(*arguments: Any, **more: Any) -> Any:
            seen.append((name, threading.get_ident()))
            return do(*arguments, **more)

        monkeypatch.setattr(owner, name, noted)

    noting(RecordFile, "_read")
    noting(LlamaEmbeddings, "embed_documents")
    graph = find_mode(mode).graph(pool, **settings).compile()

    async def run_twice() -> int:
        for question in ("Why not?", "Why?"):
            state = await graph.ainvoke({"question": question, **asked})
            assert state["missing"] == []
        return threading.get_ident()

    of_loop = asyncio.run(run_twice())
    assert of_loop not in {thread for _, thread in seen}
    names = [name for name, _ in seen]
    assert names.count("_read") == 1
    assert ("embed_documents" in names) == (similarity == "m")
