"""Holding questions, or texts, back: a training never sees what it is measured on."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import TypeVar

from modular_pluralism.errors import TrainingDataError

FEWEST = 20
"""With fewer questions, or texts, a training is refused unless it is forced."""

Item = TypeVar("Item")


def split_by(
    items: Sequence[Item], key: Callable[[Item], str], share: float, seed: int, *, what: str, force: bool = False
) -> tuple[list[Item], list[Item]]:
    """Items to train on, and items that are held out: every item of one key is on the same side.

    About `share` of the keys is held out, at least one and never all. A key's side depends on nothing but itself and
    the seed, so that an adapter which begins with another's weights is not measured on what that one has learnt. `what`
    is what messages call the keys ("questions").

    Raises:
        TrainingDataError: there are fewer than FEWEST keys and it is not forced, or fewer than two.
    """
    keys = sorted({_folded(key(item)) for item in items})
    if len(keys) < 2:
        raise TrainingDataError(
            f"There is only one of the {what}; give at least 2, since one has to be held out, and better {FEWEST}."
        )
    if len(keys) < FEWEST and not force:
        raise TrainingDataError(
            f"There are only {len(keys)} {what}, and what is learnt from fewer than {FEWEST} does not carry over; give "
            "more, or say --force."
        )
    drawn = sorted((_drawn(folded, seed), folded) for folded in keys)
    count = min(max(1, sum(value < share for value, _ in drawn)), len(keys) - 1)
    held = {folded for _, folded in drawn[:count]}
    return (
        [item for item in items if _folded(key(item)) not in held],
        [item for item in items if _folded(key(item)) in held],
    )


def _drawn(key: str, seed: int) -> float:
    """A number from 0 to 1, always the same for this key and seed."""
    digest = hashlib.sha256(f"{seed} {key}".encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def _folded(key: str) -> str:
    # Two spellings of a question are one question, so that neither side knows the other's.
    return " ".join(key.split()).casefold()
