"""Steerable: a selector picks the comment that best reflects the attribute (section 3)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from numbers import Real

from modular_pluralism.errors import ModelCallError
from modular_pluralism.models.answerer import OwnPart
from modular_pluralism.models.pool_models import PoolModels
from modular_pluralism.nodes import ask
from modular_pluralism.nodes.own import heard
from modular_pluralism.nodes.pick import pick
from modular_pluralism.nodes.quorum import attendance
from modular_pluralism.nodes.render import comment_lines, fill
from modular_pluralism.nodes.step import Body, State, Steps, derive_seed, step_maker
from modular_pluralism.option_math import most_likely, normalise
from modular_pluralism.prompts import PromptSet
from modular_pluralism.types import Selection


@step_maker(prompts=["select", "numbered_comment"])
def select(models: PoolModels, prompts: PromptSet, *, communities: Sequence[str], quorum: int) -> Body:
    """Step that writes `selected` and `missing`."""

    def step(state: State) -> Steps:
        present = attendance(state, communities, quorum)
        messages = fill(prompts["select"], state, comments=comment_lines(prompts, present.comments))
        names = [comment["community"] for comment in present.comments]
        selected = yield from pick(models.base(), messages, names, derive_seed(state.get("seed") or 0, "select"))
        return {"selected": selected, "missing": present.missing}

    return step


@step_maker()
def own_select(part: OwnPart, *, communities: Sequence[str], quorum: int) -> Body:
    """Step that writes the same, as a part of the application's own has selected."""

    def step(state: State) -> Steps:
        present = attendance(state, communities, quorum)
        outcome = yield ask.own(part, heard(state, present, "select"))
        selected = selection(outcome.value, present.names, part.place, outcome.attempts)
        return {"selected": selected, "missing": present.missing}

    return step


def selection(said: object, communities: Sequence[str], place: str, attempts: int) -> Selection:
    """What a selector of the application's own says: the name of one of the communities, or weights by name, of which
    the largest counts.

    Raises:
        TypeError: it is neither, which is a mistake in the application.
        ModelCallError: it names a community that has not answered, or the weights are no weights.
    """
    if isinstance(said, str):
        _check_answered([said], communities, place)
        return Selection(community=said, probability=None, probabilities=None, mass=None, attempts=attempts)
    if not isinstance(said, Mapping) or not all(
        isinstance(name, str) and isinstance(weight, Real) for name, weight in said.items()
    ):
        raise TypeError(
            f"{place} returned {type(said).__name__}; return the name of a community, or a weight for each by name."
        )
    _check_answered(said, communities, place)
    try:
        probabilities = normalise([float(said.get(name, 0.0)) for name in communities])
    except ValueError:
        raise ModelCallError(
            f"{place} returned {dict(said)}; weights are finite and not negative, and one of them is above 0."
        ) from None
    best = most_likely(probabilities)
    return Selection(
        community=communities[best],
        probability=probabilities[best],
        probabilities=dict(zip(communities, probabilities, strict=True)),
        mass=None,
        attempts=attempts,
    )


def _check_answered(named: Iterable[str], communities: Sequence[str], place: str) -> None:
    for name in named:
        if name not in communities:
            raise ModelCallError(f"{place} named {name!r}; the communities that answered are {', '.join(communities)}.")
