"""The graphs' node cache: what is run again after a change, and what is not."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from langchain_core.language_models.chat_models import BaseChatModel
from langgraph.graph import StateGraph
from pydantic import BaseModel, field_validator

from modular_pluralism.graphs import (
    NodeCache,
    build_distributional,
    build_moe,
    build_overton,
    build_pluralism,
    build_steerable,
    build_vanilla,
)
from modular_pluralism.graphs.node_key import NodeKey
from modular_pluralism.nodes.step import MOST_AHEAD
from modular_pluralism.pool import Pool
from modular_pluralism.prompts import Prompt, PromptSet
from tests.fake_models import FakeChat, always, choosing, fake_models, fake_pool, scripted

NAMES = ("north", "east", "south")
QUESTION: dict[str, Any] = {"question": "Is it so?", "options": ["Yes", "No"], "attribute": "thrift", "seed": 3}
OVERTON: Any = {"question": "Is it so?", "seed": 3}
Build = Callable[..., StateGraph[Any, Any, Any, Any]]


class Lab:
    """One cache, and models that count their calls."""

    def __init__(self, **others: BaseChatModel) -> None:
        self.pool = fake_pool(NAMES)
        self.prompts = PromptSet.load()
        self.models = fake_models(choosing(lambda seen: {"A": 0.6, "B": 0.2, "1": 0.12, "2": 0.08}), NAMES, **others)
        self.cache = NodeCache()

    def run(self, build: Build, question: dict[str, Any], pool: Pool | None = None, **more: Any) -> set[str]:
        """Who was asked."""
        counts = {name: self.count(name) for name in self.models}
        given = {"models": self.models, "prompts": self.prompts, **more}
        self.state = build(pool or self.pool, **given).compile(cache=self.cache).invoke(question)
        return {name for name in self.models if self.count(name) > counts[name]}

    def with_prompt(self, name: str) -> PromptSet:
        """The prompts with one that is another text."""
        return self.prompts.with_texts({name: f"{self.prompts[name].text}\nThink first."})

    def with_communities(self, **changes: dict[str, Any]) -> Pool:
        """The pool with other settings of some communities."""
        communities = {
            name: config.model_copy(update=changes.get(name, {})) for name, config in self.pool.communities.items()
        }
        return self.pool.model_copy(update={"communities": communities})

    def count(self, name: str) -> int:
        model = self.models[name]
        assert isinstance(model, FakeChat)
        return len(model.seen)


@pytest.mark.parametrize(
    ("build", "question"),
    [
        (build_overton, OVERTON),
        (build_steerable, QUESTION),
        (build_distributional, QUESTION),
        (build_vanilla, QUESTION),
        (build_moe, OVERTON),
        (build_pluralism, {**QUESTION, "mode": "distributional"}),
    ],
)
def test_nothing_is_asked_twice_and_the_result_is_the_same(build: Build, question: dict[str, Any]) -> None:
    lab = Lab()
    assert "boss" in lab.run(build, question)
    first = lab.state
    assert lab.run(build, question) == set()
    assert lab.state == first


def test_without_a_cache_everything_is_asked_again() -> None:
    lab = Lab()
    graph = build_overton(lab.pool, models=lab.models).compile()
    graph.invoke(OVERTON)
    graph.invoke(OVERTON)
    assert lab.count("north") == 2
    assert len(lab.cache) == 0


def test_a_changed_merge_prompt_leaves_the_comments() -> None:
    lab = Lab()
    lab.run(build_overton, OVERTON)
    assert lab.run(build_overton, OVERTON, prompts=lab.with_prompt("merge")) == {"boss"}
    assert lab.run(build_overton, OVERTON, prompts=lab.with_prompt("select")) == set()
    assert lab.run(build_overton, OVERTON, prompts=lab.with_prompt("comment")) == set(NAMES)  # who say the same


def test_a_changed_prior_touches_the_aggregate_only() -> None:
    lab = Lab()
    lab.run(build_distributional, QUESTION)
    before = lab.state["weights"]
    assert lab.run(build_distributional, QUESTION, lab.with_communities(north={"prior": 7.0})) == set()
    assert lab.state["weights"] != before


def test_a_changed_persona_touches_one_community_and_what_follows() -> None:
    lab = Lab(north=FakeChat(say=scripted("One view.", "Another view.")))
    lab.run(build_overton, OVERTON)
    changed = lab.with_communities(north={"persona": "asia.md"})
    assert lab.run(build_overton, OVERTON, changed) == {"north", "boss"}


def test_a_changed_scoring_prompt_or_way_leaves_the_comments() -> None:
    lab = Lab()
    lab.run(build_distributional, {**QUESTION, "attribute": None})
    plain = {**QUESTION, "attribute": None}
    assert lab.run(build_distributional, plain, prompts=lab.with_prompt("score")) == {"boss"}
    assert lab.run(build_distributional, plain, prompts=lab.with_prompt("score_group")) == set()
    assert lab.run(build_distributional, plain, scoring="label") == {"boss"}


def test_the_attribute_is_nothing_to_a_community_and_the_seed_and_the_options_are() -> None:
    lab = Lab()
    lab.run(build_steerable, QUESTION)
    assert lab.run(build_steerable, {**QUESTION, "attribute": "courage"}) == {"boss"}
    assert lab.run(build_steerable, {**QUESTION, "seed": 4}) >= set(NAMES)
    assert lab.run(build_steerable, {**QUESTION, "options": ["Yes", "No", "Both"]}) >= set(NAMES)


def test_settings_of_the_pool_that_a_node_uses_count() -> None:
    lab = Lab()
    lab.run(build_overton, OVERTON)
    shorter = lab.pool.model_copy(update={"run": lab.pool.run.model_copy(update={"answer_tokens": 9})})
    assert lab.run(build_overton, OVERTON, shorter) == {"boss"}
    patient = lab.pool.model_copy(update={"run": lab.pool.run.model_copy(update={"deadline": 21.0})})
    assert lab.run(build_overton, OVERTON, patient) == set()


def test_another_model_is_asked() -> None:
    lab = Lab()
    lab.run(build_overton, OVERTON)
    lab.models["north"] = always("Quite another view.")
    assert lab.run(build_overton, OVERTON) == {"north", "boss"}


def test_a_pool_with_one_community_less_takes_over_the_rest() -> None:
    lab = Lab()
    lab.run(build_overton, OVERTON)
    communities = {name: config for name, config in lab.pool.communities.items() if name != "east"}
    fewer = lab.pool.model_copy(update={"communities": communities})
    assert lab.run(build_overton, OVERTON, fewer) == {"boss"}
    assert set(lab.state["comments"]) == {"north", "south"}


@pytest.mark.parametrize("build", [build_overton, build_distributional])
def test_a_community_that_failed_is_asked_again(build: Build) -> None:
    lab = Lab(east=FakeChat(say=scripted(ValueError("no"), "Here I am.")))
    question = QUESTION if build is build_distributional else OVERTON
    lab.run(build, question)
    assert lab.state["missing"] == ["east"]
    assert lab.run(build, question) == {"east", "boss"}
    assert lab.state["missing"] == []


@pytest.mark.parametrize("build", [build_overton, build_steerable, build_distributional])
def test_a_comment_that_is_given_is_not_asked_for(build: Build) -> None:
    lab = Lab()
    question = OVERTON if build is build_overton else QUESTION
    lab.run(build, question)
    assert lab.run(build, question, comments={"east": "Mine."}) == {"boss"}
    assert lab.state["comments"]["east"]["text"] == "Mine."


def test_the_cache_forgets_what_was_used_longest_ago() -> None:
    cache = NodeCache(most=2)
    for name in "abc":
        cache.set({(("writes",), name): ([("answer", name)], None)})
        cache.get([(("writes",), "a")])
    assert set(cache.get([(("writes",), name) for name in "abc"])) == {(("writes",), "a"), (("writes",), "c")}
    cache.clear([("writes",)])
    assert len(cache) == 0


def test_what_is_cached_cannot_be_changed_from_outside() -> None:
    cache, key = NodeCache(), (("writes",), "a")
    writes = [("comments", {"north": {"error": None, "text": "one"}})]
    cache.set({key: (writes, None)})
    writes[0][1]["north"]["text"] = "two"
    found = cache.get([key])[key]
    assert found[0][1]["north"]["text"] == "one"
    found[0][1]["north"]["text"] = "three"
    assert cache.get([key])[key][0][1]["north"]["text"] == "one"


def test_a_model_has_one_name_for_nodes_that_run_side_by_side() -> None:
    names = [f"north_{number}" for number in range(16)]
    for _ in range(20):
        shared = always("Said.")
        graph = build_overton(fake_pool(names), models=dict.fromkeys(["boss", *names], shared))
        compiled = graph.compile(cache=NodeCache())
        compiled.invoke(OVERTON)
        assert len(shared.seen) == 17
        compiled.invoke(OVERTON)
        assert len(shared.seen) == 17


@pytest.mark.parametrize("build", [build_overton, build_distributional])
def test_no_keys_are_made_where_there_is_no_cache(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Any] = []

    def key(self: NodeKey, state: Any) -> str:
        made.append(state)
        return "key"

    monkeypatch.setattr(NodeKey, "__call__", key)
    lab = Lab()
    question = OVERTON if build is build_overton else QUESTION
    graph = build(lab.pool, models=lab.models)
    graph.compile().invoke(question)
    assert made == []
    graph.compile(cache=lab.cache).invoke(question)
    assert made, "the same graph can still have one"


def test_another_class_of_the_same_schema_is_another_answer() -> None:
    class Verdict(BaseModel):
        text: str

    def other() -> type[BaseModel]:
        class Verdict(BaseModel):
            text: str

            @field_validator("text")
            @classmethod
            def _short(cls, text: str) -> str:
                return text[:3]

        return Verdict

    lab = Lab()
    lab.models["boss"] = always('{"text": "maybe"}')
    assert lab.run(build_overton, OVERTON, answer_schema=Verdict) == {*NAMES, "boss"}
    assert lab.run(build_overton, OVERTON, answer_schema=Verdict) == set()
    assert lab.run(build_overton, OVERTON, answer_schema=other()) == {"boss"}
    assert lab.state["structured"] == {"text": "may"}


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_prompt_is_filled_in_once_for_the_key_and_the_run(
    asynchronous: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled: list[str] = []
    render = Prompt.render

    def noted(self: Prompt, /, **values: Any) -> Any:
        filled.append(self.name)
        return render(self, **values)

    monkeypatch.setattr(Prompt, "render", noted)
    lab = Lab()
    graph = build_overton(lab.pool, models=lab.models).compile(cache=lab.cache)
    for _ in range(2):  # the second time, for the keys alone
        asyncio.run(graph.ainvoke(OVERTON)) if asynchronous else graph.invoke(OVERTON)
        assert sorted(filled) == ["comment"] * 3 + ["merge"]
        filled.clear()


def test_what_was_begun_for_keys_is_not_kept_for_ever() -> None:
    lab = Lab()
    graph = build_overton(lab.pool, models=lab.models)
    compiled = graph.compile(cache=lab.cache)
    for _ in range(2 * MOST_AHEAD):
        compiled.invoke(OVERTON)
    policy: Any = graph.nodes["merge"].cache_policy
    assert 0 < len(policy.key_func.step.ahead) <= MOST_AHEAD
