"""An assembly that waits for people: what they submit is data, and only the tally is counted anew."""

from __future__ import annotations

import json
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command

from modular_pluralism import NodeCache, build_assembly, estimate, pluralism_tool
from modular_pluralism.errors import InputError
from modular_pluralism.modes import find_mode
from modular_pluralism.nodes.request import check_parts
from modular_pluralism.societal.account import chosen_in_words
from tests.fake_models import fake_pool
from tests.test_assembly import ASKED, SCORES, TEXTS, TWO, member, writer
from tests.test_assembly_contract import SURE, contract

CONFIG: Any = {"configurable": {"thread_id": "1"}}


class Hearing:
    """A run that waits, and how many calls it has made."""

    def __init__(self, asked: Any = None, **compiled: Any) -> None:
        self.models: Any = {"boss": writer(), **{name: member(name, SCORES[name]) for name in TWO}}
        graph = build_assembly(fake_pool(TWO), models=self.models, hearing=True)
        self.graph: Any = graph.compile(checkpointer=InMemorySaver(), **compiled)
        whole: Any = {**ASKED, **(asked or {})}
        self.told: Any = self.graph.invoke(whole, CONFIG)["__interrupt__"][0].value

    @property
    def calls(self) -> int:
        return sum(len(model.seen) for model in self.models.values())

    def submit(self, *submissions: Any, version: str | None = None) -> Any:
        given = {"version": version or self.told["version"], "submissions": list(submissions)}
        return self.graph.invoke(Command(resume=given), CONFIG)


@pytest.mark.parametrize("compiled", [{}, {"cache": NodeCache()}])
def test_a_person_is_one_more_row_and_no_model_is_asked(compiled: Any) -> None:
    hearing = Hearing(**compiled)
    assert (hearing.told["answer"], hearing.told["candidate"]) == (TEXTS["merge"], "merge")
    assert json.loads(json.dumps(hearing.told)) == hearing.told
    before = hearing.calls
    assert before == 2 + 4 + 2 * 4
    ballots = [
        {"kind": "ballot", "who": "Ana", "candidate": name, "score": score, "when": "2026-11-01T12:00:00+00:00"}
        for name, score in {"base": 0.1, "merge": 0.0001, "north": 0.1, "east": 1.0}.items()
    ]
    state = hearing.submit(*ballots)
    assert hearing.calls == before
    assert state["tally"]["members"] == [*TWO, "Ana"]
    assert state["tally"]["weights"] == pytest.approx([0.5, 0.5, 0.5])
    assert state["candidate"] == "east", "0.05 x 0.35 x 1 is the most"
    assert state["ballots"]["Ana"][0]["kind"] == "person"
    assert state["ballots"]["Ana"][0]["when"] == "2026-11-01T12:00:00+00:00"
    assert len(state["submissions"]) == 4
    assert "__interrupt__" not in state


def test_a_weight_changes_the_tally_alone() -> None:
    hearing = Hearing({"choose": "utilitarian"})
    before = hearing.calls
    state = hearing.submit({"kind": "weigh", "who": "Ana", "member": "east", "weight": 0.0})
    assert hearing.calls == before
    assert state["candidate"] == "north"
    assert dict(zip(state["tally"]["members"], state["tally"]["weights"], strict=True)) == {"north": 0.5, "east": 0.0}


def test_what_is_contested_and_accepted_is_in_the_minutes() -> None:
    rule = {"strength": "must", "verify": {"words": {"max": 9}}}
    hearing = Hearing({"contract": contract(few=rule)})
    state = hearing.submit(
        {"kind": "contest", "who": "Ben", "rule": "few", "reason": "Too few."},
        {"kind": "contest", "who": "Ben", "comment": "north", "reason": "Not so."},
        {"kind": "accept", "who": "Ana"},
    )
    assert state["candidate"] == "merge"
    said = chosen_in_words(state)
    assert "Ben contests the rule few: Too few." in said
    assert "Ben contests the comment of north: Not so." in said
    assert "Ana accepts the answer." in said


BALLOT: dict[str, Any] = {"kind": "ballot", "who": "Ana", "candidate": "base", "score": 0.5}


@pytest.mark.parametrize(
    ("submissions", "says"),
    [
        ([{**BALLOT, "candidate": "west"}], "Ana names the candidate 'west', which is not there"),
        ([{**BALLOT, "score": 1.5}], "less than or equal to 1"),
        ([{**BALLOT, "score": "0.5"}], "valid number"),
        ([{**BALLOT, "who": "north"}], "A person submits as north"),
        ([{**BALLOT, "who": "verify"}], "A person submits as verify"),
        ([{**BALLOT, "who": " "}], "on one line that can be read"),
        ([{**BALLOT, "who": "A\x1b[2Ja"}], "on one line that can be read"),
        ([{**BALLOT, "when": "noon"}], "must be a time"),
        ([{**BALLOT, "admin": True}], "not permitted"),
        ([BALLOT, BALLOT], "Ana has submitted a ballot about the same thing twice"),
        ([{"kind": "weigh", "who": "Ana", "member": "east", "weight": -1}], "greater than or equal to 0"),
        ([{"kind": "weigh", "who": "Ana", "member": "west", "weight": 1}], "Ana names the member 'west'"),
        ([{"kind": "contest", "who": "Ana", "reason": "No."}], "Ana contests no rule and no comment"),
        ([{"kind": "contest", "who": "Ana", "rule": "few", "reason": "No."}], "there are none"),
        ([{"kind": "veto", "who": "Ana"}], "does not match any of the expected tags"),
        ("accept", "valid list"),
    ],
)
def test_what_is_no_submission_is_told_and_the_run_goes_on_waiting(submissions: Any, says: str) -> None:
    hearing = Hearing()
    given = {"version": hearing.told["version"], "submissions": submissions}
    waiting = hearing.graph.invoke(Command(resume=given), CONFIG)
    error = waiting["__interrupt__"][0].value["error"]
    assert says.replace("'", '"') in error.replace("'", '"')
    assert "\n" not in error
    assert waiting["__interrupt__"][0].value["version"] == hearing.told["version"]
    assert hearing.submit({"kind": "accept", "who": "Ana"})["submissions"] == [
        {"who": "Ana", "when": None, "kind": "accept"}
    ]


def test_submissions_for_a_version_that_is_gone_are_refused() -> None:
    hearing = Hearing()
    waiting = hearing.submit({"kind": "accept", "who": "Ana"}, version="0123")
    assert "are for the version" in waiting["__interrupt__"][0].value["error"]
    plain = hearing.graph.invoke(Command(resume="yes"), CONFIG)
    assert "answered with its version" in plain["__interrupt__"][0].value["error"]


async def test_people_are_heard_in_asyncio_and_after_repairs() -> None:
    hearing = Hearing()
    graph = build_assembly(fake_pool(TWO), models=hearing.models).compile(checkpointer=InMemorySaver())
    asked: Any = {**ASKED, "hearing": True, "contract": contract(sure=SURE), "rounds": 0}
    told = (await graph.ainvoke(asked, CONFIG))["__interrupt__"][0].value
    given: Any = {"version": told["version"], "submissions": [{"kind": "accept", "who": "Ana"}]}
    state: Any = await graph.ainvoke(Command(resume=given), CONFIG)
    assert state["submissions"][0]["who"] == "Ana"
    assert (await graph.ainvoke(ASKED, CONFIG))["submissions"] is None, "the next question is another one"


def test_a_tool_says_that_it_waits_and_a_cost_is_told_without_a_hearing() -> None:
    hearing = Hearing()
    tool = pluralism_tool(fake_pool(TWO), mode="assembly", models=hearing.models, hearing=True)
    tool.handle_tool_error = True
    assert "waits for a person" in tool.invoke(ASKED) or "checkpointer" in tool.invoke(ASKED)
    assert estimate("Is it so?", fake_pool(TWO), mode="assembly", models=hearing.models, hearing=True)["total"]["calls"]


@pytest.mark.parametrize(("mode", "hearing"), [("assembly", "yes"), ("overton", True)])
def test_a_hearing_that_is_none_is_refused(mode: str, hearing: Any) -> None:
    with pytest.raises(InputError, match="The hearing is"):
        check_parts({"question": "Is it so?", "hearing": hearing}, mode, find_mode(mode).takes)
