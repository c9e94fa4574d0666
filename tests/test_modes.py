"""The registry of modes: a mode that is described in one file (tests/toy_mode.py) is found wherever modes are."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any, Required

import pytest
from inspect_ai.model import ChatMessageUser, GenerateConfig
from langgraph.graph import END, START, StateGraph
from nicegui import Client, ui
from nicegui.element import Element
from starlette.testclient import TestClient
from typer.testing import CliRunner

import modular_pluralism.cli.run_graph
import modular_pluralism.evaluation.inspect.model as inspect_model
import modular_pluralism.serving.catalogue
from modular_pluralism import modes as registry
from modular_pluralism.assistants import factories
from modular_pluralism.assistants.context import context_schema, read_context
from modular_pluralism.cli.app import app
from modular_pluralism.debugger.live import RunRequest
from modular_pluralism.debugger.page.graph_view import GraphView
from modular_pluralism.debugger.page.live_runs import LiveRuns
from modular_pluralism.debugger.page.run_form import RunForm
from modular_pluralism.debugger.page.run_prompts import prompts_of
from modular_pluralism.debugger.snippet import run_as_python
from modular_pluralism.errors import ConfigurationError, ContextError, InputError
from modular_pluralism.graphs import build_pluralism
from modular_pluralism.graphs.parts import Parts
from modular_pluralism.graphs.shape import graph_nodes
from modular_pluralism.graphs.state import Question
from modular_pluralism.models.pool_models import PoolModels
from modular_pluralism.modes import ModeDescription, Takes, find_mode, modes, register_mode
from modular_pluralism.nodes.request import Request
from modular_pluralism.nodes.step import Body, step_maker
from modular_pluralism.pool import Pool
from modular_pluralism.prompt_trials.uses import uses_of
from modular_pluralism.prompts import PromptSet
from modular_pluralism.runs.location import find_location
from modular_pluralism.runs.setup import Setup
from modular_pluralism.serving.app import make_app
from modular_pluralism.serving.catalogue import Catalogue
from modular_pluralism.serving.keys import Keys
from modular_pluralism.serving.limits import Gate, Limits
from modular_pluralism.serving.mode_question import question_of
from modular_pluralism.serving.request_log import RequestLog
from modular_pluralism.serving.schemas import ChatMessage, ChatRequest
from modular_pluralism.tool import pluralism_tool
from tests.command import python
from tests.fake_models import always, fake_models, fake_pool
from tests.toy_mode import CHORUS, ChorusState, register

REPOSITORY = Path(__file__).resolve().parents[1]
TWO = ("north", "east")
SAID = "The view of north. / The view of east."
POOL = 'base = "boss"\n' + "".join(
    f'[models.{name}]\nopenai = "{name}"\nbase_url = "http://127.0.0.1:9/v1"\n' for name in ("boss", *TWO)
)


@pytest.fixture
def chorus(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The mode is found by an entry point, as that of an installed package is."""

    class Entry:
        def load(self) -> None:
            register()

    monkeypatch.setattr(registry, "entry_points", lambda *, group: [Entry()] if "pluralism.modes" in group else [])
    registry._load_modes.cache_clear()
    yield
    del registry._modes["chorus"]


@pytest.mark.filterwarnings("ignore:This API is in beta")
@pytest.mark.parametrize("name", ["overton", "steerable", "distributional", "assembly"])
def test_a_graph_tells_its_schemas_and_is_a_tool(name: str) -> None:
    mode = find_mode(name)
    graph = mode.graph("culture").compile()
    asked, told = graph.get_input_jsonschema(), graph.get_output_jsonschema()
    assert set(asked["required"]) == {"question", *mode.takes.required}
    assert set(mode.results) <= set(told["properties"])
    assert "$defs" in told
    assert set(graph.as_tool(name=name, description=mode.tool).args) == set(asked["properties"])


def models() -> dict[str, Any]:
    return fake_models(always("Nobody asks me."), TWO)


@pytest.fixture
def pool_file(tmp_path: Path) -> Path:
    path = tmp_path / "pool.toml"
    communities = "".join(f'[communities.{name}]\nmodel = "{name}"\ndescription = "d"\n' for name in TWO)
    path.write_text(POOL + communities)
    return path


# The registry


def test_the_package_s_own_modes() -> None:
    assert list(modes()) == ["overton", "steerable", "distributional", "assembly"]
    for name, mode in modes().items():
        assert mode.name == name
        assert {"check", "community"} < {node.id for node in mode.nodes()}


def test_a_name_is_given_once() -> None:
    assert register_mode(find_mode("overton")) is find_mode("overton")
    other = registry.ModeDescription(**{**vars(CHORUS), "name": "overton"})
    with pytest.raises(InputError, match="There is a mode 'overton' already"):
        register_mode(other)
    with pytest.raises(InputError, match="There is no mode 'chorus'; use overton, steerable, distributional"):
        find_mode("chorus")


def test_the_tables_of_the_docs_are_those_of_the_registry() -> None:
    readme = (REPOSITORY / "README.md").read_text("utf-8")
    embedding = (REPOSITORY / "docs" / "embedding.md").read_text("utf-8")
    config = json.loads((REPOSITORY / "langgraph.json").read_text("utf-8"))["graphs"]
    assert set(config) == {*modes(), "pluralism"}
    for name, mode in modes().items():
        assert f"| **{mode.title}** | {mode.work} | {mode.outcome} |" in readme
        optional = [part for part in ("options", "attribute") if getattr(mode.takes, part) == "optional"]
        arguments = [f"`{part}`" for part in ["question", *mode.takes.required]]
        assert f"| `{name}` | {', '.join([*arguments, *(f'optional `{part}`' for part in optional)])} |" in embedding
        assert config[name]["description"] == f"{mode.outcome[0].upper()}{mode.outcome[1:]}"
        assert config[name]["path"] == f"modular_pluralism.assistants.factories:{name}"
        assert getattr(factories, name) is not None
    help_text = CliRunner().invoke(app, ["ask", "--help"], env={"COLUMNS": "300"}).output
    assert f"[{'|'.join(modes())}|…]" in help_text


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"attribute": "thrift"}, "Overton mode takes no attribute; leave it out, or choose steerable or"),
        ({"options": ["Yes", "No"]}, "Overton mode takes no options; leave them out, or choose steerable or"),
        ({"voice": "vote"}, "The voice 'vote' is for distributional mode; leave it out"),
        ({"voice": "loud"}, "There is no voice 'loud'; use comment, vote, record."),
        ({"scoring": "LABEL"}, "There is no scoring 'LABEL'; use label, rotate, text."),
        ({"mode": "steerable"}, "needs an attribute"),
        ({"mode": "steerable", "attribute": " "}, "needs an attribute"),
        ({"mode": "steerable", "attribute": 5}, "The attribute is 5; write it as text"),
        ({"mode": "steerable", "attribute": "a", "scoring": "rotat"}, "There is no scoring 'rotat'; use label,"),
        ({"mode": "distributional"}, "at least two options"),
        ({"mode": "nothing"}, "There is no mode 'nothing'"),
        ({"question": " "}, "question is empty"),
        ({"seed": "5"}, "give a whole number"),
    ],
)
def test_a_request_is_refused_with_one_wording(given: dict[str, Any], says: str) -> None:
    whole: dict[str, Any] = {"question": "Is it so?", **given}
    with pytest.raises(InputError, match=says) as caught:
        Request(**whole)
    with pytest.raises(InputError) as again:
        RunRequest(**whole)
    assert str(again.value) == str(caught.value)
    described = modes().get(whole.pop("mode", "overton"))
    if described is None or whole["question"] == " " or "seed" in given:
        return
    settings = {key: whole.pop(key) for key in ("scoring", "voice") if key in whole}
    with pytest.raises(InputError) as run:
        described.graph(fake_pool(TWO), models=models(), **settings).compile().invoke(whole)
    assert str(run.value) == str(caught.value)


@pytest.mark.parametrize("name", ["steerable", "distributional"])
def test_a_builder_refuses_a_scoring_that_there_is_not(name: str) -> None:
    with pytest.raises(InputError, match="There is no scoring 'rotat'; use label, rotate, text"):
        find_mode(name).build(fake_pool(TWO), scoring="rotat")


def test_the_package_s_modes_are_there_before_any_other() -> None:
    code = """
from dataclasses import replace
from modular_pluralism import InputError, ModeDescription, register_mode
from modular_pluralism.modes import modes

own = ModeDescription(name="own", work="", outcome="", tool="", build=print, state=dict)
try:
    register_mode(replace(own, name="overton"))
except InputError as error:
    print(error)
print(*modes(), register_mode(own) is own, *modes())
"""
    known = "overton steerable distributional assembly"
    refused = "There is a mode 'overton' already, of modular_pluralism.graphs.overton; give yours another name."
    said = f"{refused}\n{known} True {known} own\n"
    assert python(code).stdout == said


# A mode that was added


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": None}, "A mode is called None; use small letters"),
        ({"name": "Has Space"}, "use small letters"),
        ({"name": "duel\n"}, "use small letters"),
        ({"name": "moe"}, "as something else is"),
        ({"name": "overton"}, "There is a mode 'overton' already, of modular_pluralism.graphs.overton"),
        ({"build": None}, "needs a function as its builder"),
        ({"takes": {"attribute": "required"}}, "needs a function as its builder, and a Takes"),
        ({"result": "sentence"}, "shows 'sentence'"),
    ],
)
def test_an_unusable_mode_is_refused(changes: dict[str, Any], message: str) -> None:
    before = list(modes())
    with pytest.raises(InputError, match=message):
        register_mode(replace(CHORUS, **changes))
    assert list(modes()) == before


def test_a_mode_whose_cell_was_run_again_takes_the_place_of_the_old_one(chorus: None) -> None:
    assert find_mode("chorus") is CHORUS
    again = replace(CHORUS, work="another way")
    assert register_mode(again) is again
    assert find_mode("chorus").work == "another way"


def test_a_package_whose_mode_cannot_be_loaded_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = EntryPoint("duel", "nowhere_at_all.duel", "modular_pluralism.modes")
    monkeypatch.setattr(registry, "entry_points", lambda group: [broken])
    registry._load_modes.cache_clear()
    try:
        with pytest.raises(ConfigurationError, match=r"The mode duel of .* \(nowhere_at_all.duel\) cannot be loaded"):
            modes()
    finally:
        registry._load_modes.cache_clear()


def test_the_toy_mode_is_on_the_command_line(
    chorus: None, pool_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(modular_pluralism.cli.run_graph, "open_models", lambda pool, *_: PoolModels(pool, models()))
    ask = ["ask", "Is it so?", "--mode", "chorus", "--pool", str(pool_file)]
    done = CliRunner().invoke(app, [*ask, "--attribute", "thrift", "--json"])
    told = json.loads(done.output)
    assert (told["mode"], told["answer"], told["voices"], told["attribute"]) == ("chorus", SAID, 2, "thrift")
    assert CliRunner().invoke(app, [*ask, "--quiet"]).output == f"{SAID}\n"
    store = ["--store", str(tmp_path / "runs.sqlite")]
    for call in ([*ask, "--thread", "one", *store], ["resume", "one", *store], ["runs", "show", "one", *store]):
        done = CliRunner().invoke(app, call)
        assert done.exception is None
        assert SAID in done.output
    refused = CliRunner().invoke(app, [*ask, "--option", "Yes", "--option", "No"]).exception
    assert str(refused) == ("Chorus mode takes no options; leave them out, or choose steerable or distributional mode.")
    drawn = CliRunner().invoke(app, ["graph", "--mode", "chorus", "--pool", str(pool_file)]).output
    assert "check --> north;" in drawn
    assert "join --> __end__;" in drawn


class CoinQuestion(Question, total=False):
    """It has a key that no other mode's question has."""

    options: Required[list[str]]
    bias: float | None


class CoinState(CoinQuestion, total=False):
    """It has nothing but the result."""

    distribution: list[float] | None


def build_coin(pool: Any, **more: Any) -> StateGraph[CoinState, None, CoinQuestion, CoinState]:
    graph = StateGraph(CoinState, input_schema=CoinQuestion)
    graph.add_node("toss", lambda state: {"distribution": [0.75, 0.25]})
    graph.add_edge(START, "toss")
    graph.add_edge("toss", END)
    return graph


COIN = ModeDescription(
    name="coin",
    work="a coin is tossed",
    outcome="a distribution",
    tool="Toss a coin.",
    build=build_coin,
    state=CoinState,
    takes=Takes(options="required"),
    result="distribution",
)


def test_a_mode_may_write_nothing_but_its_result(pool_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_modes", {**modes(), "coin": COIN})
    monkeypatch.setattr(modular_pluralism.cli.run_graph, "open_models", lambda pool, *_: PoolModels(pool, models()))
    ask = ["ask", "Is it so?", "--mode", "coin", "--option", "Yes", "--option", "No", "--pool", str(pool_file)]
    done = CliRunner().invoke(app, ask)
    assert done.exception is None
    assert re.search("all communities .* 75.0% .* 25.0%", done.output)
    assert CliRunner().invoke(app, [*ask, "--quiet"]).output == "0.7500  Yes\n0.2500  No\n"
    tool = pluralism_tool(fake_pool(TWO), mode="coin", models=models())
    assert tool.invoke({"question": "Is it so?", "options": ["Yes", "No"]}) == "Yes: 75.0%\nNo: 25.0%"
    assert COIN.results == ["distribution"]


def test_the_toy_mode_is_served(chorus: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(modular_pluralism.serving.catalogue, "PoolModels", lambda pool: PoolModels(pool, models()))
    limits = Limits()
    catalogue = Catalogue(fake_pool(TWO), PromptSet.load(), "rotate", limits, "vote")
    app = make_app(catalogue, keys=Keys(), limits=limits, gate=Gate(limits), log=RequestLog(out=io.StringIO()))
    asked = [{"role": "user", "content": "Attribute: thrift\n\nIs it so?"}]
    with TestClient(app, base_url="http://localhost") as client:
        assert "pluralism/chorus" in [model["id"] for model in client.get("/v1/models").json()["data"]]
        reply = client.post("/v1/chat/completions", json={"model": "pluralism/chorus", "messages": asked}).json()
    assert reply["choices"][0]["message"]["content"] == SAID
    assert reply["pluralism"]["voices"] == 2
    request = ChatRequest(model="pluralism/chorus", messages=[ChatMessage.model_validate(asked[0])])
    assert question_of(CHORUS, request, 3) == {"question": "Is it so?", "seed": 3, "attribute": "thrift"}


def test_the_toy_mode_is_a_tool(chorus: None) -> None:
    tool = pluralism_tool(fake_pool(TWO), mode="chorus", models=models())
    assert (tool.name, set(tool.args)) == ("pluralism_chorus", {"question", "attribute"})
    assert tool.description.startswith(CHORUS.tool)
    assert tool.invoke({"question": "Is it so?"}) == SAID


def is_shown(caption: str, client: Client) -> bool:
    """Whether a page shows the field of this caption."""
    element: Element
    (element,) = (each for each in client.elements.values() if getattr(each, "text", None) == caption)
    while element.visible and element.parent_slot is not None:
        element = element.parent_slot.parent
    return bool(element.visible)


def test_the_toy_mode_is_in_the_debugger(chorus: None, tmp_path: Path) -> None:
    boxes = find_mode("chorus").nodes(TWO)
    assert [(box.id, box.role, box.after) for box in boxes] == [
        ("check", "check", []),
        ("north", "comment", ["check"]),
        ("east", "comment", ["check"]),
        ("join", "join", ["north", "east"]),
    ]
    runs = LiveRuns("perspective", None, find_location(str(tmp_path / "runs.sqlite")), 1.0)
    request = RunRequest(question="Is it so?", mode="chorus", attribute="thrift")
    prompts, pool = PromptSet.load(), Pool.load("perspective")
    setup = Setup.of("chorus", "rotate", request.asked(), ("perspective", pool), (None, prompts))
    with Client(ui.page("/form"), request=None) as client:
        form = RunForm(runs, setup, lambda: None)
        assert form.request() == request
        assert GraphView(boxes, lambda node: None).nodes == ["check", *TWO, "join"]
        assert is_shown("Attribute", client)
        assert not is_shown("Options, one a line", client)
        assert not is_shown("How communities are heard", client)
    used = [each.key for each in prompts_of(setup, pool, prompts) if each.community is None]
    assert used == ["comment"]
    code = run_as_python("r", setup)
    assert "from tests.toy_mode import build_chorus" in code
    assert "scoring" not in code


async def test_the_toy_mode_is_an_assistant_and_a_part_of_the_graph_of_all_modes(chorus: None) -> None:
    assert factories.chorus.__name__ == "chorus"
    pool, prompts = fake_pool(TWO), PromptSet.load()
    fields = context_schema("chorus", pool, prompts).model_fields
    assert {"pool", "prompts", "seed", "comment_prompt"} == set(fields)
    graph = build_pluralism(pool, models=models())
    assert ("chorus/join", ["chorus/north", "chorus/east"]) in [(node.id, node.after) for node in graph_nodes(graph)]
    assert "chorus" in json.dumps(context_schema("pluralism", pool, prompts).model_json_schema()["properties"]["mode"])
    with pytest.raises(ContextError, match=r"mode is unusable: Input should be 'overton', .* or 'chorus'"):
        read_context("pluralism", {"mode": "choir"})
    with pytest.raises(InputError, match="There is no mode 'choir'"):
        build_pluralism(pool, mode="choir")
    state = graph.compile().invoke({"question": "Is it so?", "mode": "chorus", "attribute": "thrift"})
    assert (state["answer"], state["voices"]) == (SAID, 2)


async def test_the_toy_mode_is_a_model_of_inspect(
    chorus: None, pool_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inspect_model, "PoolModels", lambda pool: PoolModels(pool, models()))
    model = inspect_model.PluralismModel("chorus", pool=str(pool_file))
    output = await model.generate([ChatMessageUser(content="Is it so?")], [], "none", GenerateConfig())
    assert output.completion == SAID


def test_a_mode_may_bring_a_prompt_of_its_own(tmp_path: Path) -> None:
    @step_maker(prompts=["brief"])
    def briefly() -> Body:
        return lambda state: {"answer": "Well."}

    def build(pool: Any, *, prompts: PromptSet | None = None, models: Any = None, **more: Any) -> Any:
        built_in = prompts or PromptSet.load()
        mine = built_in.with_prompts({"brief": replace(built_in["route"], name="brief")})
        parts = Parts(pool, mine, models, "brief", {}, None, Takes())
        graph = StateGraph(ChorusState, input_schema=Question)
        parts.add_check(graph)
        parts.add(graph, "briefly", briefly())
        graph.add_edge("check", "briefly")
        graph.add_edge("briefly", END)
        return graph

    register_mode(replace(CHORUS, name="brief", build=build, takes=Takes()))
    try:
        shown = context_schema("pluralism", fake_pool(TWO), PromptSet.load()).model_fields
        assert "merge_prompt" in shown
        assert "brief_prompt" not in shown
        pool, prompts = fake_pool(TWO), PromptSet.load()
        setup = Setup.of("brief", "rotate", {"question": "Is it so?"}, ("fake", pool), (None, prompts))
        assert prompts_of(setup, pool, prompts) == []
        assert build(fake_pool(TWO), models=models()).compile().invoke({"question": "Is it so?"})["answer"] == "Well."
    finally:
        del registry._modes["brief"]


def test_the_toy_mode_s_prompts_say_where_they_are_used(chorus: None) -> None:
    assert ("chorus", "community") in uses_of("comment")
    assert "chorus" not in {use.graph for use in uses_of("merge")}
    assert "voices" in CHORUS.results
    assert "voices" in ChorusState.__annotations__
