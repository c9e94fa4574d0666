"""Steps: what the cache key of a node has of them, and what they cannot use after their first call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langgraph.graph import END, START, StateGraph

from modular_pluralism.graphs import NodeCache
from modular_pluralism.graphs.parts import Parts
from modular_pluralism.graphs.state import BaselineState
from modular_pluralism.models.pool_models import PoolModels
from modular_pluralism.nodes import ask
from modular_pluralism.nodes.noted import NotNotedError
from modular_pluralism.nodes.step import Body, QuestionParts, State, Step, Steps, step_maker
from modular_pluralism.prompts import PromptSet
from tests.fake_models import FakeChat, always, fake_models, fake_pool

TWO = ("north", "east")
STATE: dict[str, Any] = {
    "question": "Is it so?",
    "seed": 3,
    "options": ["Yes", "No"],
    "comments": {"north": {"text": "Mine.", "error": None}, "east": {"text": "Ours.", "error": None}},
    "usage": {"prompt_tokens": 1},
}


def added(suffix: str) -> Step:
    """A step that has a value from around its maker."""

    @step_maker()
    def adds() -> Body:
        return lambda state: {"answer": suffix}

    return adds()


def test_what_a_maker_has_from_around_it_and_its_code_are_in_the_key() -> None:
    def edited() -> Step:
        @step_maker()
        def adds() -> Body:
            return lambda state: {"answer": "a" + "b" * len(state)}

        return adds()

    assert added("a").making == added("a").making
    assert added("a").making != added("b").making
    assert added("a").making[0][2] != edited().making[0][2]
    with pytest.raises(TypeError, match=r"what .*adds takes from around it is no plain value"):
        added(object())  # type: ignore[arg-type]


def late(path: tuple[str, ...], early: bool = False) -> Callable[[State], Steps]:
    """A body that reads something of the state after its first call, and, if it is `early`, before it, too."""

    def value(state: Any) -> Any:
        for key in path:
            state = state[key]
        return state

    def body(state: State) -> Steps:
        model = MODELS.base()
        if early:
            value(state)
        yield ask.text(model, PROMPTS["route"].render(question="Q?", experts="1. a"))
        return {"answer": str(value(state))}

    return body


BOSS = always("Well.")
POOL = fake_pool(TWO)
PROMPTS = PromptSet.load()
MODELS = PoolModels(POOL, fake_models(BOSS, TWO))


@step_maker()
def reads(*, path: tuple[str, ...], early: bool = True) -> Body:
    return late(path, early)


@step_maker(prompts=["merge"])
def says(models: PoolModels, prompts: PromptSet, *, after: str = "", prompt: str = "merge", second: str = "") -> Body:
    def step(state: State) -> Steps:
        messages = prompts[prompt].render(question=state["question"], comments="1. a")
        outcome = yield ask.text(models.base(), messages)
        if second:
            yield ask.text(models.community(second), messages)
        return {"answer": f"{outcome.value.text}{after}"}

    return step


def graph_of(step: Step) -> StateGraph[Any, Any, Any, Any]:
    parts = Parts(POOL, PROMPTS, MODELS, "test")
    graph = StateGraph(BaselineState)
    parts.add(graph, "node", step)
    graph.add_edge(START, "node")
    graph.add_edge("node", END)
    return graph


def key(step: Step, state: dict[str, Any]) -> str:
    policy: Any = graph_of(step).nodes["node"].cache_policy
    return str(policy.key_func(state))


def changed(value: Any, path: tuple[str, ...], new: Any) -> Any:
    return new if not path else {**value, path[0]: changed(value[path[0]], path[1:], new)}


PATHS = [
    ("seed",),
    ("options",),
    ("comments", "north", "text"),
    ("comments", "east", "error"),
    ("usage", "prompt_tokens"),
]


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(PATHS), st.sampled_from(PATHS), st.text() | st.integers())
def test_a_key_has_what_the_step_reads_and_nothing_else(
    read: tuple[str, ...], other: tuple[str, ...], new: Any
) -> None:
    step = reads(path=read)
    state = changed(STATE, other, new)
    assert (key(step, state) == key(step, STATE)) == (read != other or state == STATE)


@pytest.mark.parametrize("path", PATHS)
def test_what_is_read_only_after_the_first_call_is_refused(path: tuple[str, ...]) -> None:
    with pytest.raises(NotNotedError, match=f"The step reads uses {path[0]}.* only after it has asked a model"):
        graph_of(reads(path=path, early=False)).compile().invoke(STATE)


def test_a_step_that_is_made_with_another_argument_is_another_step() -> None:
    keys = {key(says(MODELS, PROMPTS, after=after), STATE) for after in ("", "!", "?")}
    assert len(keys) == 3
    assert key(says(MODELS, PROMPTS, after="!"), STATE) in keys
    cache = NodeCache()
    said = [
        graph_of(says(MODELS, PROMPTS, after=after)).compile(cache=cache).invoke(STATE)["answer"] for after in "!?!"
    ]
    assert said == ["Well.!", "Well.?", "Well.!"]
    assert len(BOSS.seen) >= 2


def test_another_prompt_or_model_is_another_key() -> None:
    other = PROMPTS.with_texts({"merge": "{question}, in {comments}"})
    assert key(says(MODELS, PROMPTS), STATE) != key(says(MODELS, other), STATE)
    models = PoolModels(POOL, fake_models(FakeChat(say=lambda seen: "x"), TWO))
    assert key(says(MODELS, PROMPTS), STATE) != key(says(models, PROMPTS), STATE)


class NamedChat(FakeChat):
    """A chat model that tells what its replies depend on."""

    name_of_weights: str

    def pluralism_identity(self) -> list[Any]:
        return ["named", self.name_of_weights]


def test_models_that_tell_what_they_depend_on_are_known_by_that() -> None:
    keys = []
    for weights in ("small", "small", "large"):
        boss = NamedChat(say=lambda seen: "Well.", name_of_weights=weights)
        keys.append(key(says(PoolModels(POOL, fake_models(boss, TWO)), PROMPTS), STATE))
    assert keys[0] == keys[1] != keys[2]


def test_a_node_that_cannot_begin_has_another_key_each_time_so_that_it_says_itself_what_is_wrong() -> None:
    asked = {name: value for name, value in STATE.items() if name != "question"}
    assert key(says(MODELS, PROMPTS), asked) != key(says(MODELS, PROMPTS), asked)
    with pytest.raises(KeyError, match="question"):
        graph_of(says(MODELS, PROMPTS)).compile(cache=NodeCache()).invoke(asked)


def test_a_prompt_that_is_not_declared_and_a_second_model_are_refused() -> None:
    with pytest.raises(NotNotedError, match="uses the prompt perspectives on a question for which its maker does not"):
        graph_of(says(MODELS, PROMPTS, prompt="perspectives")).compile().invoke(STATE)
    with pytest.raises(NotNotedError, match=r"asks .* after .*, of which alone a cache would know"):
        graph_of(says(MODELS, PROMPTS, second="north")).compile().invoke(STATE)
    assert says(MODELS, PROMPTS).prompts(QuestionParts(options=True, attribute=False)) == ["merge"]


def test_a_step_cannot_be_made_with_what_no_key_can_tell() -> None:
    @step_maker()
    def with_function(*, shown: Callable[[str], str]) -> Body:
        return lambda state: {"answer": shown(state["question"])}

    suffix = "!"
    with pytest.raises(TypeError, match="with_function's shown is no plain value"):
        with_function(shown=lambda text: text + suffix)
    with pytest.raises(TypeError, match="no plain value"):
        with_function(shown=object())  # type: ignore[arg-type]
    assert with_function(shown=lambda text: text.upper())


def test_where_the_edges_lead_is_in_the_key() -> None:
    parts = Parts(POOL, PROMPTS, MODELS, "test")
    keys = []
    for ends in (["one"], ["one", "two"]):
        graph = StateGraph(BaselineState)
        for name in ("node", *ends):
            parts.add(graph, name, says(MODELS, PROMPTS))
        graph.add_conditional_edges("node", lambda state: state["mode"], ends)
        policy: Any = graph.nodes["node"].cache_policy
        keys += [policy.key_func({**STATE, "mode": "one"}), policy.key_func({**STATE, "mode": "two"})]
    assert len(set(keys)) == 4


def test_a_node_says_its_role_its_community_and_its_prompts() -> None:
    spec = graph_of(says(MODELS, PROMPTS)).nodes["node"]
    assert spec.metadata == {"mode": "test", "role": "node", "prompts": ["merge"]}
