"""What in a text would become a token that templates use, where it must not: such spellings are cut in two.

Special are the control tokens, which llama.cpp makes out of text only where it is told to, and what a vocabulary calls
user-defined (`<think>`, gpt-oss' `<|start|>`), which it makes out of any text. Of the latter, single characters and
white space are text like any other.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import pairwise
from typing import Any


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
