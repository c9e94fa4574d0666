"""What in a text would become a token that templates use, where it must not: such spellings are cut in two.

Special are the control tokens, which llama.cpp makes out of text only where it is told to, and what a vocabulary calls
user-defined (`<think>`, gpt-oss' `<|start|>`), which it makes out of any text. Of the latter, single characters and
white space are text like any other.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from itertools import pairwise
from typing import Any

_SEGMENT = 4096


class SpecialTokens:
    """The special tokens of a vocabulary, each with its spelling in `spelled`."""

    def __init__(self, spelled: Mapping[int, str]) -> None:
        self.spelled = dict(spelled)
        spellings = set(filter(None, spelled.values()))
        inner = {sign for text in spellings for sign in text if not (sign.isalnum() or sign.isspace())}
        self.marks = frozenset(inner | {text[end] for text in spellings for end in (0, -1)})
        """The characters of the spellings that are no letters, digits or white space, and the first and last of each:
        where these are known to be data, no spelling is taken for a template's own."""
        # Looked for ahead, since they may overlap. The longest one that begins at a place is found.
        self._any = re.compile(f"(?=({_pattern(spellings)}))") if spellings else None

    def pieces(self, text: str, is_data: Callable[[int], bool] = lambda _place: True) -> list[str]:
        """The text in pieces, of which none holds a spelling with a character that is data: `is_data` tells that of the
        places in the text."""
        cuts = sorted({0, len(text), *self._cuts(text, is_data)})
        return [text[begin:end] for begin, end in pairwise(cuts)] or [text]

    def _cuts(self, text: str, is_data: Callable[[int], bool]) -> Iterator[int]:
        """Each is beside a character that is data, so that none goes through a spelling that is a template's own."""
        for match in self._any.finditer(text) if self._any else ():
            first, after = match.span(1)
            data = next(filter(is_data, range(first, after)), None)
            if data is not None:
                yield max(data, first + 1)


class OwnCuts:
    """Where llama.cpp cuts a text by itself, at tokens that it finds by their spelling: what stands before and behind
    is tokenized as if alone. For each such place it may look through the whole rest of the text, so that a text of many
    is better given to it in segments.

    `spellings` are those of all tokens that it finds; before those that are `joined` it does not quite cut.
    """

    def __init__(self, spellings: Iterable[str], joined: Set[str] = frozenset()) -> None:
        known = set(filter(None, spellings))
        self._any = re.compile(f"(?=({_pattern(known)}))") if known else None
        self._longest = max(map(len, known), default=0)
        self._joined = joined

    def segments(self, text: str, size: int = _SEGMENT) -> Iterator[str]:
        """The text in pieces of at least `size` characters that give the same tokens as the whole, each but the first
        beginning with a token's spelling. A text without such places is one piece."""
        begin = 0
        while begin + size < len(text) and (cut := self._cut(text, begin + size)):
            yield text[begin:cut]
            begin = cut
        yield text[begin:]

    def _cut(self, text: str, least: int) -> int | None:
        """The first place from `least` on where a spelling begins of which llama.cpp makes a token for certain: no
        other overlaps it, but for such as are looked for later, the shorter ones."""
        found: re.Match[str] | None = None
        reached = 0
        for match in self._any.finditer(text, max(0, least - self._longest)) if self._any else ():
            begin, end = match.span(1)
            if found is not None:
                if begin >= found.end(1):
                    break
                if end > found.end(1) and end - begin >= len(found[1]) and match[1] != found[1]:
                    found = None
            if found is None and begin >= max(least, reached) and match[1] not in self._joined:
                found = match
            reached = max(reached, end)
        return None if found is None else found.start(1)


def _pattern(spellings: Iterable[str]) -> str:
    """A regular expression for any of them, the longest first, which looks at a character of the text but once."""
    tree: dict[str, Any] = {}
    for text in spellings:
        branch = tree
        for sign in text:
            branch = branch.setdefault(sign, {})
        branch[""] = {}
    return _branch(tree)


def _branch(tree: dict[str, Any]) -> str:
    ways = [re.escape(sign) + _branch(below) for sign, below in sorted(tree.items()) if sign]
    if not ways or (len(ways) == 1 and "" not in tree):
        return "".join(ways)
    return f"(?:{'|'.join(ways)}){'?' if '' in tree else ''}"
