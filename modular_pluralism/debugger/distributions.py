"""What a distributional run found, put so that it can be looked at."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from modular_pluralism.debugger.build import OwnModels, build_graph
from modular_pluralism.debugger.history import KeptRun
from modular_pluralism.errors import InputError, ModelCallError
from modular_pluralism.evaluation.measures.distances import js_distance
from modular_pluralism.graphs.shape import graph_nodes
from modular_pluralism.models.calls import Caller
from modular_pluralism.models.pool_models import PoolModels
from modular_pluralism.nodes.aggregate import pooled_as
from modular_pluralism.nodes.step import StepNode
from modular_pluralism.option_math import entropy
from modular_pluralism.types import OptionDistribution, Scoring

SELECTION_NOTE = (
    "The base LLM reports no log-probabilities: its reply was read as a number; how sure it was is not known."
)
"""Of a selection without probabilities."""


@dataclass(frozen=True)
class CommunityDistribution:
    """One community's distribution. `weight` is its share in the pool, `label` what the options' own order alone gives
    (None where it was not read), and `distance` the JS distance to the pooled distribution (base e, 0 to 0.833)."""

    community: str
    read: OptionDistribution
    weight: float
    distance: float


@dataclass(frozen=True)
class DistributionView:
    """What the state does not say itself. `label_pooled` is the pool of what the scoring "label" reads, where that is
    known. The state's disagreement, in nats, could be `most_disagreement` at most."""

    communities: list[CommunityDistribution]
    label_pooled: list[float] | None
    most_disagreement: float


def describe_distributions(state: Mapping[str, Any]) -> DistributionView:
    """The distributions of a distributional run's state.

    Raises:
        InputError: there are none.
    """
    pooled, weights = state.get("distribution"), state.get("weights")
    if not isinstance(pooled, list) or not weights:
        raise InputError("The run has no pooled distribution; look at a distributional run that has finished.")
    of_each: dict[str, OptionDistribution] = state["distributions"]
    names = [name for name in of_each if name in weights]
    return DistributionView(
        communities=[
            CommunityDistribution(
                name, of_each[name], weights[name], js_distance(of_each[name]["probabilities"], pooled)
            )
            for name in names
        ],
        label_pooled=_label_pooled(state, [of_each[name] for name in names], [weights[name] for name in names]),
        most_disagreement=min(entropy([weights[name] for name in names]), math.log(len(state["options"]))),
    )


def can_be_read_otherwise(run: KeptRun) -> bool:
    """Whether `read_otherwise` can ask a model for the same by another scoring: of one voice, which is no record."""
    return run.setup.voice in ("comment", "vote")


async def read_otherwise(run: KeptRun, scoring: Scoring, *, models: OwnModels = None) -> dict[str, OptionDistribution]:
    """Every community's distribution by another scoring, for the comments of a distributional run, of which the base
    LLM is asked, or for its votes, of which the communities are; nothing is kept. What the run has read by "label"
    beside "rotate" is taken from it.

    Raises:
        InputError: it is no distributional run, or has no distributions, or has heard records or several voices.
        StoreError: the pool or the prompts have changed since.
        ModelCallError, DeadlineError, ContextOverflowError: a model failed.
    """
    voice = run.setup.voice
    if run.setup.mode != "distributional" or not run.state.get("distributions"):
        raise InputError("Only a distributional run that has distributions can be scored otherwise.")
    known: dict[str, OptionDistribution] = run.state["distributions"]
    if scoring == "label" and all(each["label"] is not None for each in known.values()):
        return {name: _as_label(each) for name, each in known.items()}
    if not can_be_read_otherwise(run):
        raise InputError(f"This run has heard {voice}, of which nothing can be read otherwise alone; ask it anew.")
    made_of = run.setup.load()
    graph = build_graph(run.setup.mode, scoring, made_of, PoolModels(made_of.pool, models), voice=voice)
    caller = Caller(attempts=made_of.pool.run.attempts, deadline=made_of.pool.run.deadline)
    distributions: dict[str, OptionDistribution] = {}
    for node in graph_nodes(graph):
        if node.community in known and node.role in ("score", "vote") and node.key is not None:
            labels = {"role": node.role, "community": node.community}
            update = await StepNode(node.key.step, caller, node.name, labels).ainvoke(run.state)
            if "distributions" not in update:
                raise ModelCallError(update["comments"][node.community]["error"])
            distributions |= update["distributions"]
    return distributions


def _as_label(read: OptionDistribution) -> OptionDistribution:
    assert read["label"] is not None
    return {**read, "probabilities": read["label"], "mass": read["label_mass"], "scoring": "label"}


def _label_pooled(
    state: Mapping[str, Any], of_each: list[OptionDistribution], weights: list[float]
) -> list[float] | None:
    labels = [each["label"] for each in of_each if each["label"] is not None]
    return pooled_as(state, labels, weights) if len(labels) == len(of_each) else None
