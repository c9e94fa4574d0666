"""The first node: refuses a run that cannot mean anything, before any model is asked."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from modular_pluralism.checked import shown
from modular_pluralism.errors import InputError
from modular_pluralism.models.pool_models import PoolModels
from modular_pluralism.modes import Takes, find_mode
from modular_pluralism.nodes.noted import plain_update
from modular_pluralism.nodes.request import check_parts
from modular_pluralism.nodes.step import Body, State, Update, step_maker
from modular_pluralism.nodes.tools import tools_of, uses_tools
from modular_pluralism.societal.contract import Contract


@step_maker()
def check(
    models: PoolModels,
    *,
    results: Sequence[str],
    mode: str,
    takes: Takes,
    communities: Sequence[str],
    any_mode: bool = False,
    no_tools: str | None = None,
    unusable: str | None = None,
) -> Body:
    """Step that checks the question's parts, for a mode that takes these, or for `any_mode`, that the question names
    one. `no_tools` says why the answer of this graph can call no tools, though its mode's can; `unusable` says why this
    graph, which may stand beside others of the same pool, can answer nothing.

    It also empties the `results` that an earlier run on the same thread left in the state: without that, the answer to
    one question would stand below the next one until there is a new answer, or for good where the new run leaves none
    of its kind.

    Raises (in the step):
        InputError: a part is missing, unusable, or not for this mode, the base LLM takes no tools, or the graph is
            `unusable`.
        ContractError: the contract is none, or names communities that are not asked.
    """

    def step(state: State) -> Update:
        if any_mode:
            find_mode(state.get("mode"))
        check_parts(state, mode, takes)
        if unusable is not None:
            raise InputError(unusable)
        if no_tools is not None and uses_tools(state):
            raise InputError(no_tools)
        if (tools := tools_of(state)) is not None:
            models.base().with_tools(*tools)  # before communities are asked for nothing
        check_priors(state.get("priors"), communities)
        if takes.choose and not any_mode and state.get("attribute") is not None and state.get("contract") is None:
            raise InputError(
                "Here an attribute only says which rules of a contract are for the question, and there is no contract; "
                "give one, or leave the attribute out."
            )
        if state.get("contract") is not None:
            Contract.from_data(plain_update(state["contract"])).check_holders(communities)
        return {key: None for key in results if state.get(key) is not None}

    return step


def check_priors(priors: Any, communities: Sequence[str]) -> None:
    """Raise InputError unless a question's priors are weights of these communities, or are left out."""
    if priors is None:
        return
    if not isinstance(priors, Mapping):
        raise InputError(f"The priors are {priors!r}; give a weight for each community by its name.")
    for name, weight in priors.items():
        if name not in communities:
            raise InputError(f"The priors name {name!r}; the communities are {', '.join(communities)}.")
        if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 <= weight <= sys.float_info.max:
            raise InputError(f"The prior of {name} is {shown(weight)}; give a number that is finite and not below 0.")
    if not any(priors.values()):
        raise InputError("The priors give no community a weight above 0; give at least one of them such a weight.")
