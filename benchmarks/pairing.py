"""Paired measurements: the sides take turns within each round, so that what else the machine does hits all of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

Side = Callable[[int], float]
"""Measures one side once. Takes the round's number, from which fresh prompts and seeds are made."""


def take_turns(
    sides: Mapping[str, Side], rounds: int, say: Callable[[str], None], *, unit: str = "s"
) -> dict[str, list[float]]:
    """What each side measured, one value a round.

    Round 0 warms up and is not counted. Whoever begins changes from round to round.
    """
    names = list(sides)
    measured: dict[str, list[float]] = {name: [] for name in names}
    for number in range(rounds + 1):
        shift = number % len(names)
        found = {name: sides[name](number) for name in names[shift:] + names[:shift]}
        say(
            f"{f'round {number} of {rounds}' if number else 'warm-up'}: "
            + ", ".join(f"{name} {found[name]:.4g} {unit}" for name in names)
        )
        if number:
            for name, value in found.items():
                measured[name].append(value)
    return measured


def interval(values: Sequence[float], *, seed: int = 0, draws: int = 2000) -> tuple[float, float] | None:
    """95 % bootstrap interval of the median, or None where there is but one value."""
    if len(values) < 2:
        return None
    random = np.random.default_rng(seed)
    medians = np.median(random.choice(np.asarray(values), (draws, len(values))), axis=1)
    low, high = np.quantile(medians, [0.025, 0.975])
    return float(low), float(high)
