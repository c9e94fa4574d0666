"""What a model behind an endpoint takes, as far as its refusals have told: learnt once per process and model."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal
from urllib.parse import urlsplit

from modular_pluralism.models.redaction import redact
from modular_pluralism.models.refusals import highest_allowed, reason, refused_setting, shortened

_log = logging.getLogger(__name__)

MOST_LOGPROBS = 20
"""The most alternatives that OpenAI's API reports."""
REASONING_ROOM = 2048
"""Tokens that a short reply is given besides its own, once its model has spent them all on reasoning."""

_LimitName = Literal["max_tokens", "max_completion_tokens"]
_LIMITS = ("max_tokens", "max_completion_tokens")
_DROPPED = {
    "temperature": "its replies are drawn at its own temperature",
    "top_p": "its own top_p holds",
    "seed": "its replies cannot be repeated",
    "stream_options": "streams do not say how many tokens they cost",
}
"""What may be left out of a request, with what that means."""


@dataclass(frozen=True)
class Terms:
    """How a request to one model has to look: the settings it does without, the name of its limit (None: it takes
    none), how many alternatives of a token it reports (0: none), and how many tokens its reasoning is given."""

    limit_name: _LimitName | None
    without: frozenset[str] = frozenset()
    logprobs: int = MOST_LOGPROBS
    room: int = 0

    def applied(self, payload: Mapping[str, Any]) -> dict[str, Any]:
        """The request in these terms."""
        limits = [payload[name] for name in _LIMITS if name in payload]
        left_out = {*self.without, *_LIMITS}
        sent = {name: value for name, value in payload.items() if name not in left_out}
        if limits and limits[0] is not None and self.limit_name is not None:
            sent[self.limit_name] = limits[0] + self.room
        if isinstance(sent.get("top_logprobs"), int):
            sent["top_logprobs"] = min(sent["top_logprobs"], self.logprobs)
        return sent


_known: dict[tuple[str, str], Terms] = {}
_overran: set[tuple[str, str]] = set()
_lock = threading.Lock()


def forget_terms() -> None:
    """Forget what was learnt: for tests."""
    with _lock:
        _known.clear()
        _overran.clear()


@dataclass(frozen=True)
class TermsOf:
    """The terms of the model of that id at that address (None: OpenAI itself), which messages call `place`."""

    place: str
    address: str | None
    model: str

    def now(self) -> Terms:
        """What is known so far."""
        with _lock:
            return _known.get(self._key) or Terms(_usual_limit(self.address))

    def learn(self, error: BaseException, before: Terms) -> bool:
        """Whether the request, sent in the terms of `before`, is worth sending again after this refusal."""
        name = refused_setting(error)
        change: dict[str, Any] = {}
        told = ""
        if name in _DROPPED and name not in before.without:
            change, told = {"without": before.without | {name}}, f"goes on without it: {_DROPPED[name]}"
        elif name in _LIMITS and name == before.limit_name:
            other: _LimitName = "max_tokens" if name == "max_completion_tokens" else "max_completion_tokens"
            known = other not in before.without
            change = {"limit_name": other if known else None, "without": before.without | {name}}
            told = f"sends {other} instead" if known else "goes on without it: its replies are as long as it likes"
        elif name in ("top_logprobs", "logprobs") and before.logprobs:
            allowed = highest_allowed(error, before.logprobs)
            if allowed is None:  # there is no sense in asking again, here or later
                self._change(before, {"logprobs": 0}, error, "logprobs", "draws samples where they are needed")
                return False
            change, told = {"logprobs": allowed}, f"asks for {allowed}"
        if not change:
            return False
        self._change(before, change, error, str(name), told)
        return True

    def give_room(self, before: Terms) -> None:
        """Let the model reason from now on, besides what a reply may take."""
        self._change(before, {"room": REASONING_ROOM}, None, "", "")

    def note_length(self, tokens: int, most: int) -> None:
        """Tell, once a model, that a reply took more tokens than it was given."""
        with _lock:
            if tokens <= most or self._key in _overran:
                return
            _overran.add(self._key)
        _log.warning(
            "%s counted %d tokens of a reply that was given at most %d; it may not obey the limit.",
            *(self.place, tokens, most),
        )

    def _change(self, before: Terms, change: dict[str, Any], error: BaseException | None, name: str, told: str) -> None:
        with _lock:
            known = _known.get(self._key) or before
            if "without" in change:  # another call may have learnt something else meanwhile
                change = {**change, "without": known.without | change["without"]}
            new = replace(known, **change)
            if new == known:
                return
            _known[self._key] = new
        if error is None:
            _log.warning(
                "%s spends short replies on reasoning; it is given %d tokens more for each.", self.place, new.room
            )
        else:
            why = shortened(redact(reason(getattr(error, "body", None)) or str(error)))
            _log.warning("%s refuses %s (%s); this process %s.", self.place, name, why, told)

    @property
    def _key(self) -> tuple[str, str]:
        return (self.address or "", self.model)


def _usual_limit(address: str | None) -> _LimitName:
    """OpenAI's reasoning models know only the new name, and most other servers only the old one, some of which write on
    without a limit where they are given the other."""
    host = (urlsplit(address).hostname or "") if address else "api.openai.com"
    return "max_completion_tokens" if host.endswith((".openai.com", ".openai.azure.com")) else "max_tokens"
