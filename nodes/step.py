"""What a node is made of: a step, which asks models by yielding calls, and the runnable that a graph gets for it."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from hashlib import blake2b
from typing import Any, TypeAlias

from langchain_core.runnables import RunnableConfig, RunnableLambda
from langchain_core.runnables.config import merge_configs

from modular_pluralism.models.calls import Call, Caller, Outcome

State: TypeAlias = Mapping[str, Any]
Update: TypeAlias = dict[str, Any]
Steps: TypeAlias = Generator[Call[Any], Outcome[Any], Update]
Step: TypeAlias = Callable[[State], Steps | Update]
"""Takes the state and returns an update of it. Each `yield` asks a model; errors are raised at the yield. A step that
asks no model is a plain function."""


def as_runnable(
    step: Step, caller: Caller, name: str, labels: Mapping[str, str] | None = None
) -> RunnableLambda[Any, Update]:
    """The step as a LangGraph node for `invoke` and `ainvoke`; `name` is shown in traces.

    `labels`, such as {"community": "news_left"}, reach the application's callbacks with every model call: as metadata
    and as tags, as in "community:news_left".
    """
    labels = dict(labels or {})
    marks = RunnableConfig(metadata=labels, tags=[f"{key}:{value}" for key, value in labels.items()])

    def run(state: State, config: RunnableConfig) -> Update:
        steps = step(state)
        if isinstance(steps, dict):
            return steps
        config = merge_configs(config, marks)
        call = first(steps)
        while isinstance(call, Call):
            try:
                outcome = caller.call(call, config)
            except Exception as error:
                call = _throw(steps, error)
            else:
                call = _send(steps, outcome)
        return call

    async def arun(state: State, config: RunnableConfig) -> Update:
        steps = step(state)
        if isinstance(steps, dict):
            return steps
        config = merge_configs(config, marks)
        call = first(steps)
        while isinstance(call, Call):
            try:
                outcome = await caller.acall(call, config)
            except Exception as error:
                call = _throw(steps, error)
            else:
                call = _send(steps, outcome)
        return call

    return RunnableLambda(run, arun, name=name)


def first(steps: Steps | Update) -> Call[Any] | Update:
    """The first call that a step makes, or, if it makes none, its update."""
    if isinstance(steps, dict):
        return steps
    try:
        return next(steps)
    except StopIteration as end:
        return _update(end)


def _send(steps: Steps, outcome: Outcome[Any]) -> Call[Any] | Update:
    try:
        return steps.send(outcome)
    except StopIteration as end:
        return _update(end)


def _throw(steps: Steps, error: Exception) -> Call[Any] | Update:
    try:
        return steps.throw(error)
    except StopIteration as end:
        return _update(end)


def _update(end: StopIteration) -> Update:
    update: Update = end.value
    return update


def derive_seed(seed: int, *parts: object) -> int:
    """A seed of its own for a part of a run, so that no two communities draw alike and every run can be repeated."""
    digest = blake2b("/".join(map(str, (seed, *parts))).encode(), digest_size=4).digest()
    return int.from_bytes(digest, "big") >> 1  # endpoints take signed 32-bit seeds
