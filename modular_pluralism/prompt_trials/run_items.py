"""Running several makers over the same items: of each item, one maker after the other."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from modular_pluralism.evaluation.data.items import Item
from modular_pluralism.evaluation.run.maker import Maker, Result


async def run_items(
    makers: Sequence[Maker],
    items: Sequence[Item],
    *,
    concurrency: int,
    on_result: Callable[[Any, Result], None] = lambda _maker, _result: None,
) -> dict[str, list[Result]]:
    """The results of each maker, by its name, in the items' order; `concurrency` items are worked on at once.

    The makers take their turns with an item, so that the later ones find in a cache what the first has computed.

    Raises:
        PluralismError: nothing can be made for any item. The others are then stopped.
    """
    found: dict[str, list[Any]] = {maker.name: [None] * len(items) for maker in makers}
    room = asyncio.Semaphore(concurrency)

    async def work(place: int, item: Item) -> None:
        async with room:
            for maker in makers:
                result = found[maker.name][place] = await maker.make(place, item)
                on_result(maker, result)

    try:
        async with asyncio.TaskGroup() as group:
            for place, item in enumerate(items):
                group.create_task(work(place, item))
    except ExceptionGroup as failed:
        raise failed.exceptions[0] from None
    return found
