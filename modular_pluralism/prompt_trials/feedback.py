"""What came of an item, as a score to climb by and as an example to learn from."""

from __future__ import annotations

from modular_pluralism.evaluation.data.items import Item, Kind, OptionItem, OvertonItem
from modular_pluralism.evaluation.data.outcome import Outcome
from modular_pluralism.evaluation.measures.distances import FARTHEST
from modular_pluralism.evaluation.statistics.examples import ITEM_MEASURE, item_score
from modular_pluralism.nodes.render import one_line
from modular_pluralism.prompts import PromptSet

_LONGEST = 400
"""Characters of a question or an answer that an example shows."""


def merit(kind: Kind, item: Item, outcome: Outcome) -> float:
    """From 0 (as wrong as can be, or failed) to 1 (right): 1 minus the JS distance as a share of the largest one, the
    probability of the right stance, or the value coverage."""
    score = item_score(kind, item, outcome)
    if score is None or outcome["error"] is not None:
        return 0.0
    return 1 - score / FARTHEST if ITEM_MEASURE[kind][2] == "lower" else score


def example(kind: Kind, item: Item, outcome: Outcome, prompts: PromptSet) -> str:
    """The item, what would have been right, and what was answered."""
    return (
        prompts["reflect_example"]
        .render_text(
            question=_cut(item.question),
            wanted=_wanted(item),
            given=_given(item, outcome),
            score=f"{merit(kind, item, outcome):.2f}",
        )
        .strip()
    )


def _wanted(item: Item) -> str:
    if isinstance(item, OvertonItem):
        return _cut("an answer that says: " + " ".join(item.explanations))
    told = f" (of {item.attribute})" if isinstance(item, OptionItem) else f" (by {item.attribute})"
    return _shares(item.options, item.gold) + told


def _given(item: Item, outcome: Outcome) -> str:
    if outcome["error"] is not None:
        return _cut(f"none, since it failed: {outcome['error']}")
    prediction = outcome["prediction"]
    if prediction is None:
        return _cut(outcome["answer"] or "")
    return _shares(item.options, prediction["rotate"])


def _shares(options: tuple[str, ...], shares: tuple[float, ...] | list[float]) -> str:
    return "; ".join(f"{one_line(option)} {share:.0%}" for option, share in zip(options, shares, strict=True))


def _cut(text: str) -> str:
    text = one_line(text)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
