"""Which tokens of a prompt need not be read again: those in a cache that were read there as they would be read anew.

What is reused has then gone through the same kernels (see `chunks`), and changes nothing.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

from modular_pluralism.llama.chunks import WIDE, wide_length

_SHORTEST_END = 2
"""A single token may be decoded alone, by a kernel of its own, so reuse leaves at least two where it can."""


def common_length(one: Sequence[int], other: Sequence[int]) -> int:
    """How many leading tokens two lists share."""
    low, high = 0, min(len(one), len(other))
    while low < high:  # by halves, since comparing slices is fast
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def _any_length(length: int) -> int:
    return length


def reusable_length(
    cached: Sequence[int],
    cached_wide: int,
    tokens: Sequence[int],
    first_output: int,
    restorable: Callable[[int], int] = _any_length,
    *,
    bare: int = 0,
    alike: int = sys.maxsize,
) -> int:
    """How many leading tokens of a prompt can be taken from a cache.

    `cached_wide` of the `cached` tokens were read in wide chunks. Logits are wanted from `first_output` on, so that
    position has to be read in any case. `restorable` gives the most tokens, of so many or fewer, that the cache can be
    brought back to; any number, where nothing else is said. `bare` tokens of the prompt are read before its adapter is
    switched on, and no more than `alike` were read there with what they would be read with.
    """
    wide = wide_length(bare or len(tokens))
    shared = min(common_length(cached, tokens), first_output, alike)
    if shared >= wide and cached_wide != wide:
        shared = min(wide, cached_wide)
    if shared >= wide:
        end = bare if shared < bare else len(tokens)
        restored = restorable(max(wide, min(shared, max(end - _SHORTEST_END, bare if shared >= bare else 0))))
        if restored >= wide:
            return restored
        shared = restored
    # The next chunk has to be wide, too, and so may have to begin further back.
    return restorable(max(0, min(shared, cached_wide, wide - WIDE)))
