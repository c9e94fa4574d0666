"""Distributional: the communities' distributions are pooled with their priors (section 3)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from modular_pluralism.errors import InputError, ModelCallError, QuorumError
from modular_pluralism.models.answerer import OwnPart
from modular_pluralism.nodes import ask
from modular_pluralism.nodes.check import check_priors
from modular_pluralism.nodes.comment import failed
from modular_pluralism.nodes.noted import plain_update
from modular_pluralism.nodes.quorum import attendance, check_comment
from modular_pluralism.nodes.read_options import read_from
from modular_pluralism.nodes.request import check_options
from modular_pluralism.nodes.step import Body, State, Steps, Update, step_maker
from modular_pluralism.option_math import POOLS, disagreement, is_distribution, normalise, tempered
from modular_pluralism.types import Comment, OptionDistribution, Pooling, Voice, VoicePooling

OWN_POOLING = "own"
"""What the state calls a pooling of the application's own."""

Priors = Callable[[str | None], Mapping[str, float]]
"""The weight of every community for a question's attribute (None: the question has none), in the pool's order."""


HEARD_IN: Mapping[Voice, str] = {"comment": "readings", "vote": "votes", "record": "records"}
"""Where the state has what each voice says, of communities that are heard by several."""


@dataclass(frozen=True)
class Voicing:
    """How the voices of a community become one: their weights, relative to each other (1 where they have none), how
    they are pooled, and the temperature at which each is taken before (1, as it is, where it has none)."""

    weights: Mapping[Voice, float]
    pooling: VoicePooling = "linear"
    temperatures: Mapping[Voice, float] = field(default_factory=dict)

    def weight(self, voice: Voice, read: OptionDistribution) -> float:
        """The weight of what a voice says: of a record, as far as its evidence is near."""
        weight = self.weights.get(voice, 1.0)
        return weight * read["evidence"]["opening"] if "evidence" in read else weight


@step_maker()
def aggregate(*, priors: Priors, quorum: int, voices: Voicing, pooling: Pooling) -> Body:
    """Step that writes `distribution`, `label_mass`, `disagreement`, `weights` and `missing`, and `pooling` unless
    that is linear.

    `weights` are the question's or the pool's priors of the communities that answered, normalised. `disagreement` is
    the generalised Jensen-Shannon divergence of their distributions, in nats, however they are pooled.

    Where communities are heard by several voices, those of each become one distribution first, as `unite` does it: what
    the base LLM read in the comments is kept in `readings`, beside `votes` and `records`, and the united distributions
    stand in `distributions`. A community whose voices have no option in common gets an error, and counts as missing.
    """

    def step(state: State) -> Update:
        ready = _ready(state, priors, quorum, voices)
        try:
            pooled = POOLS[pooling](list(ready.distributions.values()), list(ready.weights.values()))
        except ValueError:
            raise QuorumError(_NO_POOL[pooling]) from None
        return {**ready.update, "distribution": pooled, **({} if pooling == "linear" else {"pooling": pooling})}

    return step


@step_maker()
def own_aggregate(part: OwnPart, *, priors: Priors, quorum: int, voices: Voicing) -> Body:
    """Step that writes the same, as a part of the application's own has pooled the distributions."""

    def step(state: State) -> Steps:
        ready = _ready(state, priors, quorum, voices)
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


def _ready(state: State, priors: Priors, quorum: int, voices: Voicing) -> _Ready:
    check_options(state.get("options"))
    for name, said in (state.get("comments") or {}).items():
        check_comment(name, said)
    for kind, what in (("distributions", "distribution"), ("votes", "vote"), ("records", "record")):
        for name, read in (state.get(kind) or {}).items():
            _check_read(state, name, read, what)
    united: Update = {}
    if any(state.get(HEARD_IN[voice]) for voice in ("vote", "record")):
        united = _united(state, voices)
        comments = {**state["comments"], **united.get("comments", {})}
        state = {**state, **united, "comments": comments}
    of_question = weights_of(state, priors)
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


def weights_of(state: State, priors: Priors) -> Mapping[str, float]:
    """The question's own priors, or else the pool's."""
    own: Mapping[str, float] | None = state.get("priors")
    of_pool = priors(state.get("attribute"))
    check_priors(own, list(of_pool))
    return of_pool if own is None else {name: own.get(name, 0.0) for name in of_pool}


def shares_of(state: State, priors: Priors) -> dict[str, float]:
    """The communities' weights as shares of all weight; none where nobody has any."""
    weights = weights_of(state, priors)
    try:
        return dict(zip(weights, normalise(list(weights.values())), strict=True))
    except ValueError:
        return {}


_UNITED = "+voices"
"""What `read_from` ends with where a community's voices are one distribution already."""


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
    if origin is not None and origin.removesuffix(_UNITED) != read_from(state, said):
        raise InputError(
            f"The {what} of {name} was read from another comment or question than the state has now; ask anew, of a "
            f"graph built with comments={{{name!r}: ...}} where you have edited the comment, or write the {what}, too."
        )


def _united(state: State, voices: Voicing) -> Update:
    """What each community's voices become together; where an earlier time has united them before an edit, it stays."""
    said: Mapping[str, Comment] = state.get("comments") or {}
    first: Mapping[str, OptionDistribution] = state.get("distributions") or {}
    readings: dict[str, OptionDistribution] = {}
    united: dict[str, OptionDistribution] = {}
    comments: dict[str, Comment] = {}
    by_voice = {voice: state.get(key) or {} for voice, key in HEARD_IN.items()}
    for name in dict.fromkeys([*first, *by_voice["vote"], *by_voice["record"]]):
        read = first.get(name)
        if read is not None and read.get("read_from", "").endswith(_UNITED):
            united[name] = read
            if reading := (state.get("readings") or {}).get(name):
                readings[name] = reading
            continue
        if name in said and said[name]["error"] is not None:
            continue
        heard: dict[Voice, OptionDistribution] = {} if read is None else {"comment": read}
        heard |= {voice: by_voice[voice][name] for voice in ("vote", "record") if name in by_voice[voice]}
        if read is not None:
            readings[name] = read
        try:
            united[name] = unite(heard, voices)
        except ValueError:
            weighted = any(voices.weight(voice, each) for voice, each in heard.items())
            error = _NOTHING_IN_COMMON if weighted else _NO_WEIGHT
            comments[name] = {**(said.get(name) or failed(name, "")), "error": error}
    update: Update = {"distributions": united, **({"readings": readings} if readings else {})}
    return {**update, "comments": comments} if comments else update


def unite(heard: Mapping[Voice, OptionDistribution], voices: Voicing) -> OptionDistribution:
    """One distribution of what a community's voices say. Each has its weight of `voices`, relative to the others that
    are heard; a record's is that part of it for which the gate is open, so that far from any answered question the
    others speak.

    Each is taken at its temperature: the united distribution is of the tempered ones, and what the voices themselves
    say stays as it is in the state.

    Label masses are pooled linearly in either case, since they are no distributions, and only of what was read from a
    model.

    Raises:
        ValueError: pooled log-linearly, the voices have no option in common; or all have the weight 0.
    """
    reads = list(heard.values())
    weights = normalise([voices.weight(voice, read) for voice, read in heard.items()])

    def pooled(distributions: Sequence[Sequence[float]], shares: Sequence[float]) -> list[float]:
        return POOLS[voices.pooling](distributions, shares)

    models = [(read, weight) for read, weight in zip(reads, weights, strict=True) if read["scoring"] is not None]
    of_models = [read for read, _ in models]
    total = math.fsum(weight for _, weight in models)
    shares = [weight / total for _, weight in models] if total else []
    temperatures = [voices.temperatures.get(voice, 1.0) for voice in heard]
    said = [tempered(read["probabilities"], each) for read, each in zip(reads, temperatures, strict=True)]
    labels = [
        tempered(read["label"], each)
        for read, each in zip(reads, temperatures, strict=True)
        if read["label"] is not None
    ]
    samples = [read["samples"] for read in reads if read["samples"] is not None]
    united = OptionDistribution(
        probabilities=pooled(said, weights),
        mass=_mean([read["mass"] for read in of_models], shares) if shares else None,
        scoring=of_models[-1]["scoring"] if of_models else None,
        samples=sum(samples) if samples else None,
        unread=list(dict.fromkeys(option for read in reads for option in read["unread"])),
        label=pooled(labels, weights) if len(labels) == len(reads) else None,
        label_mass=_mean([read["label_mass"] for read in of_models], shares) if shares else None,
    )
    if "record" in heard and "evidence" in heard["record"]:
        united["evidence"] = heard["record"]["evidence"]
    if (origin := reads[0].get("read_from")) is not None:
        united["read_from"] = origin + _UNITED
    return united


_NOTHING_IN_COMMON = (
    "Its voices have no option in common, so they cannot be pooled log-linearly; set "
    'voice_pooling = "linear" in the pool\'s [run] table.'
)


_NO_WEIGHT = (
    "None of its voices has a weight: give one besides the record a weight above 0 under voice_weights in the pool's "
    "[run] table."
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
