"""Thinking is off: a template is told so where it can be, and what it opens is closed, so that the answer comes next.

Options are read and comments are written right where the prompt ends. Where a model would think first, its reasoning
would be taken for the comment, and no option's letter would have any mass.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import jinja2
from jinja2 import meta

SWITCHES: Mapping[str, Any] = {
    "enable_thinking": False,
    "thinking": False,
    "reasoning": False,
    "thinking_budget": 0,
    "thinking_mode": "disabled",
}
"""Variables by which templates are told whether to think, each with the value that says no."""
_ON: Mapping[str, Any] = {"enable_thinking": True, "thinking": True, "reasoning": True, "thinking_mode": "enabled"}
"""Those that say yes, where that is another than what a template does by itself."""


class Markers(NamedTuple):
    """What stands before and after reasoning."""

    begin: str
    end: str


class Channels(NamedTuple):
    """Of a template whose prompt ends in `start`, after which a model says itself whether reasoning or its answer comes
    next; `known_by` is what tells such a template, and `answer` begins the channel for answers."""

    start: str
    known_by: str
    reasoning: Markers
    answer: str


_CHANNELS = (
    Channels(
        "<|start|>assistant",
        "<|channel|>",
        Markers("<|channel|>analysis<|message|>", "<|end|><|start|>assistant<|channel|>final<|message|>"),
        "<|channel|>final<|message|>",
    ),
    Channels(
        "<|begin|>assistant",
        "<|think|>",
        Markers("<|think|>", "<|end|><|begin|>assistant<|content|>"),
        "<|content|>",
    ),
    Channels(
        "<|start|>assistant",
        "to=self<|message|>",
        Markers("to=self<|message|>", "<|eom|><|start|>assistant to=user<|message|>"),
        " to=user<|message|>",
    ),
)
_STEPS = Markers("Here are my reasoning steps:", "[BEGIN FINAL RESPONSE]")
"""Of prompts alone: a reply that begins with these words may be a text."""
MARKERS = (
    Markers("<think>", "</think>"),
    Markers("<thinking>", "</thinking>"),
    Markers("<seed:think>", "</seed:think>"),
    Markers("<mm:think>", "</mm:think>"),
    Markers("<think:opensource>", "</think:opensource>"),
    Markers("[THINK]", "[/THINK]"),
    Markers("<|START_THINKING|>", "<|END_THINKING|>"),
    Markers("<|channel>thought", "<channel|>"),
    *(channels.reasoning for channels in _CHANNELS),
)


class Thinking:
    """What a template does about thinking: `source` is its text, `given` what a pool tells it, and `wanted` whether its
    model is to think.

    Where a switch is given the pool decides, and nothing is closed.
    """

    def __init__(
        self, environment: jinja2.Environment, source: str, given: Mapping[str, Any], *, wanted: bool = False
    ) -> None:
        read = meta.find_undeclared_variables(environment.parse(source))
        told = _ON if wanted else SWITCHES
        self._given = wanted or bool(read & {*SWITCHES, "reasoning_effort"} & set(given))
        known = {name: value for name, value in told.items() if name in read and name not in given}
        self.variables = known if wanted or not self._given else {}
        """What the template is told."""
        self._source = source

    @property
    def is_off(self) -> bool:
        """Whether no reply begins with reasoning."""
        return not self._given

    def closing(self, prompt: str, *, answered_at_once: bool = False) -> str:
        """What has to follow the prompt, so that the answer comes next: where thinking is off, or where it is to be
        `answered_at_once`, as an option's letter is."""
        if self._given and not answered_at_once:
            return ""
        if markers := opened_by(prompt):
            return closing_of(markers)
        if channels := self._channels(prompt):
            return channels.answer
        return "" if self._closed(prompt) or (self.variables and not self._given) else self._empty()

    def expected(self, prompt: str) -> Markers | None:
        """The markers between which a reply to the prompt may reason; of a prompt that has begun it, `begin` is empty.
        None where the template names none."""
        if opened := opened_by(prompt):
            return opened._replace(begin="")
        if channels := self._channels(prompt):
            return channels.reasoning
        if self._closed(prompt):
            return None
        return next((each for each in MARKERS if each.begin in self._source and each.end in self._source), None)

    def _channels(self, prompt: str) -> Channels | None:
        known = (each for each in _CHANNELS if each.known_by in self._source)
        return next((each for each in known if prompt.endswith(each.start)), None)

    def _closed(self, prompt: str) -> bool:
        return any(prompt.rstrip().endswith(end) for _, end in (*MARKERS, _STEPS))

    def _empty(self) -> str:
        """A template that knows both markers and has no switch is that of a model that begins to think by itself."""
        known = (f"{begin}\n\n{end}\n\n" for begin, end in MARKERS if begin in self._source and end in self._source)
        return next(known, "")


def closing_of(markers: Markers) -> str:
    """What ends reasoning that is to go no further: its marker, and the white space that templates put after it."""
    in_channels = any(markers.end.endswith(channels.answer) for channels in _CHANNELS)
    return markers.end if in_channels else f"{markers.end}\n\n"


def is_of_marker(spelling: str) -> bool:
    """Whether a token of this spelling may be a part of a marker."""
    return any(spelling in text for markers in (*MARKERS, _STEPS) for text in markers)


def opened_by(prompt: str) -> Markers | None:
    """The markers of which a prompt ends with the first, so that the reply begins with reasoning."""
    return next((each for each in (*MARKERS, _STEPS) if prompt.rstrip().endswith(each.begin)), None)


class ThoughtSplitter:
    """Tells reasoning that stands at the start of a text, between markers, from the text; piece by piece.

    `opened` are the markers of reasoning that the prompt has begun.
    """

    def __init__(self, opened: Markers | None = None) -> None:
        self._held = ""
        self._end = None if opened is None else opened.end
        self._in_text = self._text_has_begun = False

    @property
    def in_text(self) -> bool:
        """Whether all that comes is text."""
        return self._in_text

    def passed(self, piece: str) -> tuple[str, str]:
        """Reasoning and text that are certain after this piece."""
        if self._in_text:
            return "", self._text(piece)
        self._held += piece
        if self._end is None:
            begun = self._held.lstrip()
            markers = next((each for each in MARKERS if begun.startswith(each.begin)), None)
            if markers is None:
                if any(each.begin.startswith(begun) for each in MARKERS):
                    return "", ""
                return "", self._rest()
            self._end, self._held = markers.end, begun[len(markers.begin) :]
        thought, found, text = self._held.partition(self._end)
        if found:
            self._in_text, self._held = True, ""
            return thought, self._text(text)
        kept = next((n for n in range(len(self._end) - 1, 0, -1) if thought.endswith(self._end[:n])), 0)
        self._held = thought[len(thought) - kept :]
        return thought[: len(thought) - kept], ""

    def ended(self) -> tuple[str, str]:
        """What was held back at the end of the text."""
        if self._in_text:
            return "", ""
        rest = self._rest()
        return (rest, "") if self._end is not None else ("", rest)

    def _text(self, piece: str) -> str:
        """What a piece is of the text, which begins behind the white space after the reasoning."""
        text = piece if self._text_has_begun else piece.lstrip()
        self._text_has_begun = self._text_has_begun or bool(text)
        return text

    def _rest(self) -> str:
        rest, self._held = self._held, ""
        self._in_text = self._text_has_begun = True
        return rest
