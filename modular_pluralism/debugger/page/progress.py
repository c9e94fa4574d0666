"""What is known of a run so far, put together from its events, for any number of browser tabs to look at."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

from modular_pluralism.debugger.events import (
    CallMade,
    Event,
    NodeFailed,
    NodeFinished,
    NodeInfo,
    NodeRetried,
    NodeReused,
    NodeStarted,
    NodeToken,
    NodeWaiting,
    RunFailed,
    RunFinished,
    RunStarted,
    RunStopped,
)
from modular_pluralism.debugger.history import KeptRun
from modular_pluralism.debugger.page.elements import number, seconds
from modular_pluralism.debugger.page.words import role_words
from modular_pluralism.debugger.records import CallRecord
from modular_pluralism.runs.contents import BY_COMMUNITY

_AT_WORK = ("started", "speaking", "scoring")


def box_of(node: str) -> str:
    """The node whose box stands for this one: a community's box stands for its comment and what follows it."""
    return node.partition("/")[0]


@dataclass
class NodeProgress:
    """What the box of a node shows."""

    state: str = "waiting"
    text: str = ""
    error: str | None = None
    seconds: float = 0.0
    began: float | None = None
    attempts: int = 1
    said: int = 0
    read: int = 0
    cached: int = 0
    calls: list[CallRecord] = field(default_factory=list)
    source: str | None = None
    cut: bool = False

    @property
    def short_cost(self) -> str:
        """Tokens, seconds and retries, in as few words as a box has room for."""
        if self.state in ("reused", "edited"):
            return ""
        spent = self._spent()
        told = {f"{number(self.said)} tok": self.said, seconds(spent): spent, f"try {self.attempts}": self.attempts > 1}
        return " · ".join(words for words, is_so in told.items() if is_so)

    @property
    def costs(self) -> list[str]:
        """The same in words."""
        if self.state == "edited":
            return ["what you wrote"]
        if self.state == "reused":
            return [f"from the run {self.source}" if self.source else "from an earlier run"]
        spent = self._spent()
        cached = f" ({number(self.cached)} from the cache)" if self.cached else ""
        told = {
            f"{number(self.said)} tokens said": self.said,
            f"{number(self.read)} read{cached}": self.read,
            seconds(spent): spent,
            f"{self.attempts} tries": self.attempts > 1,
            "cut off at its limit": self.cut,
        }
        return [words for words, is_so in told.items() if is_so]

    def _spent(self) -> float:
        if self.state in _AT_WORK and self.began is not None:
            return self.seconds + time.monotonic() - self.began
        return self.seconds if self.seconds >= 0.05 else 0.0


class RunProgress:
    """How far a run is, box by box. `version` grows with every change, so that whoever looks knows whether there is
    news. The comments of the communities in `edited` were written by somebody."""

    def __init__(self, run: str, edited: Collection[str] = ()) -> None:
        self.run = run
        self.state = "running"
        self.error: str | None = None
        self.final: dict[str, Any] = {}
        self.version = 0
        self._edited = frozenset(edited)
        self._roles: dict[str, str] = {}
        self._nodes: dict[str, NodeProgress] = {}

    def __getitem__(self, node: str) -> NodeProgress:
        return self._nodes.setdefault(box_of(node), NodeProgress())

    def title(self, node: str) -> str:
        """What a box is called: its community, or what the node does."""
        role = self._roles.get(node)
        return node if role is None else role_words(role).title

    def take(self, event: Event) -> None:
        """Put an event to the others."""
        self.version += 1
        match event:
            case RunStarted(nodes=nodes):
                self._begin_with(nodes)
            case NodeWaiting(node=node):
                self[node]
            case NodeStarted(node=node):
                self._begin(self[node], scoring="/" in node)
            case NodeToken(node=node, text=more):
                self._speak(self[node], more)
            case NodeRetried(node=node, attempt=attempt):
                self[node].attempts, self[node].text, self[node].said = attempt, "", 0
            case CallMade(node=node, record=record):
                self._count(self[node], record)
            case NodeFinished(node=node, update=update):
                self._finish(node, update, "finished")
            case NodeReused(node=node, update=update, source=source):
                self[node].source = source
                self._finish(node, update, "reused")
            case NodeFailed(node=node, error=error):
                self._end(self[node], "failed")
                self[node].error = error
            case RunFinished(state=state):
                self._close("finished")
                self.final = state
            case RunFailed(error=error):
                self._close("failed")
                self.error = error
            case RunStopped():
                self._close("stopped")

    def fill(self, kept: KeptRun, calls: Sequence[CallRecord]) -> None:
        """Everything at once, for a run that nobody here has watched."""
        self._begin_with(kept.nodes)
        for record in calls:
            self._count(self[record["node"]], record)
        for name, comment in (kept.state.get("comments") or {}).items():
            self._take_comment(name, comment)
        for id in [node for step in kept.steps for node in step.nodes]:
            if self[id].state == "waiting":
                self[id].state = "finished"
        for id, source in kept.reused.items():
            node = self[id]
            node.source = source
            node.state = "reused" if node.state == "finished" else node.state
        self[kept.nodes[-1].id].text = kept.state.get("answer") or ""
        self.final, self.error = kept.state, kept.listed.error
        if kept.listed.state != "running":
            self._close(kept.listed.state)
        self.version += 1

    @property
    def done(self) -> bool:
        """Whether nothing more will happen."""
        return self.state != "running"

    def _begin_with(self, nodes: Sequence[NodeInfo]) -> None:
        for info in nodes:
            self[info.id]
            if info.community is None:
                self._roles[info.id] = info.role

    def _begin(self, node: NodeProgress, *, scoring: bool) -> None:
        node.state = "scoring" if scoring else "started"
        node.began = time.monotonic()

    def _speak(self, node: NodeProgress, more: str) -> None:
        node.state = "speaking"
        node.text += more
        node.said += not node.calls  # the call's record knows how many there are

    def _count(self, node: NodeProgress, record: CallRecord) -> None:
        if not node.calls:
            node.said = 0  # so far stretches of text were counted
        node.calls.append(record)
        node.said += record["completion_tokens"] or 0
        node.read += record["prompt_tokens"] or 0
        node.cached += record["cached_tokens"] or 0
        node.attempts = max(node.attempts, record["attempts"])
        if node.began is None:
            node.seconds += record["seconds"] or 0.0

    def _finish(self, node: str, update: dict[str, Any], state: str) -> None:
        self._end(self[node], state)
        for name, comment in (update.get("comments") or {}).items():
            self._take_comment(name, comment, state)
        if update.get("answer"):
            self[node].text = update["answer"]
        for key, value in update.items():
            self.final[key] = {**(self.final.get(key) or {}), **(value or {})} if key in BY_COMMUNITY else value

    def _take_comment(self, name: str, comment: dict[str, Any], state: str = "finished") -> None:
        node = self[name]
        if comment["error"]:
            node.state, node.error = "failed", comment["error"]
            return
        if name in self._edited:
            node.state = "edited"
        elif node.state not in ("scoring", "reused"):
            node.state = state
        node.text, node.cut = comment["text"], comment["finish_reason"] == "length"
        node.said = max(node.said, comment["completion_tokens"])
        node.read = max(node.read, comment["prompt_tokens"])
        node.cached = max(node.cached, comment["cached_tokens"])
        node.attempts = max(node.attempts, comment["attempts"])
        node.seconds = node.seconds or comment["seconds"]

    def _end(self, node: NodeProgress, state: str) -> None:
        node.state = state
        if node.began is not None:
            node.seconds += time.monotonic() - node.began
            node.began = None

    def _close(self, state: str) -> None:
        self.state = state
        for node in self._nodes.values():
            if node.state in _AT_WORK:
                self._end(node, "stopped" if state == "stopped" else "failed")
            elif node.state == "waiting" and state != "finished":
                node.state = "skipped" if state == "failed" else "stopped"
