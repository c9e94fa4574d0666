"""Somebody edits a thread's state and goes on: what is written is checked where it is used, in one sentence each."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver

from modular_pluralism import build_distributional, build_overton, build_steerable
from modular_pluralism.errors import InputError
from tests.fake_models import choosing, fake_models, fake_pool

NAMES = ("north", "east")
CONFIG: RunnableConfig = {"configurable": {"thread_id": "one"}}
ASKED: Any = {"question": "Is it so?", "seed": 3}
CHOICE: Any = {**ASKED, "options": ["Yes", "No"]}
STEERED: Any = {**ASKED, "attribute": "thrift"}
MINE: Any = {"community": "north", "text": "Edited.", "error": None}


def edited(build: Any, asked: Any, values: Any, after: str = "north", **more: Any) -> dict[str, Any]:
    """What comes out where the state is edited after a node of a run that has finished."""
    base = choosing(lambda seen: {"A": 0.6, "B": 0.2, "1": 0.12, "2": 0.08}, "The base LLM's.")
    voters: dict[str, Any] = {}
    if build is build_distributional:
        more = {"scoring": "label", **more}
        voters = {name: choosing(lambda seen: {"A": 0.2, "B": 0.6}, f"The view of {name}.") for name in NAMES}
    models = fake_models(base, NAMES, **voters)
    graph = build(fake_pool(NAMES), models=models, **more).compile(checkpointer=InMemorySaver())
    graph.invoke(asked, CONFIG)
    graph.update_state(CONFIG, values, as_node=after)
    return {**graph.invoke(None, CONFIG), "prompts": base.prompts}


def test_an_edited_comment_is_merged() -> None:
    result = edited(build_overton, ASKED, {"comments": {"north": MINE}})
    assert "Edited." in result["prompts"][-1]
    with pytest.raises(InputError) as caught:
        edited(build_overton, ASKED, {"comments": {"north": {**MINE, "community": "east"}}})
    assert str(caught.value) == (
        "The comment of north in the state is none; write it with the `community` 'north', a `text`, and an `error` "
        "that is None or a reason, or ask anew."
    )


@pytest.mark.parametrize(
    "comment",
    [None, "a text", {}, {"text": "Edited.", "error": None}, {**MINE, "text": None}, {**MINE, "error": 3}],
)
@pytest.mark.parametrize(
    ("build", "asked"), [(build_overton, ASKED), (build_steerable, STEERED), (build_distributional, CHOICE)]
)
def test_a_comment_with_wrong_fields_is_refused(build: Any, asked: Any, comment: Any) -> None:
    with pytest.raises(InputError, match="The comment of north in the state is none; write it with"):
        edited(build, asked, {"comments": {"north": comment}})


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"question": None}, "The question is empty; write"),
        ({"question": 3}, "The question is 3; write it as text"),
        ({"history": [3]}, "Turn 1 of the history is none; give"),
        ({"attribute": 3}, "The attribute is 3; write it as text"),
        ({"tools": 3}, "The tools are not a list; give"),
        ({"tool_messages": [{"role": "tool"}]}, "Message 1 after the question is neither"),
        ({"comments": 3}, "What belongs to the communities is 3; write a dict by their names"),
    ],
)
def test_an_edited_question_is_checked_where_it_is_used(values: Any, says: str) -> None:
    with pytest.raises(InputError, match=says):
        edited(build_steerable, STEERED, values)


def test_an_edited_comment_cannot_keep_its_old_reading() -> None:
    with pytest.raises(InputError) as caught:
        edited(build_distributional, CHOICE, {"comments": {"north": MINE}})
    assert str(caught.value) == (
        "The distribution of north was read from another comment or question than the state has now; ask anew, of a "
        "graph built with comments={'north': ...} where you have edited the comment, or write the distribution, too."
    )
    own = {
        "probabilities": [0.0, 1.0],
        "mass": None,
        "scoring": "label",
        "samples": None,
        "unread": [],
        "label": None,
        "label_mass": None,
    }
    result = edited(build_distributional, CHOICE, {"comments": {"north": MINE}, "distributions": {"north": own}})
    assert result["distribution"] == pytest.approx([0.375, 0.625])
    known = edited(build_distributional, CHOICE, {}, comments={"north": "Edited."})
    assert known["distribution"] == pytest.approx([0.75, 0.25]), "as the error says"


@pytest.mark.parametrize("voice", ["comment", "vote", "comment,vote"])
@pytest.mark.parametrize("values", [{"options": ["No", "Yes"]}, {"question": "Is it not so?"}, {"attribute": "thrift"}])
def test_another_question_does_not_go_with_the_distributions(voice: Any, values: Any) -> None:
    with pytest.raises(InputError, match="was read from another comment or question than the state has now"):
        edited(build_distributional, CHOICE, values, voice=voice)


def test_distributions_fit_the_options() -> None:
    for wrong in (None, {}, {"probabilities": [1.0]}, {"probabilities": [0.5, 0.6]}, {"probabilities": ["a", "b"]}):
        with pytest.raises(InputError, match="The distribution of north in the state is none over the question's 2"):
            edited(build_distributional, CHOICE, {"distributions": {"north": wrong}})
    with pytest.raises(InputError, match="at least two options, not 0"):
        edited(build_distributional, CHOICE, {"options": None})


def test_two_voices_are_not_united_twice() -> None:
    plain = edited(build_distributional, CHOICE, {"seed": 3}, voice="comment,vote")
    east: dict[str, Any] = {"voice": "comment,vote", "pooling": lambda distributions, weights: distributions["east"]}
    own = edited(build_distributional, CHOICE, {"seed": 4}, **east)
    assert plain["distributions"] == own["distributions"]
    assert plain["readings"] == own["readings"]
    assert plain["distribution"] == own["distribution"] == pytest.approx([0.5, 0.5])
    assert set(plain["readings"]["north"]["read_from"]) < set("0123456789abcdef")


@pytest.mark.parametrize("selected", ["north", {"community": "west"}, {"community": None}, {}])
def test_who_is_selected_has_commented(selected: Any) -> None:
    with pytest.raises(InputError, match=r"The state's `selected` names .*, of whom there is no comment"):
        edited(build_steerable, STEERED, {"selected": selected}, after="select")
    with pytest.raises(InputError, match="The state's `selected` names"):
        edited(build_steerable, STEERED, {"selected": selected}, after="select", respond=lambda heard: "Mine.")


def test_somebody_is_selected() -> None:
    with pytest.raises(InputError, match="No community is selected to answer with"):
        edited(build_steerable, STEERED, {"selected": None}, after="select")
    other = edited(build_steerable, STEERED, {"selected": {"community": "east"}}, after="select")
    assert "The view of east." in other["prompts"][-1]
