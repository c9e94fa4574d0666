"""What is known of a run so far, put together from its events, for any number of browser tabs to look at."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
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
from modular_pluralism.debugger.record import CallRecord


@dataclass
class Box:
    """One box of the drawing. A community's box stands for its comment and, where there is one, its scoring."""

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
        parts = []
        if self.state in ("reused", "edited"):
            return ""
        if self.said:
            parts.append(f"{number(self.said)} tok")
        if spent := self._spent():
            parts.append(seconds(spent))
        if self.attempts > 1:
            parts.append(f"try {self.attempts}")
        return " · ".join(parts)

    @property
    def costs(self) -> list[str]:
        """The same in words."""
        if self.state == "edited":
            return ["what you wrote"]
        if self.state == "reused":
            return [f"from the run {self.source}" if self.source else "from an earlier run"]
        parts = []
        if self.said:
            parts.append(f"{number(self.said)} tokens said")
        if self.read:
            parts.append(
                f"{number(self.read)} read" + (f" ({number(self.cached)} from the cache)" if self.cached else "")
            )
        if spent := self._spent():
            parts.append(seconds(spent))
        if self.attempts > 1:
            parts.append(f"{self.attempts} tries")
        if self.cut:
            parts.append("cut off at its limit")
        return parts

    def _spent(self) -> float:
        if self.state in ("started", "speaking", "scoring") and self.began is not None:
            return self.seconds + time.monotonic() - self.began
        return self.seconds if self.seconds >= 0.05 else 0.0


class Board:
    """The boxes of a run. `version` grows with every change, so that whoever looks knows whether there is news. The
    comments of the communities in `edited` were written by somebody."""

    def __init__(self, run: str, edited: Collection[str] = ()) -> None:
        self.run = run
        self.state = "running"
        self.error: str | None = None
        self.final: dict[str, Any] = {}
        self.comments: dict[str, Any] = {}
        self.seconds = 0.0
        self.version = 0
        self._edited = frozenset(edited)
        self._boxes: dict[str, Box] = {}

    def __getitem__(self, node: str) -> Box:
        return self._boxes.setdefault(node.partition("/")[0], Box())

    def take(self, event: Event) -> None:
        """Put an event to the others."""
        self.version += 1
        match event:
            case RunStarted(nodes=nodes):
                self._draw(nodes)
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
            case RunFinished(state=state, seconds=spent):
                self._close("finished", spent)
                self.final = state
            case RunFailed(error=error, seconds=spent):
                self._close("failed", spent)
                self.error = error
            case RunStopped(seconds=spent):
                self._close("stopped", spent)

    def fill(self, kept: KeptRun, calls: Sequence[CallRecord]) -> None:
        """Everything at once, for a run that nobody here has watched."""
        self._draw(kept.nodes)
        for record in calls:
            self._count(self[record["node"]], record)
        ran = _nodes_of(kept.state)
        for name, comment in (kept.state.get("comments") or {}).items():
            self._take_comment(name, comment)
        for node, box in self._boxes.items():
            if node in ran and box.state == "waiting":
                box.state = "finished"
            if node in kept.reused:
                box.source = kept.reused[node]
                box.state = "reused" if box.state == "finished" else box.state
        self._answer(kept.state)
        self.final, self.error = kept.state, kept.listed.error
        if kept.listed.state != "running":
            self._close(kept.listed.state, 0.0)
        self.version += 1

    @property
    def done(self) -> bool:
        """Whether nothing more will happen."""
        return self.state != "running"

    def _draw(self, nodes: Sequence[NodeInfo]) -> None:
        for info in nodes:
            self[info.id]

    def _begin(self, box: Box, *, scoring: bool) -> None:
        box.state = "scoring" if scoring else "started"
        box.began = time.monotonic()

    def _speak(self, box: Box, more: str) -> None:
        box.state = "speaking"
        box.text += more
        box.said += not box.calls  # the call's record knows how many there are

    def _count(self, box: Box, record: CallRecord) -> None:
        if not box.calls:
            box.said = 0  # so far pieces of text were counted
        box.calls.append(record)
        box.said += record["completion_tokens"] or 0
        box.read += record["prompt_tokens"] or 0
        box.cached += record["cached_tokens"] or 0
        box.attempts = max(box.attempts, record["attempts"])
        if box.began is None:
            box.seconds += record["seconds"] or 0.0

    def _finish(self, node: str, update: dict[str, Any], state: str) -> None:
        self._end(self[node], state)
        for name, comment in (update.get("comments") or {}).items():
            self._take_comment(name, comment, state)
        self._answer(update)
        self.final = {**self.final, **{key: value for key, value in update.items() if key not in _BY_COMMUNITY}}
        for key in _BY_COMMUNITY:
            if update.get(key):
                self.final[key] = {**(self.final.get(key) or {}), **update[key]}

    def _take_comment(self, name: str, comment: dict[str, Any], state: str = "finished") -> None:
        box = self[name]
        self.comments[name] = comment
        if comment["error"]:
            box.state, box.error = "failed", comment["error"]
            return
        if name in self._edited:
            box.state = "edited"
        elif box.state not in ("scoring", "reused"):
            box.state = state
        box.text, box.cut = comment["text"], comment["finish_reason"] == "length"
        box.said = max(box.said, comment["completion_tokens"])
        box.read = max(box.read, comment["prompt_tokens"])
        box.cached = max(box.cached, comment["cached_tokens"])
        box.attempts = max(box.attempts, comment["attempts"])
        box.seconds = box.seconds or comment["seconds"]

    def _answer(self, update: dict[str, Any]) -> None:
        if update.get("answer"):
            self["respond" if update.get("selected") or "respond" in self._boxes else "merge"].text = update["answer"]

    def _end(self, box: Box, state: str) -> None:
        box.state = state
        if box.began is not None:
            box.seconds += time.monotonic() - box.began
            box.began = None

    def _close(self, state: str, spent: float) -> None:
        self.state, self.seconds = state, spent
        for box in self._boxes.values():
            if box.state in ("started", "speaking", "scoring"):
                self._end(box, "stopped" if state == "stopped" else "failed")
            elif box.state == "waiting" and state != "finished":
                box.state = "skipped" if state == "failed" else "stopped"


_BY_COMMUNITY = ("comments", "distributions", "votes")


def _nodes_of(state: Mapping[str, Any]) -> set[str]:
    """The nodes that have written into a state, but for communities that have said something only."""
    found = {"check"}
    if state.get("selected"):
        found.add("select")
    if state.get("weights"):
        found.add("aggregate")
    found.update(state.get("distributions") or {})  # communities that have voted and said nothing
    if state.get("answer") is not None or state.get("choice") is not None:
        found.add("respond" if state.get("selected") else "merge")
    return found
