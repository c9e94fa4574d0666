"""Distributional: the communities' distributions are pooled with their priors (section 3)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from modular_pluralism.errors import InputError, ModelCallError, QuorumError
from modular_pluralism.models.answerer import OwnPart
from modular_pluralism.nodes import ask
from modular_pluralism.nodes.check import check_priors
from modular_pluralism.nodes.noted import plain_update
from modular_pluralism.nodes.quorum import attendance, check_comment
from modular_pluralism.nodes.read_options import read_from
from modular_pluralism.nodes.request import check_options
from modular_pluralism.nodes.step import Body, State, Steps, Update, step_maker
from modular_pluralism.option_math import POOLS, disagreement, is_distribution, normalise
from modular_pluralism.types import Comment, OptionDistribution, Pooling, VotePooling

OWN_POOLING = "own"
"""What the state calls a pooling of the application's own."""

Priors = Callable[[str | None], Mapping[str, float]]
"""The weight of every community for a question's attribute (None: the question has none), in the pool's order."""


@step_maker()
def aggregate(*, priors: Priors, quorum: int, share: float, vote_pooling: VotePooling, pooling: Pooling) -> Body:
    """Step that writes `distribution`, `label_mass`, `disagreement`, `weights` and `missing`, and `pooling` unless
    that is linear.

    `weights` are the question's or the pool's priors of the communities that answered, normalised. `disagreement` is
    the generalised Jensen-Shannon divergence of their distributions, in nats, however they are pooled.

    Where there are `votes`, each community's two voices become one distribution first, as `unite` does it with `share`
    and `vote_pooling`: what the base LLM read in the comments is kept in `readings`, and the united distributions stand
    in `distributions`. A community whose voices have no option in common gets an error, and counts as missing.
    """

    def step(state: State) -> Update:
        ready = _ready(state, priors, quorum, share, vote_pooling)
        try:
            pooled = POOLS[pooling](list(ready.distributions.values()), list(ready.weights.values()))
        except ValueError:
            raise QuorumError(_NO_POOL[pooling]) from None
        return {**ready.update, "distribution": pooled, **({} if pooling == "linear" else {"pooling": pooling})}

    return step


@step_maker()
def own_aggregate(part: OwnPart, *, priors: Priors, quorum: int, share: float, vote_pooling: VotePooling) -> Body:
    """Step that writes the same, as a part of the application's own has pooled the distributions."""

    def step(state: State) -> Steps:
        ready = _ready(state, priors, quorum, share, vote_pooling)
        count = len(next(iter(ready.distributions.values())))
        given = {"distributions": ready.distributions, "weights": ready.weights}
        outcome = yield ask.own(part, given)
        return {**ready.update, "distribution": checked_pool(outcome.value, count, part.place), "pooling": OWN_POOLING}

    return step


def checked_pool(said: object, count: int, place: str) -> list[float]:
    """What a pooling function of the application's own returns for `count` options.

    Raises:
        TypeError: it is no sequence of numbers, which is a mistake in the application.
        ModelCallError: it is no distribution over the options.
    """
    try:
        shares = [float(share) for share in said]  # type: ignore[attr-defined]
    except (TypeError, ValueError):
        raise TypeError(f"{place} returned {said!r}; return one probability for each option.") from None
    if not is_distribution(shares, count):
        raise ModelCallError(
            f"{place} returned {shares}; a distribution over {count} options is {count} numbers from 0 that sum to 1."
        )
    return shares


def pooled_as(
    state: Mapping[str, Any], distributions: Sequence[Sequence[float]], weights: Sequence[float]
) -> list[float] | None:
    """These distributions pooled as those of a run's state were: a list, or None where that is not known."""
    for name, pool in POOLS.items():
        if name == (state.get("pooling") or "linear"):
            with suppress(ValueError):
                return pool(distributions, weights)
    return None


class _Ready(NamedTuple):
    """What is pooled, by community, and all else that the step writes."""

    distributions: dict[str, list[float]]
    weights: dict[str, float]
    update: Update


def _ready(state: State, priors: Priors, quorum: int, share: float, pooling: VotePooling) -> _Ready:
    check_options(state.get("options"))
    for name, said in (state.get("comments") or {}).items():
        check_comment(name, said)
    for kind in ("distributions", "votes"):
        for name, read in (state.get(kind) or {}).items():
            _check_read(state, name, read, "vote" if kind == "votes" else "distribution")
    united: Update = {}
    if state.get("votes"):
        united = _united(state, share, pooling)
        comments = {**state["comments"], **united.get("comments", {})}
        state = {**state, **united, "comments": comments}
    of_question = _weights(state, priors)
    present = attendance(state, list(of_question), quorum)
    try:
        weights = normalise([of_question[name] for name in present.names])
    except ValueError:
        raise QuorumError(_nothing_to_pool(state)) from None
    read_by_name: list[OptionDistribution] = [state["distributions"][name] for name in present.names]
    distributions = [list(read["probabilities"]) for read in read_by_name]
    by_name = dict(zip(present.names, weights, strict=True))
    update = {
        "label_mass": _mean([read["mass"] for read in read_by_name], weights),
        "disagreement": disagreement(distributions, weights),
        "weights": by_name,
        "missing": present.missing,
    }
    return _Ready(dict(zip(present.names, distributions, strict=True)), by_name, plain_update({**update, **united}))


def _weights(state: State, priors: Priors) -> Mapping[str, float]:
    """The question's own priors, or else the pool's."""
    own: Mapping[str, float] | None = state.get("priors")
    of_pool = priors(state.get("attribute"))
    check_priors(own, list(of_pool))
    return of_pool if own is None else {name: own.get(name, 0.0) for name in of_pool}


_WITH_VOTE = "+vote"
"""What `read_from` ends with where a community's two voices are one distribution already."""


def _check_read(state: State, name: str, read: Any, what: str) -> None:
    """Raise InputError where a community's distribution is none over the options, or was read from something else than
    what the state has: people may edit a state."""
    shares = read.get("probabilities") if isinstance(read, Mapping) else None
    count = len(state["options"])
    if not isinstance(shares, Sequence) or not is_distribution(shares, count):
        raise InputError(
            f"The {what} of {name} in the state is none over the question's {count} options; write it with as many "
            "`probabilities`, or ask anew."
        )
    said = (state.get("comments") or {}).get(name) if what == "distribution" else None
    origin = read.get("read_from")
    if origin is not None and origin.removesuffix(_WITH_VOTE) != read_from(state, said):
        raise InputError(
            f"The {what} of {name} was read from another comment or question than the state has now; ask anew, of a "
            f"graph built with comments={{{name!r}: ...}} where you have edited the comment, or write the {what}, too."
        )


def _united(state: State, share: float, pooling: VotePooling) -> Update:
    votes: Mapping[str, OptionDistribution] = state["votes"]
    said: Mapping[str, Comment] = state["comments"]
    readings: dict[str, OptionDistribution] = {}
    united: dict[str, OptionDistribution] = {}
    comments: dict[str, Comment] = {}
    for name, read in state["distributions"].items():
        if name not in votes:
            continue
        if read.get("read_from", "").endswith(_WITH_VOTE):  # an earlier time has united them, before an edit
            readings[name], united[name] = state["readings"][name], read
            continue
        readings[name] = read
        try:
            united[name] = unite(read, votes[name], share=share, pooling=pooling)
        except ValueError:
            comments[name] = {**said[name], "error": _NOTHING_IN_COMMON}
    update: Update = {"readings": readings, "distributions": united}
    return {**update, "comments": comments} if comments else update


def unite(
    reading: OptionDistribution, vote: OptionDistribution, *, share: float, pooling: VotePooling
) -> OptionDistribution:
    """One distribution of a community's two voices, in which its vote has the weight `share` (0 to 1), and what the
    base LLM reads in its comment the rest.

    Label masses are pooled linearly in either case, since they are no distributions.

    Raises:
        ValueError: pooled log-linearly, the two have no option in common.
    """
    weights = [1 - share, share]

    def pooled(distributions: Sequence[Sequence[float]]) -> list[float]:
        return POOLS[pooling](distributions, weights)

    labels = [voice["label"] for voice in (reading, vote) if voice["label"] is not None]
    samples = [voice["samples"] for voice in (reading, vote) if voice["samples"] is not None]
    united = OptionDistribution(
        probabilities=pooled([reading["probabilities"], vote["probabilities"]]),
        mass=_mean([reading["mass"], vote["mass"]], weights),
        scoring=vote["scoring"],
        samples=sum(samples) if samples else None,
        unread=[*reading["unread"], *(option for option in vote["unread"] if option not in reading["unread"])],
        label=pooled(labels) if len(labels) == 2 else None,
        label_mass=_mean([reading["label_mass"], vote["label_mass"]], weights),
    )
    if "read_from" in reading:
        united["read_from"] = reading["read_from"] + _WITH_VOTE
    return united


_NOTHING_IN_COMMON = (
    "Its vote and the reading of its comment have no option in common, so they cannot be pooled log-linearly; set "
    'vote_pooling = "linear" in the pool\'s [run] table.'
)


_NO_POOL: Mapping[Pooling, str] = {
    "log-linear": "The communities' distributions have no option in common, so they cannot be pooled log-linearly; "
    'choose the pooling "linear" or "median".',
    "median": 'Every option has a median of 0, so there is nothing to pool; choose the pooling "linear".',
}


def _nothing_to_pool(state: State) -> str:
    attribute = state.get("attribute")
    table = f" for {attribute!r}" if attribute else ""
    return f"Every community that answered has a prior of 0{table}, so there is nothing to pool."


def _mean(masses: Sequence[float | None], weights: Sequence[float]) -> float | None:
    known = [mass for mass in masses if mass is not None]
    if len(known) < len(masses):
        return None
    return math.fsum(weight * mass for weight, mass in zip(weights, known, strict=True))
