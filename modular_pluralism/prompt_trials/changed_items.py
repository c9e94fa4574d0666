"""The items that a variant changed most."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from modular_pluralism.evaluation.data.items import Item, Kind
from modular_pluralism.evaluation.data.outcome import Outcome
from modular_pluralism.evaluation.statistics.examples import ITEM_MEASURE
from modular_pluralism.evaluation.statistics.scores import scores_of
from modular_pluralism.prompt_trials.result_models import ChangedItem, ItemAnswer


def changed_most(
    kind: Kind, variant: str, items: Sequence[Item], built_in: Sequence[Outcome], other: Sequence[Outcome], shown: int
) -> list[ChangedItem]:
    """The `shown` items whose score changed most, the largest change first; items that did not change are left out."""
    changes = list(_changes(kind, variant, items, built_in, other))
    return sorted(changes, key=lambda each: -abs(each.change))[:shown]


def item_score(kind: Kind, item: Item, outcome: Outcome) -> float | None:
    """The item's score by the measure that single items of the kind are ranked by, None where it failed."""
    return scores_of(item, outcome).get(ITEM_MEASURE[kind][0])


def _changes(
    kind: Kind, variant: str, items: Sequence[Item], built_in: Sequence[Outcome], other: Sequence[Outcome]
) -> Iterator[ChangedItem]:
    for item, before, after in zip(items, built_in, other, strict=True):
        scores = item_score(kind, item, before), item_score(kind, item, after)
        if scores[0] is None or scores[1] is None or scores[0] == scores[1]:
            continue
        yield ChangedItem(
            variant=variant,
            id=item.id,
            question=item.question,
            attribute=item.attribute,
            options=list(item.options),
            gold=list(item.gold),
            measure=ITEM_MEASURE[kind][1],
            change=scores[1] - scores[0],
            built_in=_answer(scores[0], before),
            other=_answer(scores[1], after),
        )


def _answer(score: float, outcome: Outcome) -> ItemAnswer:
    prediction = outcome["prediction"]
    return ItemAnswer(
        score=score,
        predicted=None if prediction is None else prediction["rotate"],
        answer=outcome["answer"],
        selected=outcome["selected"],
        error=outcome["error"],
    )
