"""The graph of all modes."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from langchain_core.language_models.chat_models import BaseChatModel
from langgraph.checkpoint.memory import InMemorySaver

from modular_pluralism.checked import shown
from modular_pluralism.errors import InputError, QuorumError
from modular_pluralism.graphs import (
    build_assembly,
    build_distributional,
    build_overton,
    build_pluralism,
    build_steerable,
)
from modular_pluralism.graphs.state import Question
from tests.fake_models import NAMES, FakeChat, Seen, always, choosing, fake_models, fake_pool, label_of
from tests.test_overton import without_seconds

OPTIONS = ["Yes", "No"]
QUESTION: Question = {"question": "Should everybody vote?", "seed": 3}
MODES: dict[str, dict[str, Any]] = {
    "overton": {},
    "steerable": {"attribute": "thrift"},
    "distributional": {"options": OPTIONS},
    "assembly": {},
}


def prefers(seen: Seen) -> dict[str, float]:
    return {label_of("No", seen.prompt): 0.75, label_of("Yes", seen.prompt): 0.25} if "A. " in seen.prompt else {"2": 1}


def boss() -> BaseChatModel:
    return choosing(prefers, "An answer.")


def judges() -> dict[str, Any]:
    """Communities that say their view, and prefer what stands first: an assembly asks them for that."""
    return {name: choosing(lambda seen: {"A": 0.75, "B": 0.25}, f"The view of {name}.") for name in NAMES}


def built(**others: Any) -> Any:
    return build_pluralism(fake_pool(), models=fake_models(boss(), **{**judges(), **others}))


@pytest.mark.parametrize("mode", MODES)
def test_each_mode_gives_what_its_own_graph_gives(mode: str) -> None:
    builders: dict[str, Any] = {
        "overton": build_overton,
        "steerable": build_steerable,
        "distributional": build_distributional,
        "assembly": build_assembly,
    }
    alone = (
        builders[mode](fake_pool(), models=fake_models(boss(), **judges()))
        .compile()
        .invoke({**QUESTION, **MODES[mode]})
    )
    graph = built().compile()
    asked = {**QUESTION, **MODES[mode], "mode": mode}
    result = graph.invoke(asked)
    assert without_seconds(result) == {"distributions": {}, **without_seconds(alone)}
    assert without_seconds(asyncio.run(graph.ainvoke(asked))) == without_seconds(result)


def test_the_picture_shows_the_modes_and_within_them_the_pool() -> None:
    graph = built().compile()
    assert set(graph.get_graph().nodes) == {"__start__", "check", *MODES, "__end__"}
    edges = {(edge.source, edge.target) for edge in graph.get_graph().edges}
    assert edges == {("__start__", "check")} | {("check", mode) for mode in MODES} | {(m, "__end__") for m in MODES}
    inside = set(graph.get_graph(xray=2).nodes)
    assert {f"{mode}:{name}" for mode in ("overton", "steerable") for name in NAMES} <= inside


@pytest.mark.parametrize("mode", MODES)
def test_tokens_are_streamed_under_the_community_s_name(mode: str) -> None:
    asked = {**QUESTION, **MODES[mode], "mode": mode}
    said: dict[str, str] = {}
    for namespace, (message, metadata) in built().compile().stream(asked, stream_mode="messages", subgraphs=True):
        assert namespace[0].startswith(f"{mode}:")
        name = metadata["langgraph_node"]
        said[name] = said.get(name, "") + message.text
    written = {"overton": {"merge": "An answer."}, "steerable": {"respond": "An answer."}}
    answer = written.get(mode, {})
    assert said == {name: f"The view of {name}." for name in NAMES} | answer


@pytest.mark.parametrize("mode", [None, "", "Overton", "vanilla", 3, ["overton"]])
def test_an_unknown_mode_is_refused_before_any_model_is_asked(mode: Any) -> None:
    model = always("x")
    graph = build_pluralism(fake_pool(), models=fake_models(model)).compile()
    asked: Any = {**QUESTION, "mode": mode}
    with pytest.raises(InputError) as caught:
        graph.invoke(asked)
    said = (
        f"There is no mode {shown(mode)}; use"
        if isinstance(mode, str)
        else f"The mode is {shown(mode)}; give its name:"
    )
    assert str(caught.value) == f"{said} overton, steerable, distributional, assembly."
    with pytest.raises(InputError, match="The mode is None; give its name: overton"):
        graph.invoke(QUESTION)  # type: ignore[arg-type]
    assert model.seen == []


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"mode": "steerable"}, "needs an attribute"),
        ({"mode": "distributional"}, "at least two options"),
        ({"mode": "overton", "question": " "}, "question is empty"),
    ],
)
def test_each_mode_checks_what_it_needs(asked: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        built().compile().invoke({**QUESTION, **asked})


def test_one_mode_after_another_on_a_thread_leaves_nothing_of_the_one_before() -> None:
    graph = built().compile(checkpointer=InMemorySaver())
    config: Any = {"configurable": {"thread_id": "1"}}
    results = {
        "distributional": {"distribution", "distributions", "weights", "disagreement", "label_mass"},
        "overton": {"answer", "usage"},
        "steerable": {"answer", "usage", "selected"},
        "assembly": {"answer", "usage", "candidates", "ballots", "tally", "uncertainty"},
    }
    of_any = set().union(*results.values()) | {"choice"}
    for mode in ("distributional", "overton", "assembly", "steerable", "distributional", "overton"):
        result = graph.invoke({**QUESTION, **MODES[mode], "mode": mode}, config)
        assert json.loads(json.dumps(result)) == result
        left = {key for key in of_any if result.get(key) not in (None, {})}
        assert left == results[mode], mode
        assert result["missing"] == []


def test_a_failing_run_shows_no_result_of_the_one_before() -> None:
    def say(seen: Seen) -> str | Exception:
        return RuntimeError("ill") if "Second?" in seen.prompt else "A view."

    graph = built(**{name: FakeChat(say=say) for name in NAMES}).compile(checkpointer=InMemorySaver())
    config: Any = {"configurable": {"thread_id": "1"}}
    graph.invoke({**QUESTION, "mode": "distributional", "options": OPTIONS}, config)
    with pytest.raises(QuorumError):
        graph.invoke({"question": "Second?", "mode": "overton"}, config)
    values = graph.get_state(config).values
    assert values["distribution"] is values["weights"] is None
    assert values["comments"] == values["distributions"] == {}


def test_a_failing_community_is_missing_in_every_mode() -> None:
    graph = built(east=always("")).compile()
    for mode, needs in MODES.items():
        result = graph.invoke({**QUESTION, **needs, "mode": mode})
        assert result["missing"] == ["east"]
        assert result["comments"]["east"]["error"] == "model 'east' gave an empty reply."
