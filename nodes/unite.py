"""Both voices of a community as one: what the base LLM reads in its comment, and its own vote."""

from __future__ import annotations

from collections.abc import Sequence

from modular_pluralism.option_math import linear_pool, log_linear_pool
from modular_pluralism.types import OptionDistribution, Pooling


def unite(
    reading: OptionDistribution, vote: OptionDistribution, *, share: float, pooling: Pooling
) -> OptionDistribution:
    """One distribution of the two, in which the vote has the weight `share` (0 to 1) and the reading the rest.

    Label masses are pooled linearly in either case, since they are no distributions.

    Raises:
        ValueError: pooled log-linearly, the two have no option in common.
    """
    weights = [1 - share, share]

    def pooled(distributions: Sequence[Sequence[float]]) -> list[float]:
        pool = linear_pool if pooling == "linear" else log_linear_pool
        return pool(distributions, weights)

    labels = [each["label"] for each in (reading, vote) if each["label"] is not None]
    samples = [each["samples"] for each in (reading, vote) if each["samples"] is not None]
    return OptionDistribution(
        probabilities=pooled([reading["probabilities"], vote["probabilities"]]),
        mass=_mean([reading["mass"], vote["mass"]], weights),
        scoring=vote["scoring"],
        samples=sum(samples) if samples else None,
        unread=[*reading["unread"], *(each for each in vote["unread"] if each not in reading["unread"])],
        label=pooled(labels) if len(labels) == 2 else None,
        label_mass=_mean([reading["label_mass"], vote["label_mass"]], weights),
    )


def _mean(masses: Sequence[float | None], weights: Sequence[float]) -> float | None:
    known = [mass for mass in masses if mass is not None]
    return linear_pool([[mass] for mass in known], weights)[0] if len(known) == len(masses) else None
