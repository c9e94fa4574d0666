"""In what chunks prompts are read, so that a token's result does not depend on what is read beside it.

llama.cpp reads a chunk of 64 tokens or more of one sequence with another attention kernel than a shorter one, and a
single token of a long sequence that is decoded alone with a third; their roundings differ, and quantised weights turn
that into visible differences in the logits. So which kernel reads a token is fixed by the prompt alone: the whole 64s
of a long prompt are read in wide chunks, which is faster for one sequence; everything else, like every generated token,
in narrow ones, of which many sequences share a decode. For weights whose kernels treat each row by itself, as those of
the Q formats do, results are then the same to the last bit in any company.
"""

from __future__ import annotations

from collections.abc import Sequence

WIDE = 64
"""Tokens from which on a chunk is wide."""
LONG = 512
"""Tokens from which on a prompt is read in wide chunks."""


def wide_length(prompt: int) -> int:
    """How many leading tokens of a prompt of that length are read in wide chunks."""
    return 0 if prompt < LONG else prompt - prompt % WIDE


def wide_chunk(left: int, room: int) -> int:
    """How many of the `left` tokens that are to be read wide to read next: about `room`, and at most 127 if that is
    more; never so many that fewer than 64 are left over."""
    if left < 2 * WIDE or left <= room:
        return left
    count = max(WIDE, room)
    return count if left - count >= WIDE else left - WIDE


def narrow_chunks(lefts: Sequence[int], most: int) -> tuple[list[int], int]:
    """Which sequences read how many tokens each in a narrow decode of at most `most` tokens (4 or more).

    `lefts` is what each has left, at least 2. Returns places in `lefts` and one count for all of them, since llama.cpp
    decodes equal numbers of tokens at a time; as many tokens together as can be, and never leaving a single one.
    """
    order = sorted(range(len(lefts)), key=lambda place: -lefts[place])
    best: tuple[list[int], int] = ([order[0]], 0)
    for share in range(1, len(order) + 1):
        places = order[:share]
        count = min(WIDE - 1, most // share, *(lefts[place] for place in places))
        if any(lefts[place] - count == 1 for place in places):
            count -= 1
        if count > 1 and share * count > len(best[0]) * best[1]:
            best = (places, count)
    return best
