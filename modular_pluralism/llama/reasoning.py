"""Reasoning before a text: told from it on the tokens, with a budget of its own that takes nothing from the text's.

A marker that is a special token is known by that token, so that a text which only spells it is no marker; one that the
vocabulary has no token for is known by its bytes, however they are cut into tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum, auto

from modular_pluralism.errors import InputError
from modular_pluralism.llama.model_file import ModelFile

_BYTES = 256


@dataclass(frozen=True)
class Reasoning:
    """Reasoning with which a reply may begin.

    `begin`: the tokens of the marker before it; none where the prompt has begun it. `end`: those of the marker after
    it. `closing`: what is written where the budget is spent (the end marker, and what a template writes between it and
    the text). `most`: the tokens that it may take; None for all that the context leaves beside the text's own.

    Raises:
        InputError: it has no end, or its budget is below 1.
    """

    begin: tuple[int, ...]
    end: tuple[int, ...]
    closing: tuple[int, ...]
    most: int | None = None

    def __post_init__(self) -> None:
        if not self.end or not self.closing:
            raise InputError("Reasoning needs a marker that ends it.")
        if self.most is not None and self.most < 1:
            raise InputError(f"The tokens for reasoning are {self.most}; give it at least 1, or turn it off.")


class Place(Enum):
    """Where a reply has got to. Before the marker it may be either."""

    BEFORE = auto()
    REASONING = auto()
    TEXT = auto()


class ReasoningStream:
    """Takes a reply's tokens as they come, and says which of their bytes are reasoning and which are text.

    A sign is a special token, or one byte of any other.
    """

    def __init__(self, model: ModelFile, reasoning: Reasoning) -> None:
        self._special = model.special_tokens.spelled
        self._piece: Callable[[int], bytes] = model.piece
        self._begin, self._end = self._signs(reasoning.begin), self._signs(reasoning.end)
        self._held: list[int] = []
        self._text_has_begun = True
        self.place = Place.BEFORE
        if not reasoning.begin:
            self.place, self._text_has_begun = Place.REASONING, False

    def feed(self, token: int) -> tuple[bytes, bytes]:
        """The bytes of reasoning, and those of the text, that have become certain; markers are neither."""
        thought, said = list[int](), list[int]()
        for sign in self._signs([token]):
            if self.place is Place.BEFORE:
                said += self._before(sign)
            elif self.place is Place.REASONING:
                thought += self._within(sign)
            elif self._text_has_begun or not self._bytes([sign]).isspace():
                self._text_has_begun = True
                said.append(sign)
        return self._bytes(thought), self._bytes(said)

    def finish(self) -> tuple[bytes, bytes]:
        """What was held back, since it might have become a marker."""
        rest, self._held = self._bytes(self._held), []
        return (rest, b"") if self.place is Place.REASONING else (b"", rest)

    def _before(self, sign: int) -> list[int]:
        self._held.append(sign)
        blank = next((at for at, each in enumerate(self._held) if not self._bytes([each]).isspace()), len(self._held))
        begun = self._held[blank:]
        if begun == self._begin:
            self.place, self._text_has_begun, self._held = Place.REASONING, False, []
        elif begun != self._begin[: len(begun)]:
            self.place, said, self._held = Place.TEXT, self._held, []
            return said
        return []

    def _within(self, sign: int) -> list[int]:
        self._held.append(sign)
        certain = []
        while self._held != self._end[: len(self._held)]:
            certain.append(self._held.pop(0))
        if self._held == self._end:
            self.place, self._held = Place.TEXT, []
        return certain

    def _signs(self, tokens: Sequence[int]) -> list[int]:
        signs: list[int] = []
        for token in tokens:
            signs += [token + _BYTES] if token in self._special else self._piece(token)
        return signs

    def _bytes(self, signs: Sequence[int]) -> bytes:
        return b"".join(self._piece(sign - _BYTES) if sign >= _BYTES else bytes([sign]) for sign in signs)
