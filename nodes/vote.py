"""A community LM votes: its own probability of every option, with no comment in between."""

from __future__ import annotations

from modular_pluralism.models.pool_models import PoolModels
from modular_pluralism.nodes.comment import Speaker
from modular_pluralism.nodes.read_options import group_prompts, read_of_community
from modular_pluralism.nodes.step import Body, State, Steps, step_maker
from modular_pluralism.prompts import PromptSet
from modular_pluralism.types import Scoring


@step_maker(prompts=group_prompts("vote"))
def vote(
    community: Speaker,
    models: PoolModels,
    prompts: PromptSet,
    *,
    scoring: Scoring,
    samples: int,
    into: str = "distributions",
) -> Body:
    """Step that writes the community's own distribution, to `into` of the state under its name.

    A question's attribute is told, since the vote is that of those people. A community that fails leaves a comment with
    the error instead, and so counts as missing.
    """

    def step(state: State) -> Steps:
        name, persona = community.name, community.persona
        # Opened outside the reading, so that a pool that cannot work ends the run and does not pass for a silent one.
        model = models.community(name)
        reading = read_of_community(
            name, model, state, prompts, "vote", into=into, scoring=scoring, samples=samples, persona=persona
        )
        return (yield from reading)

    return step
