"""What a thinking model wrote before its text is shown where people look, apart from the text, and as data."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGenerationChunk
from starlette.testclient import TestClient
from typer.testing import CliRunner

from modular_pluralism import close_engines
from modular_pluralism.cli.app import app
from modular_pluralism.cli.terminal_view import TerminalView
from modular_pluralism.debugger.export import run_as_html, run_as_json
from modular_pluralism.debugger.live import start_run
from modular_pluralism.nodes.comment import failed
from modular_pluralism.pool import Pool
from modular_pluralism.prompts import PromptSet
from modular_pluralism.serving.app import make_app
from modular_pluralism.serving.catalogue import Catalogue
from modular_pluralism.serving.keys import Keys
from modular_pluralism.serving.limits import Gate, Limits
from modular_pluralism.serving.request_log import RequestLog
from tests.debugging import followed, open_bench
from tests.fake_models import FakeChat, Seen
from tests.test_thinking import POOL
from tests.thinking_model import write_thinking_model
from tests.vendored import chat_template

HOSTILE = "</details><script>alert(1)</script> \x1b[31m {{ 7919 * 7907 }}"


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The file of a pool of a tiny model that thinks."""
    folder = tmp_path_factory.mktemp("thinks")
    write_thinking_model(folder)
    (folder / "chat.jinja").write_text(chat_template("Qwen-Qwen3-0.6B"))
    file = folder / "pool.toml"
    file.write_text(POOL.format(more='thinking = "on"', tokens=12))
    yield file
    close_engines()


class ThinkingChat(FakeChat):
    """Writes hostile reasoning before its text."""

    def answer(self, messages: Sequence[BaseMessage], settings: dict[str, Any]) -> AIMessage:
        message = super().answer(messages, settings)
        message.additional_kwargs["reasoning_content"] = HOSTILE
        return message

    def _chunks(self, message: AIMessage) -> Iterator[ChatGenerationChunk]:
        yield ChatGenerationChunk(message=AIMessageChunk(content="", additional_kwargs=message.additional_kwargs))
        yield from super()._chunks(message)


async def test_an_exported_run_shows_reasoning_as_text(tmp_path: Path) -> None:
    def says(_: Seen) -> str:
        return "Yes."

    async with open_bench(tmp_path, ann=ThinkingChat(say=says)) as bench:
        live = await start_run(bench.store, bench.request(), models=bench.models)
        await followed(live)
        page = await run_as_html(bench.store, live.run, models=bench.models)
        told = json.loads(await run_as_json(bench.store, live.run, models=bench.models))
    assert told["state"]["comments"]["ann"]["reasoning"] == HOSTILE
    assert "reasoning" not in told["state"]["comments"]["bob"]
    of_calls = {call["node"]: call["reasoning"] for call in told["calls"]}
    assert of_calls == {"ann": HOSTILE, "bob": None, "cem": None, "merge": None}
    assert page.count("<summary>Reasoning</summary>") == 1
    assert page.count("&lt;/details&gt;&lt;script&gt;alert(1)&lt;/script&gt;") == 2  # beneath the comment, in the call
    assert "<script" not in page
    assert "62615533" not in page


def test_a_terminal_shows_how_reasoning_begins(capsys: pytest.CaptureFixture[str]) -> None:
    view = TerminalView(["ann"])
    view.said({**failed("ann", ""), "error": None, "text": "Yes.", "reasoning": f"[bold]{HOSTILE}\n{'so ' * 500}"})
    out = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert "Yes. Reasoning: [bold]</details><script>" in out
    assert "\x1b[31m" not in out
    assert out.count("so ") < 120
    assert "… (all of it: --json)" in out
    view.said({**failed("bob", ""), "error": None, "text": "No."})
    assert "Reasoning" not in capsys.readouterr().out


def test_commands_tell_of_reasoning(pool: Path, tmp_path: Path) -> None:
    def called(*arguments: str) -> str:
        done = CliRunner().invoke(app, [*arguments, "--store", str(tmp_path / "runs.sqlite")])
        assert done.exit_code == 0, done.output
        return done.output

    told = json.loads(called("ask", "Should it rain?", "--pool", str(pool), "--thread", "rain", "--json"))
    shown = json.loads(called("runs", "show", "rain", "--json"))
    for comments in (told["comments"], shown["comments"]):
        assert {each["reasoning"].strip() for each in comments.values()} == {"because of rain"}
        assert {each["text"] for each in comments.values()} == {"Yes, indeed"}
    assert called("runs", "show", "rain").count("Reasoning: because of rain") == 2


@pytest.fixture(scope="module")
def client(pool: Path) -> Iterator[TestClient]:
    limits = Limits()
    catalogue = Catalogue(Pool.load(pool), PromptSet.load(), "rotate", limits)
    log = RequestLog(prompts=False, out=io.StringIO())
    made = make_app(catalogue, keys=Keys(), limits=limits, gate=Gate(limits), log=log)
    with TestClient(made, base_url="http://localhost") as running:
        yield running


ASKED = {"messages": [{"role": "user", "content": "Should it rain?"}], "temperature": 0, "n": 2}


@pytest.mark.parametrize("model", ["base", "community/europe"])
def test_a_served_model_gives_its_reasoning_apart(client: TestClient, model: str) -> None:
    response = client.post("/v1/chat/completions", json={**ASKED, "model": model}).json()
    for choice in response["choices"]:
        assert choice["message"]["content"] == "Yes, indeed"
        assert choice["message"]["reasoning_content"] == " because of rain"
    assert response["usage"]["completion_tokens_details"] == {"reasoning_tokens": 10}


@pytest.mark.parametrize("model", ["base", "community/europe"])
def test_served_reasoning_is_streamed_in_deltas_of_its_own(client: TestClient, model: str) -> None:
    with client.stream("POST", "/v1/chat/completions", json={**ASKED, "model": model, "stream": True}) as response:
        lines = [line.removeprefix("data: ") for line in response.iter_lines() if line.startswith("data: {")]
    choices = [choice for line in lines for choice in json.loads(line)["choices"]]
    for index in range(2):
        deltas = [choice["delta"] for choice in choices if choice["index"] == index]
        assert "".join(delta.get("content", "") for delta in deltas) == "Yes, indeed"
        assert "".join(delta.get("reasoning_content", "") for delta in deltas) == " because of rain"
        thinks = [at for at, delta in enumerate(deltas) if "reasoning_content" in delta]
        assert len(thinks) > 1
        assert not any(deltas[at].get("content") for at in thinks)
        assert max(thinks) < min(at for at, delta in enumerate(deltas) if delta.get("content"))
