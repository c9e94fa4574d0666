"""Every graph that there is, of the modes and of the baselines."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import product
from typing import Any, get_args

from langgraph.graph import StateGraph
from pydantic import BaseModel

from modular_pluralism.graphs.baselines import BASELINES, baseline_settings, prompted_modes
from modular_pluralism.graphs.shape import example_pool
from modular_pluralism.modes import modes
from modular_pluralism.pool import Pool
from modular_pluralism.types import Scoring


class _Schema(BaseModel):
    """Some schema."""


def every_graph() -> Iterator[tuple[str, Callable[..., StateGraph[Any, Any, Any, Any]], dict[str, Any]]]:
    """The name of a mode or a baseline, its builder, and settings: as many times as there are choices of these."""
    for mode in modes().values():
        yield from ((mode.name, mode.build, settings) for settings in mode.every_setting())
        if mode.structured:
            yield mode.name, mode.build, {"answer_schema": _Schema}
    for name, scoring, of_mode in product(BASELINES, get_args(Scoring), prompted_modes()):
        yield name, BASELINES[name], {"scoring": scoring, **baseline_settings(name, of_mode)}


def check_names(pool: Pool) -> None:
    """Raise PoolError where a community is called as a part of any graph is, be it one that is seldom used."""
    named = example_pool(pool.communities, pool.name)  # not the pool itself, which may lack what a voice needs
    for _, build, settings in every_graph():
        build(named, **settings)
