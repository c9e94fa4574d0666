"""Plain tables."""

from __future__ import annotations

from collections.abc import Sequence

from nicegui.element import Element

from modular_pluralism.debugger.page.elements import attributes, box, text


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> Element:
    """A plain table; columns after the first hold numbers."""
    with attributes(box("scroll"), tabindex="0") as made, box("plain", "table"):
        with box("", "thead"), box("", "tr"):
            for head in heads:
                attributes(text(head, tag="th"), scope="col")
        with box("", "tbody"):
            for row in rows:
                with box("", "tr"):
                    for place, value in enumerate(row):
                        text(value, "n" if place else "", "td")
    return made
