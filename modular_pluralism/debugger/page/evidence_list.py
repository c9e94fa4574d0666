"""What a community was told of its people's answers, beneath its comment."""

from __future__ import annotations

from modular_pluralism.debugger.page import elements as el
from modular_pluralism.nodes.citations import in_words, numbered
from modular_pluralism.types import CommentEvidence, ToldAnswer


def show_evidence(evidence: CommentEvidence | None) -> None:
    """Build it where we stand, folded away; nothing of a community that has no record, or is told nothing of it."""
    if evidence is None:
        return
    el.text(in_words(evidence), "muted small")
    if evidence["invented"]:
        el.note(f"The comment cites what it was not told: {numbered(evidence['invented'])}.", "warn", "warning")
    if evidence["told"]:
        title = "What its people answered"
        with el.more(title), el.box("told", "ol", tabindex="0", label=title):
            for number, answer in enumerate(evidence["told"], start=1):
                _answer(number, answer, cited=number in evidence["cited"])


def _answer(number: int, answer: ToldAnswer, *, cited: bool) -> None:
    with el.box("", "li"):
        with el.box("line"):
            el.text(f"[{number}]", "mono", "span")
            if cited:
                el.chip("cited", "good", "format_quote")
            near = "the question itself" if answer["itself"] else f"similarity {answer['similarity']:.2f}"
            of_how_many = f", mean of {answer['populations']} populations" if answer["populations"] > 1 else ""
            el.text(near + of_how_many, "muted small", "span")
        el.text(answer["question"])
        shares = zip(answer["options"], answer["probabilities"], strict=False)
        el.text(" · ".join(f"{option} {100 * share:.0f}\u202f%" for option, share in shares), "small")
