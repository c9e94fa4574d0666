"""A cache of what nodes have written, so that a node runs again only where something that it depends on has changed.

Every node of our graphs says what it depends on (see `node_key`). Nothing is kept unless a graph is compiled with a
cache, and graphs that share one take from each other what is the same:

    cache = NodeCache()
    build_overton(prompts=mine).compile(cache=cache)
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from copy import deepcopy
from threading import Lock
from typing import Any

from langgraph.cache.base import BaseCache, FullKey, Namespace
from xxhash import xxh3_128_hexdigest

from modular_pluralism.checked import checked
from modular_pluralism.errors import InputError

Writes = Sequence[tuple[str, Any]]
"""What a node wrote, by the name of the channel."""


class NodeCache(BaseCache[Any]):
    """A cache for the graphs: a node runs again only where its model, its prompt or what it reads has changed.

    Thread-safe, in memory. A community that failed is never kept: with LangGraph's own caches its error would be, since
    to LangGraph a comment with an error is a result like any other.

    Args:
        most: Nodes whose writes are kept at most; those that were used last.

    Raises:
        InputError: `most` is below 1.

    Example:
        ```python
        from langchain_core.language_models import FakeListChatModel

        from modular_pluralism import NodeCache, build_overton

        mine = FakeListChatModel(responses=["any LangChain chat model"])
        cache = NodeCache()
        graph = build_overton(models={"smollm2": mine}).compile(cache=cache)
        for _ in range(2):  # the second time, no model is asked
            graph.invoke({"question": "Should wages be public?"})
        print(len(cache))
        ```
    """

    @checked
    def __init__(self, most: int = 10_000) -> None:
        if most < 1:
            raise InputError(f"NodeCache: most is {most}; give a number of nodes from 1, or compile without a cache.")
        super().__init__()
        self._most = most
        self._kept: OrderedDict[FullKey, tuple[list[tuple[str, Any]], float | None]] = OrderedDict()
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, keys: Sequence[FullKey]) -> dict[FullKey, Any]:
        """See BaseCache."""
        kept = {}
        with self._lock:
            for key in keys:
                writes, until = self._kept.get(key, (None, None))
                if writes is None or (until is not None and until < time.monotonic()):
                    continue
                self._kept.move_to_end(key)
                kept[key] = deepcopy(writes)
        return kept

    async def aget(self, keys: Sequence[FullKey]) -> dict[FullKey, Any]:
        """See BaseCache."""
        return self.get(keys)

    def set(self, pairs: Mapping[FullKey, tuple[Any, int | None]]) -> None:
        """See BaseCache."""
        with self._lock:
            for key, (writes, seconds) in pairs.items():
                if is_complete(writes):
                    until = None if seconds is None else time.monotonic() + seconds
                    self._kept[key] = (deepcopy(list(writes)), until)
                    self._kept.move_to_end(key)
            while len(self._kept) > self._most:
                self._kept.popitem(last=False)

    async def aset(self, pairs: Mapping[FullKey, tuple[Any, int | None]]) -> None:
        """See BaseCache."""
        self.set(pairs)

    def remember(self, node: str, key: str, writes: Writes) -> None:
        """Keep what a node called `node` with this NodeKey wrote, as if it had run with this cache."""
        # As LangGraph makes it of a node that is no plain function.
        namespace = ("__pregel_ns_writes", "__dynamic__", node)
        self.set({(namespace, xxh3_128_hexdigest(key.encode())): (writes, None)})

    def clear(self, namespaces: Sequence[Namespace] | None = None) -> None:
        """See BaseCache."""
        with self._lock:
            for key in [key for key in self._kept if namespaces is None or key[0] in namespaces]:
                del self._kept[key]

    async def aclear(self, namespaces: Sequence[Namespace] | None = None) -> None:
        """See BaseCache."""
        self.clear(namespaces)


def is_complete(writes: Iterable[tuple[str, Any]]) -> bool:
    """Whether no community has failed in what a node wrote, and no draft."""
    return not any(
        written["error"] is not None
        for channel, value in writes
        if channel in ("comments", "candidates") and value
        for written in value.values()
    )
