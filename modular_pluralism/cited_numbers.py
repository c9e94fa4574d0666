"""The numbers in brackets by which a text cites what it was given."""

from __future__ import annotations

import re

NUMBERS = re.compile(r"\s*\[\s*([0-9]{1,6}(?:\s*[,;]\s*[0-9]{1,6})*)\s*\]")
"""[1], and what models write for several as well: [1, 3]."""
_LISTED = re.compile(r"^\s*\[\s*[0-9]{1,6}\s*\]", re.MULTILINE)
"""A number at the head of a line, as small models number their own points."""


def cited_numbers(text: str) -> list[int]:
    """The numbers that the text cites, in their order. Where several lines begin with one, it is a list that numbers
    itself, which cites nothing by that."""
    if len(_LISTED.findall(text)) > 1:
        text = _LISTED.sub("", text)
    found = (number for group in NUMBERS.finditer(text) for number in re.findall("[0-9]+", group[1]))
    return sorted({int(number) for number in found})
