"""Which tokens of a prompt need not be read again, and in what chunks the rest is read, so that reuse changes nothing.

llama.cpp reads a chunk of 64 tokens or more of one sequence with another attention kernel than a shorter chunk, and
their roundings differ; quantised weights turn that into visible differences in the logits. So which kernel reads a
token is fixed by the prompt alone: all whole 64s of a prompt are read in wide chunks, and the rest, like every
generated token, in a narrow one. A cached token is reused where it was read as it would be read anew. For weights
whose kernels treat each row by itself, as those of the Q formats do, results are then the same to the last bit.
"""

from __future__ import annotations

from collections.abc import Sequence

WIDE = 64
"""Tokens from which on a chunk is wide."""
_SHORTEST_END = 2
"""A single token in a decode of its own is read by a third kernel, so reuse leaves at least two where it can."""


def wide_length(prompt: int) -> int:
    """How many leading tokens of a prompt of that length are read in wide chunks."""
    return prompt - prompt % WIDE


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


def reusable_length(cached: Sequence[int], cached_wide: int, tokens: Sequence[int], first_output: int) -> int:
    """How many leading tokens of a prompt can be taken from a cache.

    `cached_wide` of the `cached` tokens were read in wide chunks. Logits are wanted from `first_output` on, so that
    position has to be read in any case.
    """
    wide = wide_length(len(tokens))
    shared = min(common_length(cached, tokens), first_output)
    if shared >= wide and cached_wide != wide:
        shared = min(wide, cached_wide)
    if shared >= wide:
        return max(wide, min(shared, len(tokens) - _SHORTEST_END))
    # The next chunk has to be wide, too, and so may have to begin further back.
    return max(0, min(shared, cached_wide, wide - WIDE))


def next_chunk(read: int, prompt: int, room: int) -> int:
    """How many tokens of a prompt to read next, `read` of which have been; about `room`, and at most 127 more."""
    wide = wide_length(prompt)
    if read >= wide:
        return prompt - read
    left = wide - read
    if left < 2 * WIDE or left <= room:
        return left
    count = max(WIDE, room)
    return count if left - count >= WIDE else left - WIDE
