"""What a run has found, under one key: so that two modes stand side by side in a parent graph."""

from __future__ import annotations

from collections.abc import Sequence

from modular_pluralism.nodes.step import Body, State, Update, step_maker


@step_maker()
def gather(*, results: Sequence[str], into: str) -> Body:
    """Step that writes all `results` that there are to the key `into`."""

    def step(state: State) -> Update:
        return {into: {key: state[key] for key in results if key in state}}

    return step
