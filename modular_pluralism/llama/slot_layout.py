"""Where sequences should lie so that those decoded together lie side by side.

llama.cpp splits a decode of several KV streams wherever their numbers have a gap, and each part reads all weights.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence


def is_contiguous(slots: Sequence[int]) -> bool:
    """Whether the slots, sorted, have no gap."""
    return not slots or max(slots) - min(slots) + 1 == len(slots)


def moves_to_contiguous(groups: Sequence[Sequence[int]], slots: int) -> dict[int, int]:
    """New places {from: to} that make each group of slots contiguous, out of `slots` in all; few rather than fewest.

    Groups keep their order along the slots. A place may be taken by one that moves away itself.
    """
    groups = sorted((sorted(group) for group in groups if group), key=lambda group: group[len(group) // 2])
    moves: dict[int, int] = {}
    left = sum(map(len, groups))
    free_from = 0
    for group in groups:
        left -= len(group)
        # The window that most members are in already, right of the group before and leaving room for those after.
        last_start = slots - left - len(group)
        start = max(
            range(free_from, last_start + 1),
            key=lambda start: (sum(start <= slot < start + len(group) for slot in group), -abs(start - group[0])),
        )
        window = range(start, start + len(group))
        vacant = [slot for slot in window if slot not in group]
        movers = [slot for slot in group if slot not in window]
        moves.update(zip(movers, vacant, strict=True))
        free_from = start + len(group)
    return moves


def in_turn(moves: Mapping[int, int]) -> tuple[list[tuple[int, int]], dict[int, int]]:
    """The moves {from: to} as pairs that can be made one after the other, and those that go round in a circle."""
    rest, pairs = dict(moves), list[tuple[int, int]]()
    while free := [source for source, target in rest.items() if target not in rest]:
        pairs += [(source, rest.pop(source)) for source in free]
    return pairs, rest
