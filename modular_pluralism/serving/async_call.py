"""A model call with retries and a deadline, from the server's event loop."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from langchain_core.runnables import RunnableConfig

from modular_pluralism.models.calls import Call, Caller

T = TypeVar("T")


async def called(caller: Caller, place: str, ask: Callable[[], Awaitable[T]]) -> T:
    """What `ask` returns, tried again where that may help.

    Raises:
        DeadlineError, ModelCallError: see Caller.
    """

    async def arun(_: RunnableConfig) -> T:
        return await ask()

    def run(_: RunnableConfig) -> T:
        raise NotImplementedError("the server calls models in its event loop only")

    return (await caller.acall(Call(place, run, arun), {})).value
