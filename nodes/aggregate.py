"""Distributional: the communities' distributions are pooled with their priors (section 3)."""

from __future__ import annotations

import math
from collections.abc import Mapping

from modular_pluralism.errors import QuorumError
from modular_pluralism.nodes.quorum import attendance
from modular_pluralism.nodes.step import State, Step, Update
from modular_pluralism.option_math import disagreement, linear_pool, normalise
from modular_pluralism.types import OptionDistribution


def aggregate(*, priors: Mapping[str, float], quorum: int) -> Step:
    """Step that writes `distribution`, `label_mass`, `disagreement`, `weights` and `missing`.

    `weights` are the priors of the communities that answered, normalised. `disagreement` is the generalised
    Jensen-Shannon divergence of their distributions, in nats.
    """

    def step(state: State) -> Update:
        present = attendance(state, list(priors), quorum)
        names = [comment["community"] for comment in present.comments]
        try:
            weights = normalise([priors[name] for name in names])
        except ValueError:
            raise QuorumError("Every community that answered has a prior of 0, so there is nothing to pool.") from None
        of_each: list[OptionDistribution] = [state["distributions"][name] for name in names]
        distributions = [each["probabilities"] for each in of_each]
        masses = [each["mass"] for each in of_each]
        return {
            "distribution": linear_pool(distributions, weights),
            "label_mass": _mean([mass for mass in masses if mass is not None], weights) if None not in masses else None,
            "disagreement": disagreement(distributions, weights),
            "weights": dict(zip(names, weights, strict=True)),
            "missing": present.missing,
        }

    return step


def _mean(values: list[float], weights: list[float]) -> float:
    return math.fsum(weight * value for weight, value in zip(weights, values, strict=True))
