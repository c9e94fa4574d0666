"""What a node tells of its work as it happens: events to whoever streams the run's custom events, and a line of the log
for a community or a candidate that has become missing."""

from __future__ import annotations

import logging
import time
import traceback
from collections.abc import Iterator, Mapping
from typing import Any

from langgraph.config import get_stream_writer
from langgraph.errors import GraphBubbleUp
from langgraph.types import StreamWriter

from modular_pluralism.errors import PluralismError
from modular_pluralism.models.calls import CallResult, describe
from modular_pluralism.models.redaction import redact
from modular_pluralism.models.reply_parts import TokenCounts
from modular_pluralism.types import Event, Happened

_log = logging.getLogger(__name__)
_DONE: Mapping[str, Happened] = {"score": "scored", "vote": "voted", "judge": "judged"}


class Telling:
    """Tells of one run of a node, from the first time that it asks a model; of a node that asks none, nothing.

    `labels` are the node's mode, role and community, as far as it has them.
    """

    def __init__(self, node: str, labels: Mapping[str, str]) -> None:
        self._node, self._labels = node, labels
        self._write: StreamWriter | None = None
        self._started: float | None = None
        self._attempts = 0
        self._tokens: dict[str, int] = {}
        self._failure: Exception | None = None

    def __enter__(self) -> None:
        """Around the whole run: what ends it is told, too."""

    def __exit__(self, _kind: object, error: BaseException | None, _traceback: object) -> None:
        # Not of LangGraph's own, with which a run is interrupted or sent elsewhere.
        if isinstance(error, Exception) and not isinstance(error, GraphBubbleUp) and self._started is not None:
            self._tell("failed", _reason(error))

    def asks(self) -> None:
        """The node is about to ask a model."""
        if self._started is None:
            self._started, self._write = time.monotonic(), _writer()
            self._tell("started")

    def answered(self, outcome: CallResult[Any]) -> None:
        """A model has answered."""
        self._attempts += outcome.attempts
        counts = TokenCounts.of(outcome.value)
        for name, count in (("input_tokens", counts.prompt), ("output_tokens", counts.completion)):
            if count is not None:
                self._tokens[name] = self._tokens.get(name, 0) + count

    def failed(self, error: Exception) -> None:
        """A call has failed, which the node may get over."""
        self._failure = error

    def wrote(self, update: Mapping[str, Any]) -> None:
        """The node has come to its end with this update of the state."""
        lost = dict(_errors(update, "comments"))
        for name, why in lost.items():
            _log.warning("%s is missing: %s", name, why, exc_info=_shown(self._failure, why))
        for name, why in _errors(update, "candidates"):
            _log.warning("The candidate %s is missing: %s", name, why, exc_info=_shown(self._failure, why))
            lost[name] = why
        if self._started is None:
            return
        if lost:
            self._tell("failed", " ".join(lost.values()))
        else:
            self._tell(_DONE.get(self._labels.get("role", ""), "answered"))

    def _tell(self, event: Happened, error: str | None = None) -> None:
        if self._write is None:
            return
        began = event == "started"
        told = Event(
            event=event,
            node=self._node,
            role=self._labels.get("role", self._node),
            community=self._labels.get("community"),
            mode=self._labels.get("mode"),
            seconds=None if began or self._started is None else round(time.monotonic() - self._started, 4),
            prompt_tokens=self._tokens.get("input_tokens"),
            completion_tokens=self._tokens.get("output_tokens"),
            attempts=self._attempts,
            error=error,
        )
        self._write(told)


def _errors(update: Mapping[str, Any], key: str) -> Iterator[tuple[str, str]]:
    """Who or what has failed among the comments or candidates of an update, and why."""
    for name, written in (update.get(key) or {}).items():
        if written["error"] is not None:
            yield name, written["error"]


def _writer() -> StreamWriter | None:
    """Where the run's custom events go; None outside of a graph."""
    try:
        return get_stream_writer()
    except (RuntimeError, KeyError):
        return None


def _reason(error: Exception) -> str:
    return redact(str(error)) if isinstance(error, PluralismError) else describe(error)


def _shown(error: Exception | None, why: str) -> Exception | None:
    """The error that a community is missing for, unless its traceback would show a key, or something that a terminal
    would obey."""
    if error is None or redact(str(error)) != why:  # it is missing for something else
        return None
    shown = "".join(traceback.format_exception(error))
    return error if redact(shown) == shown else None
