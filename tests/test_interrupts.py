"""Communities that stop the run to ask a person: LangGraph's interrupts pass through a community's model call."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command, interrupt

from modular_pluralism import find_mode
from tests.fake_models import FakeChat, Seen, choosing, fake_models, fake_pool

NAMES = ("north", "east", "south")
QUESTIONS: dict[str, dict[str, Any]] = {
    "overton": {"question": "Is it so?"},
    "steerable": {"question": "Is it so?", "attribute": "the north"},
    "distributional": {"question": "Is it so?", "options": ["Yes", "No"]},
}
CONFIG: RunnableConfig = {"configurable": {"thread_id": "one"}}


def asking(name: str) -> FakeChat:
    """A community's model that lets a person write its comment."""

    def say(seen: Seen) -> str:
        said: str = interrupt({"community": name})
        return said

    return FakeChat(say=say)


@pytest.mark.parametrize("mode", QUESTIONS)
@pytest.mark.parametrize("is_async", [False, True])
async def test_communities_ask_people_and_the_run_goes_on(mode: str, is_async: bool) -> None:
    base = choosing(lambda seen: {"A": 0.5, "1": 0.3, "B": 0.2})
    models = fake_models(base, NAMES, east=asking("east"), south=asking("south"))
    graph = find_mode(mode).graph(fake_pool(NAMES), models=models, seed=1).compile(checkpointer=InMemorySaver())

    async def run(given: Any) -> dict[str, Any]:
        if is_async:
            return dict(await graph.ainvoke(given, CONFIG))
        return dict(graph.invoke(given, CONFIG))

    waiting = await run(QUESTIONS[mode])
    asked = {each.value["community"]: each.id for each in waiting["__interrupt__"]}
    assert set(asked) == {"east", "south"}, "both at once"
    assert base.seen == [] or mode == "distributional"  # where each comment is read as soon as it is there
    state = await run(Command(resume={id: f"The people of the {name} say so." for name, id in asked.items()}))
    assert "__interrupt__" not in state
    said = {name: comment["text"] for name, comment in state["comments"].items()}
    assert said == {
        "north": "The view of north.",
        "east": "The people of the east say so.",
        "south": "The people of the south say so.",
    }
    assert not state.get("missing")
    assert len(models["north"].seen) == 1  # type: ignore[attr-defined]


def test_an_interrupt_is_not_tried_again_and_no_failure() -> None:
    model = asking("east")
    pool = fake_pool(NAMES, attempts=3)
    graph = find_mode("overton").graph(pool, models=fake_models(choosing(lambda seen: {"A": 1.0}), NAMES, east=model))
    state = graph.compile(checkpointer=InMemorySaver()).invoke(QUESTIONS["overton"], CONFIG)
    assert [each.value for each in state["__interrupt__"]] == [{"community": "east"}]
    assert len(model.seen) == 1
