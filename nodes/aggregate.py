"""Distributional: the communities' distributions are pooled with their priors (section 3)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from modular_pluralism.errors import QuorumError
from modular_pluralism.nodes.quorum import attendance
from modular_pluralism.nodes.step import Body, State, Update, step_maker
from modular_pluralism.nodes.unite import unite
from modular_pluralism.option_math import disagreement, linear_pool, normalise
from modular_pluralism.types import Comment, OptionDistribution, Pooling

Priors = Callable[[str | None], Mapping[str, float]]
"""The weight of every community for a question's attribute (None: the question has none), in the pool's order."""


@step_maker()
def aggregate(*, priors: Priors, quorum: int) -> Body:
    """Step that writes `distribution`, `label_mass`, `disagreement`, `weights` and `missing`.

    `weights` are the priors of the communities that answered, normalised. `disagreement` is the generalised
    Jensen-Shannon divergence of their distributions, in nats.
    """

    return lambda state: _pooled(state, priors, quorum)


@step_maker()
def aggregate_both(*, priors: Priors, quorum: int, share: float, pooling: Pooling) -> Body:
    """As `aggregate`, of distributions that are made of each community's two voices first; see `unite`.

    What the base LLM read in the comments is kept in `readings`, and the united distributions stand in
    `distributions`. A community whose voices have no option in common gets an error, and counts as missing.
    """

    def step(state: State) -> Update:
        votes: Mapping[str, OptionDistribution] = state.get("votes") or {}
        readings: dict[str, OptionDistribution] = {
            name: read for name, read in state["distributions"].items() if name in votes
        }
        united: dict[str, OptionDistribution] = {}
        said: dict[str, Comment] = state["comments"]
        comments: dict[str, Comment] = {}
        for name, reading in readings.items():
            try:
                united[name] = unite(reading, votes[name], share=share, pooling=pooling)
            except ValueError:
                comments[name] = {**said[name], "error": _NOTHING_IN_COMMON}
        changed: dict[str, Any] = {"distributions": united, "comments": {**said, **comments}}
        update = {**_pooled({**state, **changed}, priors, quorum), "readings": readings, "distributions": united}
        return {**update, "comments": comments} if comments else update

    return step


def _pooled(state: State, priors: Priors, quorum: int) -> Update:
    of_question = priors(state.get("attribute"))
    present = attendance(state, list(of_question), quorum)
    try:
        weights = normalise([of_question[name] for name in present.names])
    except ValueError:
        raise QuorumError(_nothing_to_pool(state)) from None
    of_each: list[OptionDistribution] = [state["distributions"][name] for name in present.names]
    distributions = [each["probabilities"] for each in of_each]
    masses = [each["mass"] for each in of_each]
    return {
        "distribution": linear_pool(distributions, weights),
        "label_mass": _mean([mass for mass in masses if mass is not None], weights) if None not in masses else None,
        "disagreement": disagreement(distributions, weights),
        "weights": dict(zip(present.names, weights, strict=True)),
        "missing": present.missing,
    }


_NOTHING_IN_COMMON = (
    "Its vote and the reading of its comment have no option in common, so they cannot be pooled log-linearly; set "
    'vote_pooling = "linear" in the pool\'s [run] table.'
)


def _nothing_to_pool(state: State) -> str:
    attribute = state.get("attribute")
    table = f" for {attribute!r}" if attribute else ""
    return f"Every community that answered has a prior of 0{table}, so there is nothing to pool."


def _mean(values: list[float], weights: list[float]) -> float:
    return math.fsum(weight * value for weight, value in zip(weights, values, strict=True))
