"""The filled-in task file in its own format, so that other people's programs can score it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from modular_pluralism.errors import InputError
from modular_pluralism.evaluation.data.items import STANCES, Kind
from modular_pluralism.evaluation.data.outcome import Outcome
from modular_pluralism.evaluation.data.task_file import TaskFile
from modular_pluralism.option_math import most_likely
from modular_pluralism.replaced_file import replaced_file


def write_filled(task: TaskFile, outcomes: Iterable[Outcome], path: Path) -> int:
    """Write the file's first items with one method's results in them, and return how many these are.

    `outcomes` are those of the first items, in the file's order: as many items are written. Every other field stays as
    it is. An item without a result is filled with null; an Overton answer that was written and could not be measured is
    a failure in the results, and stands here as it is. The file appears whole or not at all.

    Raises:
        InputError: `path` is the task file itself, or cannot be written.
        ValueError: the outcomes are not those of the first items, in their order.
    """
    if path.exists() and path.samefile(task.path):
        raise InputError(f"{path} is the task file itself, which is never overwritten; name another file.")
    try:
        return _write(task, outcomes, path)
    except OSError as error:
        raise InputError(f"{path} cannot be written ({error.strerror}); name another file.") from error


def _write(task: TaskFile, outcomes: Iterable[Outcome], path: Path) -> int:
    written = 0
    raw = task.raw()
    with replaced_file(path) as file:
        file.write("[")
        for outcome in outcomes:
            item = next(raw, None)
            if item is None or item["id"] != outcome["id"]:
                raise ValueError(f"outcome {written + 1}, of item {outcome['id']!r}, is not in the file's order")
            file.write(",\n" if written else "\n")
            filled = {**item, **_result(task.kind, outcome)}
            file.write(json.dumps(filled, ensure_ascii=False, allow_nan=False))
            written += 1
        file.write("\n]\n")
    return written


def _result(kind: Kind, outcome: Outcome) -> dict[str, Any]:
    prediction = outcome["prediction"]
    match kind:
        case "overton":
            return {"output": outcome["answer"]}
        case "steerable-value":
            return {"output": None if prediction is None else _stance(prediction["rotate"])}
        case _:
            return {"pred_distribution": None if prediction is None else prediction["rotate"]}


def _stance(shares: list[float]) -> str:
    place = most_likely(shares)
    return f"{'ABC'[place]}. {STANCES[place]}"
