"""Work in the server's event loop: model calls, and several things at once, where the end of one ends the others."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

from langchain_core.runnables import RunnableConfig

from modular_pluralism.models.calls import Call, Caller

T = TypeVar("T")


@asynccontextmanager
async def pumped(*streams: AsyncIterator[T]) -> AsyncIterator[AsyncIterator[T]]:
    """The items of all streams as they come, read by tasks of their own.

    So leaving the block early interrupts each stream where it waits, and what it waits for is cancelled at once,
    rather than when somebody collects a half-read generator.
    """
    queue: asyncio.Queue[T | Exception | None] = asyncio.Queue()

    async def pump(stream: AsyncIterator[T]) -> None:
        try:
            async for item in stream:
                queue.put_nowait(item)
            queue.put_nowait(None)
        except Exception as error:
            queue.put_nowait(error)

    async def items() -> AsyncIterator[T]:
        left = len(streams)
        while left:
            item = await queue.get()
            if isinstance(item, Exception):
                raise item
            if item is None:
                left -= 1
            else:
                yield item

    tasks = [asyncio.create_task(pump(stream)) for stream in streams]
    try:
        yield items()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


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
