"""Distributional: the communities' distributions are pooled with their priors (section 3)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from modular_pluralism.errors import QuorumError
from modular_pluralism.nodes.quorum import attendance
from modular_pluralism.nodes.step import Body, State, Update, step_maker
from modular_pluralism.option_math import disagreement, linear_pool, log_linear_pool, normalise
from modular_pluralism.types import Comment, OptionDistribution, Pooling

Priors = Callable[[str | None], Mapping[str, float]]
"""The weight of every community for a question's attribute (None: the question has none), in the pool's order."""


@step_maker()
def aggregate(*, priors: Priors, quorum: int, share: float, pooling: Pooling) -> Body:
    """Step that writes `distribution`, `label_mass`, `disagreement`, `weights` and `missing`.

    `weights` are the priors of the communities that answered, normalised. `disagreement` is the generalised
    Jensen-Shannon divergence of their distributions, in nats.

    Where there are `votes`, each community's two voices become one distribution first, as `unite` does it with `share`
    and `pooling`: what the base LLM read in the comments is kept in `readings`, and the united distributions stand in
    `distributions`. A community whose voices have no option in common gets an error, and counts as missing.
    """

    def step(state: State) -> Update:
        if not state.get("votes"):
            return _pooled(state, priors, quorum)
        united = _united(state, share, pooling)
        comments = {**state["comments"], **united.get("comments", {})}
        return {**_pooled({**state, **united, "comments": comments}, priors, quorum), **united}

    return step


def _united(state: State, share: float, pooling: Pooling) -> Update:
    votes: Mapping[str, OptionDistribution] = state["votes"]
    said: Mapping[str, Comment] = state["comments"]
    readings = {name: reading for name, reading in state["distributions"].items() if name in votes}
    united: dict[str, OptionDistribution] = {}
    comments: dict[str, Comment] = {}
    for name, reading in readings.items():
        try:
            united[name] = unite(reading, votes[name], share=share, pooling=pooling)
        except ValueError:
            comments[name] = {**said[name], "error": _NOTHING_IN_COMMON}
    update: Update = {"readings": readings, "distributions": united}
    return {**update, "comments": comments} if comments else update


def unite(
    reading: OptionDistribution, vote: OptionDistribution, *, share: float, pooling: Pooling
) -> OptionDistribution:
    """One distribution of a community's two voices, in which its vote has the weight `share` (0 to 1), and what the
    base LLM reads in its comment the rest.

    Label masses are pooled linearly in either case, since they are no distributions.

    Raises:
        ValueError: pooled log-linearly, the two have no option in common.
    """
    weights = [1 - share, share]

    def pooled(distributions: Sequence[Sequence[float]]) -> list[float]:
        pool = linear_pool if pooling == "linear" else log_linear_pool
        return pool(distributions, weights)

    labels = [voice["label"] for voice in (reading, vote) if voice["label"] is not None]
    samples = [voice["samples"] for voice in (reading, vote) if voice["samples"] is not None]
    return OptionDistribution(
        probabilities=pooled([reading["probabilities"], vote["probabilities"]]),
        mass=_mean([reading["mass"], vote["mass"]], weights),
        scoring=vote["scoring"],
        samples=sum(samples) if samples else None,
        unread=[*reading["unread"], *(option for option in vote["unread"] if option not in reading["unread"])],
        label=pooled(labels) if len(labels) == 2 else None,
        label_mass=_mean([reading["label_mass"], vote["label_mass"]], weights),
    )


def _pooled(state: State, priors: Priors, quorum: int) -> Update:
    of_question = priors(state.get("attribute"))
    present = attendance(state, list(of_question), quorum)
    try:
        weights = normalise([of_question[name] for name in present.names])
    except ValueError:
        raise QuorumError(_nothing_to_pool(state)) from None
    read: list[OptionDistribution] = [state["distributions"][name] for name in present.names]
    distributions = [reading["probabilities"] for reading in read]
    return {
        "distribution": linear_pool(distributions, weights),
        "label_mass": _mean([reading["mass"] for reading in read], weights),
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


def _mean(masses: Sequence[float | None], weights: Sequence[float]) -> float | None:
    known = [mass for mass in masses if mass is not None]
    if len(known) < len(masses):
        return None
    return math.fsum(weight * mass for weight, mass in zip(weights, known, strict=True))
