"""What a store holds of one run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, get_type_hints

from langgraph.checkpoint.base import CheckpointTuple

from modular_pluralism.errors import StoreError
from modular_pluralism.graphs.state import BY_COMMUNITY
from modular_pluralism.modes import find_mode
from modular_pluralism.runs.run_store import RunStore
from modular_pluralism.types import Mode

_OUTCOMES = ("answer", "choice", "distribution")


@dataclass(frozen=True)
class RunStep:
    """One checkpoint of the run: its number (-1 is the input), when (ISO 8601, UTC), and what was written before it."""

    step: int
    at: str
    wrote: list[str]


@dataclass(frozen=True)
class Contents:
    """`begun` is False where not even the input is there. `state` is the graph's state so far, with what single
    communities have said since its last checkpoint."""

    begun: bool = False
    state: dict[str, Any] = field(default_factory=dict)
    steps: list[RunStep] = field(default_factory=list)

    @property
    def finished(self) -> bool:
        """Whether the answer is there."""
        return any(self.state.get(key) is not None for key in _OUTCOMES)


async def read_contents(store: RunStore, run: str, mode: Mode) -> Contents:
    """Everything that the store holds of a run.

    Raises:
        StoreError: it cannot be read, or is damaged.
    """
    checkpoints = await read_checkpoints(store, run)
    with damage(store, run):
        return _contents(checkpoints, list(get_type_hints(find_mode(mode).state)))


async def read_checkpoints(store: RunStore, run: str) -> list[CheckpointTuple]:
    """The checkpoints of a run and of the branches in it, in the order of time."""
    checkpoints = [checkpoint async for checkpoint in store.saver.alist({"configurable": {"thread_id": run}})]
    return sorted(checkpoints, key=lambda kept: str(kept.checkpoint["id"]))


@contextmanager
def damage(store: RunStore, run: str) -> Iterator[None]:
    """Whatever does not look like a checkpoint of ours is a damaged one."""
    try:
        yield
    except (AttributeError, KeyError, TypeError, ValueError, IndexError, RecursionError) as error:
        raise StoreError(
            f"The run {run} is damaged in {store.shown} ({type(error).__name__}: {error}); `pluralism runs remove "
            f"{run}` removes it."
        ) from error


def _contents(checkpoints: list[CheckpointTuple], keys: list[str]) -> Contents:
    whole = [kept for kept in checkpoints if not kept.config["configurable"]["checkpoint_ns"]]
    if not whole:
        return Contents()
    values: Mapping[str, Any] = whole[-1].checkpoint["channel_values"]
    state = {key: values[key] for key in keys if key in values}
    for key in BY_COMMUNITY:
        said = _of_communities(checkpoints, key)
        if said and key in keys:
            state[key] = said
    return Contents(True, {key: state[key] for key in keys if key in state}, [_step(kept, keys) for kept in whole])


def _of_communities(checkpoints: list[CheckpointTuple], key: str) -> dict[str, Any]:
    """What every community has left under `key`, be it in a checkpoint, in one of its own branch, or not yet in any."""
    merged: dict[str, Any] = {}
    for kept in checkpoints:
        merged |= kept.checkpoint["channel_values"].get(key) or {}
        for _, channel, value in kept.pending_writes or []:
            if channel == key:
                merged |= value or {}
    return merged


def _step(kept: CheckpointTuple, keys: list[str]) -> RunStep:
    values = kept.checkpoint["channel_values"]
    updated = kept.checkpoint.get("updated_channels") or []
    return RunStep(
        kept.metadata["step"], kept.checkpoint["ts"], [key for key in keys if key in updated and values.get(key)]
    )
