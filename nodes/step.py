"""What a node is made of: a step, which asks models by yielding calls, and the runnable that a graph gets for it."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import wraps
from hashlib import blake2b
from inspect import isgeneratorfunction, signature
from types import CodeType
from typing import Any, NamedTuple, ParamSpec, TypeAlias

from langchain_core.runnables import Runnable, RunnableConfig, ensure_config

from modular_pluralism.models.answerer import OwnPart
from modular_pluralism.models.calls import Caller, CallResult
from modular_pluralism.models.pool_models import PoolModels, without_opening
from modular_pluralism.nodes.ask import Asking, ModelCall
from modular_pluralism.nodes.noted import DeclaredPrompts, Noted, Notes, NotNotedError, plain_update
from modular_pluralism.nodes.request import check_state
from modular_pluralism.nodes.telling import Telling
from modular_pluralism.prompts import PromptSet

P = ParamSpec("P")
State: TypeAlias = Mapping[str, Any]
Update: TypeAlias = dict[str, Any]
Steps: TypeAlias = Asking[Update]
Body: TypeAlias = Callable[[State], Steps | Update]
"""Takes the state and returns an update of it. Each `yield` asks a model, the same one every time; errors are raised at
the yield. A body that asks no model is a plain function."""


class QuestionParts(NamedTuple):
    """Which of its optional parts a question has."""

    options: bool
    attribute: bool


PromptsOf: TypeAlias = Callable[[QuestionParts, Mapping[str, Any]], Sequence[str]]
"""The prompts that a step uses on a question with these parts; it is given the arguments that the step is made with."""


def step_maker(prompts: Sequence[str] | PromptsOf = ()) -> Callable[[Callable[P, Body]], Callable[P, Step]]:
    """Make a step of what the decorated function returns. `prompts` are those that the step may use: their names, or a
    function of the `QuestionParts` and of the maker's arguments, by name, that gives them.

        @step_maker(prompts=["greet"])
        def greet(models: PoolModels, prompts: PromptSet, *, warmth: int) -> Body: ...

    The function's code and arguments are in the cache key of the step's node; what it takes from its module's globals
    is not. Arguments have to be plain values, beside the models and the prompts. What the step reads of the state
    before it first asks a model, those prompts, and the model that it asks are in the key, too. A step that then reads
    something else, takes another prompt or asks another model raises NotNotedError, so that no result can depend on
    what its key leaves out.
    """

    def decorated(make: Callable[P, Body]) -> Callable[P, Step]:
        @wraps(make)
        def made(*positional: P.args, **named: P.kwargs) -> Step:
            bound = signature(make).bind(*positional, **named)
            bound.apply_defaults()
            return Step(make, bound.arguments, prompts if callable(prompts) else lambda *_: prompts)

        return made

    return decorated


@dataclass(frozen=True)
class Step:
    """A body with what it is made with, to be begun anew on each state. `defaults` are for parts of the question that a
    state leaves out."""

    _make: Callable[..., Body]
    _arguments: Mapping[str, Any]
    _prompts: PromptsOf
    defaults: Mapping[str, Any] = field(default_factory=dict)
    _made: dict[QuestionParts, _Made] = field(default_factory=dict, init=False, repr=False, compare=False)
    ahead: OrderedDict[int, tuple[State, Begun]] = field(
        default_factory=OrderedDict, init=False, repr=False, compare=False
    )

    def __post_init__(self) -> None:
        _ = self.making  # finds what is no plain value when the graph is built, and not when it runs

    @property
    def making(self) -> list[Any]:
        """What the step is made with, as plain values, without models, prompts and parts of the application's own.

        Raises:
            TypeError: an argument is no plain value.
        """
        given = {
            name: _plain(value, f"{self._make.__qualname__}'s {name}")
            for name, value in self._arguments.items()
            if not isinstance(value, PoolModels | PromptSet | OwnPart)
        }
        return [_function(self._make, f"what {self._make.__qualname__} takes from around it"), given]

    def prompts(self, question: QuestionParts) -> list[str]:
        """The prompts that it uses on a question with these parts, the one that it begins with first."""
        return list(dict.fromkeys(self._prompts(question, self._arguments)))

    def with_defaults(self, defaults: Mapping[str, Any]) -> Step:
        """The step, with values for parts of the question that a state leaves out."""
        return replace(self, defaults=defaults)

    def begin_ahead(self, state: State) -> Begun:
        """As `begin`, of which the next one on this very state goes on with what has been begun here: who makes a
        node's key has filled in its prompts already."""
        self.ahead[id(state)] = state, (begun := self.begin(state))
        while len(self.ahead) > MOST_AHEAD:  # they were found in a cache, and never ran
            self.ahead.popitem(last=False)
        return begun

    def begin(self, state: State) -> Begun:
        """Work until the step first asks a model, or, where it asks none, until its end.

        Raises:
            InputError: a part of the question has been edited, and can be none.
        """
        if ahead := self.ahead.pop(id(state), None):
            return ahead[1]
        state = {**state, **{key: value for key, value in self.defaults.items() if state.get(key) is None}}
        try:
            return self._begin(state)
        except (AttributeError, LookupError, TypeError):
            check_state(state)
            raise

    def _begin(self, state: State) -> Begun:
        parts = QuestionParts(bool(state.get("options")), bool(state.get("attribute")))
        made, name = self._made.get(parts) or self._make_for(parts), self._make.__qualname__
        if not made.asks:
            update = made.body(state)
            assert isinstance(update, dict)
            return Begun(name, {}, {}, None, update)
        notes = Notes(name)
        steps = made.body(Noted(state, notes))
        assert isinstance(steps, Generator)
        begun = Begun(name, notes.read, made.texts, steps, {})
        begun.go_on(next, steps)
        notes.close()
        return begun

    def _make_for(self, parts: QuestionParts) -> _Made:
        declared = {
            key: DeclaredPrompts(value, self.prompts(parts), self._make.__qualname__)
            for key, value in self._arguments.items()
            if isinstance(value, PromptSet)
        }
        body = self._make(**{**self._arguments, **declared})
        texts = {prompt: prompts[prompt].text for prompts in declared.values() for prompt in prompts}
        made = self._made[parts] = _Made(body, isgeneratorfunction(body), texts)
        return made


MOST_AHEAD = 32
"""States of a node that are kept begun."""


class _Made(NamedTuple):
    """A step's body for questions with the same parts: whether it asks a model, and the texts of its prompts."""

    body: Body
    asks: bool
    texts: Mapping[str, str]


@dataclass
class Begun:
    """A step at work: `call` is what it asks next, and `update` what it writes once it asks nothing more. `read` is
    what it has read of the state, and `prompts` are the texts that it may use."""

    name: str
    read: Mapping[str, Any]
    prompts: Mapping[str, str]
    _steps: Steps | None
    update: Update
    call: ModelCall[Any] | None = None

    def answered(self, outcome: CallResult[Any]) -> None:
        """Tell the step what the model has said."""
        assert self._steps is not None
        self.go_on(self._steps.send, outcome)

    def failed(self, error: Exception) -> None:
        """Tell the step that the call has failed."""
        assert self._steps is not None
        self.go_on(self._steps.throw, error)

    def go_on(self, work: Callable[[Any], ModelCall[Any]], given: Any) -> None:
        """Do some of the step's work, which ends with its next call."""
        before = self.call
        try:
            self.call = work(given)
        except StopIteration as end:
            self.call, self.update = None, plain_update(end.value)
        if before and self.call and self.call.model.runnable is not before.model.runnable:
            raise NotNotedError(
                f"The step {self.name} asks {self.call.model.place} after {before.model.place}, of which alone a cache "
                "would know; make two nodes of it."
            )


class StepNode(Runnable[Any, Update]):
    """The step as a LangGraph node for `invoke` and `ainvoke`; `name` is shown in traces.

    `labels`, such as {"community": "news_left"}, reach the application's callbacks with every model call: as metadata
    and as tags, as in "community:news_left". Whoever streams the run's custom events is told of each `Event`.

    It is no RunnableLambda of LangChain's: LangGraph tells callbacks of a node's run, and to tell of another one inside
    it takes longer than all else that a node does.
    """

    def __init__(self, step: Step, caller: Caller, name: str, labels: Mapping[str, str] | None = None) -> None:
        self.name = name
        self._step, self._caller, self._labels = step, caller, dict(labels or {})
        self._tags = [f"{key}:{value}" for key, value in self._labels.items()]

    def invoke(self, input: State, config: RunnableConfig | None = None, **_: Any) -> Update:
        """See Runnable."""
        config, told = self._marked(config), self._telling()
        with told:
            begun = self._step.begin(input)
            while begun.call is not None:
                told.asks()
                try:
                    outcome = self._caller.call(begun.call, config)
                except Exception as error:
                    told.failed(error)
                    begun.failed(error)
                else:
                    told.answered(outcome)
                    begun.answered(outcome)
            told.wrote(begun.update)
        return begun.update

    async def ainvoke(self, input: State, config: RunnableConfig | None = None, **_: Any) -> Update:
        """See Runnable."""
        config, told = self._marked(config), self._telling()
        with told:
            begun = await without_opening(lambda: self._step.begin(input))
            while begun.call is not None:
                told.asks()
                try:
                    outcome = await self._caller.acall(begun.call, config)
                except Exception as error:
                    told.failed(error)
                    begun.failed(error)
                else:
                    told.answered(outcome)
                    begun.answered(outcome)
            told.wrote(begun.update)
        return begun.update

    def _telling(self) -> Telling:
        return Telling(self.name or "", self._labels)

    def _marked(self, given: RunnableConfig | None) -> RunnableConfig:
        """The config with the labels. By hand: LangChain's merge_configs copies all of both, for every node."""
        config = ensure_config() if given is None else given
        tags = sorted({*(config.get("tags") or ()), *self._tags})
        return {**config, "tags": tags, "metadata": {**(config.get("metadata") or {}), **self._labels}}


def _plain(value: Any, what: str) -> Any:
    """The value in a form that tells it from others: of a function, where it is written, if that is all that it is."""
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, Mapping):
        return {str(key): _plain(entry, what) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry, what) for entry in value]
    if hasattr(value, "model_dump_json"):  # pydantic's models
        # Not as pydantic writes JSON, which refuses a folder whose name is not UTF-8.
        return json.dumps(value.model_dump(mode="json"))
    if hasattr(value, "__dataclass_fields__"):
        return {name: _plain(getattr(value, name), what) for name in value.__dataclass_fields__}
    if hasattr(value, "__self__"):
        return [value.__name__, _plain(value.__self__, what)]
    if hasattr(value, "__code__") and value.__closure__ is None:
        return _function(value, what)
    raise TypeError(
        f"{what} is no plain value, so that a cache cannot tell the step from others; give texts, numbers, lists, "
        "dataclasses, or a function that has everything from its own arguments."
    )


def _function(function: Any, what: str) -> list[Any]:
    """A function by its name, its code, and the values that it has from its definition. What it has from its module's
    globals is not in it."""
    around = [cell.cell_contents for cell in function.__closure__ or ()]
    values = _plain([function.__defaults__, function.__kwdefaults__, around], what)
    return [function.__module__, function.__qualname__, _code(function.__code__), values]


def _code(code: CodeType) -> list[Any]:
    """A cell of a notebook that was edited has another code under the same name."""
    inner = [_code(const) if isinstance(const, CodeType) else repr(const) for const in code.co_consts]
    return [code.co_code.hex(), code.co_names, inner]


def derive_seed(seed: int, *parts: object) -> int:
    """A seed of its own for a part of a run, so that no two communities draw alike and every run can be repeated."""
    digest = blake2b("/".join(map(str, (seed, *parts))).encode(), digest_size=4).digest()
    return int.from_bytes(digest, "big") >> 1  # endpoints take signed 32-bit seeds
