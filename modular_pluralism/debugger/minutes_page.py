"""The minutes of an assembly as one page that needs nothing else, in which weights and rules can be tried out."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal
from importlib.resources import files
from typing import Any

from markupsafe import Markup

from modular_pluralism.debugger.minutes import Minutes, rules_minuted
from modular_pluralism.evaluation.report.pages import allowed, page_templates
from modular_pluralism.evaluation.report.plain_text import plain_text
from modular_pluralism.models.redaction import without_keys
from modular_pluralism.societal.tally import Tally

SHADES = 10
"""Steps of colour between 0 and the highest score of a table; the style sheet has one class for each."""


def minutes_as_html(minutes: Minutes) -> str:
    """The page: it loads nothing, shows every text as text, and runs no script but its own, which asks no model."""
    style = _files("export.css", "minutes.css")
    script = _files("choice.js", "what_if.js")
    environment = page_templates("modular_pluralism.debugger")
    environment.filters |= {"figure": _figure}
    tally = minutes["tally"]
    page = environment.get_template("minutes.html.jinja").render(
        minutes=minutes,
        tally=tally,
        rules=[] if tally is None else rules_minuted(tally),
        rows=[] if tally is None else _rows(tally),
        data=None if tally is None else _data(tally),
        style=Markup(style),
        style_hash=allowed(style),
        script=Markup(script),
        script_hash=allowed(script),
    )
    return without_keys(page.lstrip())


def _files(*names: str) -> str:
    folder = files("modular_pluralism.debugger")
    return "\n".join(folder.joinpath(name).read_text(encoding="utf-8") for name in names)


def _data(tally: Tally) -> dict[str, Any]:
    """What the script computes with; names are as they are shown."""
    return {
        "members": [plain_text(name) for name in tally["members"]],
        "candidates": [plain_text(name) for name in tally["candidates"]],
        "scores": tally["scores"],
        "weights": tally["weights"],
        "slate": len(tally["slate"]["candidates"]),
        "rule": tally["rule"],
        "normalise": tally["normalise"],
    }


def _rows(tally: Tally) -> list[dict[str, Any]]:
    """The table, member by member: each score with its shade, and whether it is the member's highest.

    Shades begin at 0, and not at the lowest score: what hardly differs looks alike.
    """
    high = max(score for row in tally["scores"] for score in row if score is not None)

    def cell(score: float | None, best: float) -> dict[str, Any]:
        if score is None:
            return {"score": None, "shade": 0, "best": False}
        shade = round(SHADES * score / high) if high > 0 else 0
        return {"score": score, "shade": shade, "best": score == best}

    return [
        {
            "member": member,
            "weight": weight,
            "cells": [cell(score, max(each for each in row if each is not None)) for score in row],
        }
        for member, weight, row in zip(tally["members"], tally["weights"], tally["scores"], strict=True)
    ]


def _figure(value: float | None, digits: int = 3) -> str:
    """A number as the script writes it, which rounds halves up."""
    if value is None:
        return "–"
    return str(Decimal(round(value, 12)).quantize(Decimal(1).scaleb(-digits), ROUND_HALF_UP))
