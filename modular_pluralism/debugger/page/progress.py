"""What is known of a run so far, put together from its events, for any number of browser tabs to look at."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

from modular_pluralism.debugger.events import (
    CallMade,
    Event,
    NodeEnded,
    NodeRetried,
    NodeStarted,
    NodeToken,
    RunEnded,
    RunStarted,
)
from modular_pluralism.debugger.history import KeptRun
from modular_pluralism.debugger.page.elements import number, seconds
from modular_pluralism.debugger.page.words import role_words
from modular_pluralism.debugger.records import CallRecord
from modular_pluralism.graphs.state import BY_COMMUNITY
from modular_pluralism.modes import shown_answer
from modular_pluralism.types import CommentEvidence

_AT_WORK = ("started", "speaking", "scoring")


def box_of(node: str) -> str:
    """The node whose box stands for this one: a community's box stands for its comment and what follows it."""
    return node.partition("/")[0]


@dataclass
class NodeProgress:
    """What the box of a node shows. `stretches` of text have come from the call that is on; `reasoning` is what a
    thinking model wrote before the text, and `evidence` what a community was told before it."""

    state: str = "waiting"
    text: str = ""
    reasoning: str = ""
    evidence: CommentEvidence | None = None
    error: str | None = None
    seconds: float = 0.0
    began: float | None = None
    tries: int = 1
    stretches: int = 0
    calls: list[CallRecord] = field(default_factory=list)
    source: str | None = None

    @property
    def said(self) -> int:
        """Tokens written; of a call that is on, the stretches of text, as its tokens are not counted yet."""
        return sum(call.completion_tokens or 0 for call in self.calls) if self.calls else self.stretches

    @property
    def attempts(self) -> int:
        """How often a call was made at most."""
        return max([self.tries, *(call.attempts for call in self.calls)])

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
        read = sum(call.prompt_tokens or 0 for call in self.calls)
        of_cache = sum(call.cached_tokens or 0 for call in self.calls)
        cached = f" ({number(of_cache)} from the cache)" if of_cache else ""
        told = {
            f"{number(self.said)} tokens said": self.said,
            f"{number(read)} read{cached}": read,
            seconds(spent): spent,
            f"{self.attempts} tries": self.attempts > 1,
            "cut off at its limit": any(call.finish_reason == "length" for call in self.calls),
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
        self._titles: dict[str, str] = {}
        self._nodes: dict[str, NodeProgress] = {}

    def __getitem__(self, node: str) -> NodeProgress:
        return self._nodes.setdefault(box_of(node), NodeProgress())

    def title(self, node: str) -> str:
        """What a box is called: its community, or what the node does."""
        return self._titles.get(node, node)

    def take(self, event: Event) -> None:
        """Put an event to the others."""
        self.version += 1
        match event:
            case RunStarted(nodes=nodes):
                for box in nodes:
                    self[box.id]
                    if box.community is None:
                        self._titles[box.id] = role_words(box.role).title
            case NodeStarted(node=node):
                self[node].state = "scoring" if "/" in node else "started"
                self[node].began = time.monotonic()
            case NodeToken(node=node, text=more):
                self[node].state = "speaking"
                self[node].text += more
                self[node].stretches += 1
            case NodeRetried(node=node, attempt=attempt):
                self[node].tries, self[node].text, self[node].stretches = attempt, "", 0
            case CallMade(node=node, record=record):
                self[node].calls.append(record)
            case NodeEnded():
                self._finish(event)
            case RunEnded(state=state, error=error, result=result):
                self._close(state)
                self.final, self.error = result or self.final, error

    def fill(self, kept: KeptRun, calls: Sequence[CallRecord]) -> None:
        """Everything at once, for a run that nobody here has watched."""
        self.take(RunStarted(self.run, kept.nodes))
        for record in calls:
            self.take(CallMade(record.node, record))
            self[record.node].seconds += record.seconds or 0.0
        comments = kept.state.get("comments") or {}
        for node in dict.fromkeys(node for step in kept.steps for node in step.nodes):
            update = {"comments": {node: comments[node]}} if node in comments else {}
            source = kept.reused.get(node)
            self.take(NodeEnded(node, "reused" if source else "finished", 0.0, update, source=source))
        self[kept.nodes[-1].id].text = shown_answer(kept.state)
        self.final = kept.state
        if kept.listed.state != "running":
            self.take(RunEnded(kept.listed.state, 0.0, kept.state, kept.listed.error))

    @property
    def done(self) -> bool:
        """Whether nothing more will happen."""
        return self.state != "running"

    def _finish(self, event: NodeEnded) -> None:
        node, update = self[event.node], event.update
        self._end(node, event.state)
        node.source = event.source or node.source
        node.error = event.error or node.error
        for name, comment in (update.get("comments") or {}).items():
            if comment["error"]:
                node.state, node.error = "failed", comment["error"]
            else:
                node.text, node.reasoning = comment["text"], comment.get("reasoning", "")
                node.evidence = comment.get("evidence")
                node.state = "edited" if name in self._edited else node.state
        for candidate in (update.get("candidates") or {}).values():
            node.text, node.error = candidate["text"], candidate["error"]
            node.state = "failed" if candidate["error"] else node.state
        node.text = shown_answer(update) or node.text
        for key, value in update.items():
            self.final[key] = {**(self.final.get(key) or {}), **(value or {})} if key in BY_COMMUNITY else value

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
