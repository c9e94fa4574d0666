"""Holding questions, or texts, back: a training never sees what it is measured on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np

from modular_pluralism.training.errors import TrainingDataError

FEWEST = 20
"""With fewer questions, or texts, a training is refused unless it is forced."""

Item = TypeVar("Item")


def split_by(
    items: Sequence[Item], key: Callable[[Item], str], share: float, seed: int, *, what: str, force: bool = False
) -> tuple[list[Item], list[Item]]:
    """Items to train on, and items that are held out: every item of one key is on the same side.

    `share` of the keys is held out, at least one. `what` is what messages call the keys ("questions").

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
    count = min(max(1, round(share * len(keys))), len(keys) - 1)
    drawn = np.random.default_rng([seed, 1]).permutation(len(keys))[:count]
    held = {keys[place] for place in drawn}
    return (
        [item for item in items if _folded(key(item)) not in held],
        [item for item in items if _folded(key(item)) in held],
    )


def _folded(key: str) -> str:
    # Two spellings of a question are one question, so that neither side knows the other's.
    return " ".join(key.split()).casefold()
