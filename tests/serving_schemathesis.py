"""Schemathesis with a Hypothesis that is newer than what hypothesis-jsonschema 0.23.1 was written for.

That release draws objects by `many.more()`, which Hypothesis 6.170 has replaced by a `with` block and a loop. Here the
old way is put on top of the new one, for that library only; nothing is done where `more` is there.
"""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import hypothesis.internal.conjecture.utils as utils
import hypothesis_jsonschema._from_schema as from_schema


class _ManyWithMore:
    """`many` as it was: `more()` says whether there is to be another element, and ends the block when there is not."""

    def __init__(self, data: Any, **sizes: Any) -> None:
        self._many: Any = utils.many(data, **sizes)
        self._elements: Iterator[None] | None = None

    def more(self) -> bool:
        if self._elements is None:
            self._elements = iter(self._many.__enter__())
        for _ in self._elements:
            return True
        self._many.__exit__(None)
        return False

    def reject(self, why: str | None = None) -> None:
        self._many.reject(why)


def mend_drawing_of_objects() -> None:
    """Let hypothesis-jsonschema draw objects."""
    if not hasattr(utils.many, "more"):
        vars(from_schema)["cu"] = SimpleNamespace(**{**vars(utils), "many": _ManyWithMore})
