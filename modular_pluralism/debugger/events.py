"""What happens in a run, as plain values in the order in which it happens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from modular_pluralism.debugger.records import CallRecord


@dataclass(frozen=True)
class NodeInfo:
    """One box of the graph's picture. `id` is what events call it: the node's name ("merge", or a community's for its
    comment), or "COMMUNITY/score" for the scoring in a community's branch. `role` is what it does ("check", "comment",
    "score", "merge", "select", "respond", "aggregate"), and `after` the ids of those before it."""

    id: str
    role: str
    community: str | None
    after: list[str]


@dataclass(frozen=True)
class RunStarted:
    """The first event."""

    run: str
    nodes: list[NodeInfo]


@dataclass(frozen=True)
class NodeWaiting:
    """The node is a part of the graph and its turn has not come."""

    node: str


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
class NodeFinished:
    """`update` is what the node wrote into the state."""

    node: str
    update: dict[str, Any]
    seconds: float


@dataclass(frozen=True)
class NodeFailed:
    """A community's failure leaves the run going on; any other node's ends it."""

    node: str
    error: str
    seconds: float


@dataclass(frozen=True)
class NodeReused:
    """The node was not run: what it depends on is as in the run `source`, and so is its output."""

    node: str
    update: dict[str, Any]
    source: str | None


@dataclass(frozen=True)
class RunFinished:
    """`state` is the final state."""

    state: dict[str, Any]
    seconds: float


@dataclass(frozen=True)
class RunFailed:
    """The run ended with an error; it is kept, and can be forked."""

    error: str
    seconds: float


@dataclass(frozen=True)
class RunStopped:
    """Somebody has stopped the run; it is kept, and can be forked."""

    seconds: float


Event = (
    RunStarted
    | NodeWaiting
    | NodeStarted
    | NodeToken
    | NodeRetried
    | CallMade
    | NodeFinished
    | NodeFailed
    | NodeReused
    | RunFinished
    | RunFailed
    | RunStopped
)
