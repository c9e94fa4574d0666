"""What happens in a run, as plain values in the order in which it happens."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from modular_pluralism.debugger.records import CallRecord
from modular_pluralism.graphs.shape import GraphNode


@dataclass(frozen=True)
class RunStarted:
    """The first event. `nodes` are those of the run's graph, whose turn has not come; their ids are what the other
    events call them."""

    run: str
    nodes: list[GraphNode]


@dataclass(frozen=True)
class NodeStarted:
    """Its turn has come."""

    node: str


@dataclass(frozen=True)
class NodeToken:
    """Some more text from its model."""

    node: str
    text: str


@dataclass(frozen=True)
class NodeRetried:
    """A call has failed and is made again: text that came before is void. `attempt` is the number of the new try."""

    node: str
    attempt: int
    reason: str


@dataclass(frozen=True)
class CallMade:
    """A model call of the node has ended, well or not."""

    node: str
    record: CallRecord


@dataclass(frozen=True)
class NodeEnded:
    """`update` is what the node wrote into the state. One that has failed has an `error`; a community's leaves the run
    going on, any other node's ends it. One that is reused was not run: what it depends on is as in the run `source`,
    and so is its output."""

    node: str
    state: Literal["finished", "failed", "reused"]
    seconds: float
    update: dict[str, Any] = field(default_factory=dict)
    error: str | None = None
    source: str | None = None


@dataclass(frozen=True)
class RunEnded:
    """The last event. A run that has finished has a `result`, the graph's final state; one that has failed has an
    `error`. One that somebody has stopped has neither. It is kept in any case, and can be forked."""

    state: Literal["finished", "failed", "stopped"]
    seconds: float
    result: dict[str, Any] = field(default_factory=dict)
    error: str | None = None


Event = RunStarted | NodeStarted | NodeToken | NodeRetried | CallMade | NodeEnded | RunEnded
