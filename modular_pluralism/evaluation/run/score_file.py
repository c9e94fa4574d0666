"""The measures of a filled-in task file, whoever filled it in."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import TypeAlias

from modular_pluralism.errors import InputError
from modular_pluralism.evaluation.data.items import Item, OptionItem, OvertonItem, ValueItem
from modular_pluralism.evaluation.data.outcome import Outcome, Prediction, empty_outcome
from modular_pluralism.evaluation.data.task_file import TaskFile
from modular_pluralism.evaluation.measures.stance import stance_of
from modular_pluralism.evaluation.statistics.bootstrap import RESAMPLES
from modular_pluralism.evaluation.statistics.results import Results
from modular_pluralism.evaluation.statistics.summary import summarise
from modular_pluralism.records.record import CommunityRecord

METHOD = "this file"
"""What the results call whoever filled the file in."""

CoverageOf: TypeAlias = Callable[[OvertonItem, str], list[float]]
"""How far an answer covers each of an item's values: [n_values]."""


def score_file(
    task: TaskFile,
    *,
    seed: int = 0,
    coverage_of: CoverageOf | None = None,
    resamples: int = RESAMPLES,
    record: CommunityRecord | None = None,
) -> Results:
    """The results of a filled-in task file; `coverage_of` measures the answers of Overton files, and a `record` gives
    the baseline of nearest questions.

    An item that is not filled in, or where no stance can be told, is a failure.

    Raises:
        InputError: no item is filled in.
        ModelCallError: `coverage_of` got no usable scores.
    """
    first = next((item for item in task.items() if _is_filled(item)), None)
    if first is None:
        field = "pred_distribution" if task.kind in ("distributional", "steerable-opinion") else "output"
        raise InputError(f"No item of {task.path} is filled in; put a method's results into the field {field}.")
    warnings = []
    if task.kind == "overton" and coverage_of is None:
        warnings.append("Value coverage is not measured, as it takes an entailment model; name one with --nli.")

    def outcomes(_method: str) -> Iterator[Outcome]:
        return (_outcome(item, coverage_of) for item in task.items())

    return summarise(
        task,
        task.items,
        outcomes,
        [METHOD],
        title=f"Scores of {task.path.name}",
        run={"seed": seed, "resamples": resamples},
        seed=seed,
        warnings=warnings,
        resamples=resamples,
        record=record,
    )


def _is_filled(item: Item) -> bool:
    return (item.predicted if isinstance(item, OptionItem) else item.output) is not None


def _outcome(item: Item, coverage_of: CoverageOf | None) -> Outcome:
    outcome = empty_outcome(item.id, METHOD)
    outcome["seconds"] = math.nan  # nobody knows
    if not _is_filled(item):
        outcome["error"] = "This item is not filled in."
        return outcome
    match item:
        case OptionItem():
            outcome["prediction"] = _prediction(list(item.predicted or ()))
        case ValueItem():
            stance = stance_of(item.output or "")
            if stance is None:
                outcome["parse_failures"] = 1
                outcome["error"] = f"No stance can be told from the output {(item.output or '')[:80]!r}."
            else:
                outcome["prediction"] = _prediction([float(place == stance) for place in range(3)])
        case OvertonItem():
            _measure(outcome, item, coverage_of)
    return outcome


def _prediction(shares: list[float]) -> Prediction:
    return Prediction(rotate=shares, label=None, rotate_mass=None, label_mass=None, samples=None)


def _measure(outcome: Outcome, item: OvertonItem, coverage_of: CoverageOf | None) -> None:
    answer = item.output or ""
    outcome["answer"] = answer
    if coverage_of is not None:
        scores = coverage_of(item, answer)
        outcome["lists"] = {"coverage": scores}
        outcome["measures"] = {"coverage": sum(scores) / len(scores)}
