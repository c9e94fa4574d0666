"""The first node: refuses a run that cannot mean anything, before any model is asked."""

from __future__ import annotations

from collections.abc import Sequence

from modular_pluralism.modes import Takes, find_mode
from modular_pluralism.nodes.request import check_parts
from modular_pluralism.nodes.step import Body, State, Update, step_maker


@step_maker()
def check(*, results: Sequence[str], mode: str, takes: Takes, any_mode: bool = False) -> Body:
    """Step that checks the question's parts, for a mode that takes these, or for `any_mode`, that the question names
    one.

    It also empties the `results` that an earlier run on the same thread left in the state: without that, the answer to
    one question would stand below the next one until there is a new answer, or for good where the new run leaves none
    of its kind.

    Raises (in the step):
        InputError: a part is missing, unusable, or not for this mode.
    """

    def step(state: State) -> Update:
        if any_mode:
            find_mode(state.get("mode"))
        check_parts(state, mode, takes)
        return {key: None for key in results if state.get(key) is not None}

    return step
