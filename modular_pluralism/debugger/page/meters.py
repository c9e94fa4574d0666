"""Bars for probabilities: the number stands on each, and a dotted line where every option would be equally likely."""

from __future__ import annotations

from nicegui.element import Element

from modular_pluralism.debugger.page.elements import attributes, box, percent, text


def meter(share: float, *, even: float | None = None, pooled: bool = False) -> Element:
    """A bar for a probability."""
    with attributes(box("meter pooled" if pooled else "meter"), role="img", **{"aria-label": percent(share)}) as made:
        box("fill").style(f"width: {100 * share:.2f}%")
        if even is not None:
            box("even").style(f"left: {100 * even:.2f}%")
        text(percent(share), "num", "span")
    return made
