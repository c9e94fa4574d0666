"""A node cache that several methods share, counted for each of them: how many model calls it spared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from langgraph.cache.base import BaseCache, FullKey, Namespace

_WITHOUT_MODEL = ("check", "aggregate")


class CountedCache(BaseCache[Any]):
    """One method's view of a cache: `reused` and `computed` count its nodes that ask a model, which is one call each,
    as often as a method that is asked again asks it."""

    def __init__(self, kept: BaseCache[Any]) -> None:
        super().__init__()
        self._kept = kept
        self.reused = 0
        self.computed = 0

    def get(self, keys: Sequence[FullKey]) -> dict[FullKey, Any]:
        """See BaseCache."""
        known = self._kept.get(keys)
        self.reused += sum(map(_asks_a_model, known))
        return known

    async def aget(self, keys: Sequence[FullKey]) -> dict[FullKey, Any]:
        """See BaseCache."""
        return self.get(keys)

    def set(self, pairs: Mapping[FullKey, tuple[Any, int | None]]) -> None:
        """See BaseCache."""
        self.computed += sum(map(_asks_a_model, pairs))
        self._kept.set(pairs)

    async def aset(self, pairs: Mapping[FullKey, tuple[Any, int | None]]) -> None:
        """See BaseCache."""
        self.set(pairs)

    def clear(self, namespaces: Sequence[Namespace] | None = None) -> None:
        """See BaseCache."""
        self._kept.clear(namespaces)

    async def aclear(self, namespaces: Sequence[Namespace] | None = None) -> None:
        """See BaseCache."""
        self._kept.clear(namespaces)


def _asks_a_model(key: FullKey) -> bool:
    return key[0][-1] not in _WITHOUT_MODEL
