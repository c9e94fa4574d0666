"""A community's record speaks: what its people have answered to questions that are like this one."""

from __future__ import annotations

from modular_pluralism.errors import NoEvidenceError
from modular_pluralism.models.pool_models import PoolModels
from modular_pluralism.nodes.comment import RECORD_ERRORS, failure
from modular_pluralism.nodes.read_options import read_from
from modular_pluralism.nodes.step import Body, State, Update, step_maker
from modular_pluralism.records.record import Estimated
from modular_pluralism.records.similarity import Gate
from modular_pluralism.types import Evidence, OptionDistribution


@step_maker()
def recall(community: str, models: PoolModels, *, into: str = "distributions", alone: bool = True) -> Body:
    """Step that writes what the community's record says, to `into` of the state under its name, with the evidence.

    Where nothing in the record is near enough, the community leaves a comment with the error, and so counts as missing;
    unless it is heard by other voices too (`alone` is not set): those speak for it, and what the record says has no
    weight. A record that cannot be read or searched makes it missing in either case: see RECORD_ERRORS. What takes a
    while there is done off the event loop; see `PoolModels.record`.
    """

    def step(state: State) -> Update:
        try:
            record = models.record(community)
            found = record.estimate(state["question"], state["options"], state.get("attribute"))
        except RECORD_ERRORS as error:
            return failure(state, community, error)
        except NoEvidenceError as error:
            return failure(state, community, error) if alone else {}
        if alone and found.evidence["opening"] == 0:
            return failure(state, community, too_far(found.evidence, record.gate))
        return {into: {community: {**_distribution(found), "read_from": read_from(state, None)}}}

    return step


def too_far(evidence: Evidence, gate: Gate) -> NoEvidenceError:
    """What is said where a record that speaks alone has nothing near enough."""
    return NoEvidenceError(
        f"The nearest question of its record has a similarity of {evidence['nearness']:.2f}, and up to {gate.far:g} a "
        "record is not heard."
    )


def _distribution(found: Estimated) -> OptionDistribution:
    return OptionDistribution(
        probabilities=found.distribution,
        mass=None,
        scoring=None,
        samples=None,
        unread=[],
        label=None,
        label_mass=None,
        evidence=found.evidence,
    )
