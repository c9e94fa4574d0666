"""Running makers over a task file with Inspect as the harness: its concurrency, its logs and their viewer.

Every result goes into the journal the moment it is there, and is taken from it when a run is started again; Inspect
writes a log for each maker and each part of the file, from the journal where it can. Items come from disk a part at a
time, so that memory does not grow with their number.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from inspect_ai import Task, eval_async
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.log import read_eval_log
from inspect_ai.model import ModelOutput
from inspect_ai.scorer import Score, Scorer, Target, mean, scorer, stderr
from inspect_ai.solver import Generate, Solver, TaskState, solver
from inspect_ai.util._display import init_display_type
from platformdirs import user_data_path

from modular_pluralism.errors import EvaluationError
from modular_pluralism.evaluation.data.items import Item, OptionItem, OvertonItem
from modular_pluralism.evaluation.data.task_file import TaskFile
from modular_pluralism.evaluation.inspect.scorers import GOLD
from modular_pluralism.evaluation.run.journal import Journal
from modular_pluralism.evaluation.run.makers import Maker, Result

PART = 1000
"""Items that are in memory at once, and in one log."""


_Log = tuple[str, range]
"""A maker's name, and the places that a log of it has."""


def check_traces() -> None:
    """Raise EvaluationError where Inspect cannot keep its traces, which it does in a folder of the user's own."""
    try:
        if not user_data_path("inspect_ai", ensure_exists=True).is_absolute():
            raise RuntimeError  # earlier versions of platformdirs leave the ~ as it is
    except (OSError, RuntimeError) as error:
        raise EvaluationError(
            "Inspect, which runs evaluations, keeps its traces in your home folder, where nothing can be written "
            f"({getattr(error, 'strerror', None) or 'there is none'}); name another folder in XDG_DATA_HOME."
        ) from error


class Harness:
    """Runs makers side by side, each over the same items.

    `concurrency` is how many items a maker works on at once. `on_result` is called for each result that was made now,
    not for those that were in the journal.
    """

    def __init__(
        self,
        task: TaskFile,
        journal: Journal,
        logs: Path,
        *,
        concurrency: int,
        on_result: Callable[[Maker, Result], None] = lambda _maker, _result: None,
        part: int = PART,
    ) -> None:
        self._task = task
        self._journal = journal
        self._logs = logs
        self._concurrency = concurrency
        self._on_result = on_result
        self._part = part
        self._stopped_by: Exception | None = None

    async def run(self, makers: Sequence[Maker], count: int, *, then: Sequence[Maker] = ()) -> None:
        """Make the result of each maker for the first `count` items.

        Those in `then` follow, part by part and one after the other, so that they find in a cache what was computed for
        the same items.

        Raises:
            PluralismError: a maker cannot work at all; what was made before is kept.
        """
        try:
            self._logs.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise EvaluationError(
                f"{self._logs} cannot be a folder of logs ({error.strerror}); remove it, or give another --out."
            ) from error
        parts = [range(begin, min(begin + self._part, count)) for begin in range(0, count, self._part)]
        logged = self._whole_logs({(maker.name, part) for maker in (*makers, *then) for part in parts})
        items = self._task.items(limit=count)  # once through the file, however many parts there are
        for part in parts:
            of_part = dict(zip(part, items, strict=False))
            for together in (makers, *([maker] for maker in then)):
                left = [maker for maker in together if (maker.name, part) not in logged]
                if left:
                    await self._run_part(left, of_part, "" if len(parts) == 1 else f"-{part.start + 1}-{part.stop}")

    async def _run_part(self, makers: Sequence[Maker], items: dict[int, Item], suffix: str) -> None:
        init_display_type("none")  # eval_async takes no such argument, and would print to standard output
        logs = await eval_async(
            [self._inspect_task(maker, items, suffix) for maker in makers],
            model="none/none",
            log_dir=str(self._logs),
            log_realtime=False,
            log_model_api=False,
            log_buffer=self._part,
            max_tasks=len(makers),
            max_samples=self._concurrency,
            fail_on_error=False,
            score=True,
        )
        if self._stopped_by is not None:
            raise self._stopped_by
        if len(logs) < len(makers) or any(log.status == "cancelled" for log in logs):
            raise asyncio.CancelledError  # which Inspect keeps to itself
        for maker in makers:
            if not self._journal.has_all(maker.name, min(items), max(items) + 1):
                raise EvaluationError(
                    f"Inspect ended before {maker.name} had a result for every item; start the same command again."
                )

    def _inspect_task(self, maker: Maker, items: dict[int, Item], suffix: str) -> Task:
        return Task(
            dataset=MemoryDataset(
                [
                    Sample(id=str(item.id), input=item.question, target=_target(item), metadata=_metadata(place, item))
                    for place, item in items.items()
                ],
                name=self._task.path.name,
            ),
            solver=_solve(self, maker, items),
            scorer=[*maker.scorers(next(iter(items.values()))), _others(maker, items)],
            name=_task_name(maker.name) + suffix,
            metadata={"maker": maker.name, "begin": min(items), "end": max(items) + 1},
        )

    async def result(self, maker: Maker, place: int, item: Item) -> Result:
        """The maker's result for an item: the journal's, or one that is made now."""
        if self._stopped_by is not None:
            raise RuntimeError("another item has shown that nothing can be computed")
        known: Result | None = self._journal.get(maker.name, place)
        if known is not None:
            return known
        try:
            made = await maker.make(place, item)
            self._journal.put(maker.name, place, made)
        except Exception as error:  # no failure of one item, which would be a part of the result
            self._stopped_by = self._stopped_by or error
            raise
        self._on_result(maker, made)
        return made

    def _whole_logs(self, wanted: set[_Log]) -> set[_Log]:
        """Those of the wanted logs that are there whole and have all results.

        What a run that was killed, one of fewer items, or one whose failures are tried again left in their place is
        removed: the journal has all that is in it. Logs of other tasks are left alone.
        """
        makers = {maker for maker, _ in wanted}
        whole: set[_Log] = set()
        for path in sorted(self._logs.glob("*.eval")):
            try:
                maker, log = _held(path)
            except Exception:  # Inspect was killed while it wrote: whatever a torn file raises
                maker, log = _maker_in(path.name, makers), None
            if maker not in makers:
                continue
            if log is not None and log in wanted - whole and self._has_all(log):
                whole.add(log)
            else:
                path.unlink()
        return whole

    def _has_all(self, log: _Log) -> bool:
        maker, part = log
        return self._journal.has_all(maker, part.start, part.stop)


def _held(path: Path) -> tuple[str | None, _Log | None]:
    """Whose log it is, None where it is no maker's; and what it holds, None where it is not whole."""
    log = read_eval_log(str(path), header_only=True)
    facts = log.eval.metadata or {}
    if not facts.keys() >= {"maker", "begin", "end"}:
        return None, None
    maker = str(facts["maker"])
    return maker, (maker, range(facts["begin"], facts["end"])) if log.status == "success" else None


def _maker_in(file_name: str, makers: set[str]) -> str | None:
    """The maker whose log is called so, as Inspect calls them: TIME_TASK_ID.eval."""
    return next((maker for maker in makers if re.search(rf"_{re.escape(_task_name(maker))}(-\d+)*_", file_name)), None)


def _task_name(maker: str) -> str:
    """What Inspect calls a maker's task: it allows no more in the name of a log."""
    return "".join(letter if letter.isalnum() else "-" for letter in maker)


class ItemFailedError(Exception):
    """Shows in Inspect's log as the sample's error."""


@solver
def _solve(harness: Harness, maker: Maker, items: dict[int, Item]) -> Solver:
    async def solve(state: TaskState, generate: Generate) -> TaskState:  # noqa: ARG001 - Inspect's signature
        place = state.metadata["place"]
        result = await harness.result(maker, place, items[place])
        state.metadata["result"] = result
        if result["error"] is not None:
            raise ItemFailedError(result["error"])
        state.output = ModelOutput.from_content(f"pluralism/{maker.name}", maker.shown(items[place], result))
        state.output.metadata = maker.metadata(result)
        state.messages.append(state.output.message)
        return state

    return solve


@scorer(metrics={"*": [mean(), stderr()]})
def _others(maker: Maker, items: dict[int, Item]) -> Scorer:
    async def measure(state: TaskState, target: Target) -> Score:  # noqa: ARG001 - Inspect's signature
        result = state.metadata["result"]
        scores = dict(maker.scores(items[state.metadata["place"]], result))
        return Score(value=scores, answer=state.output.completion)

    return measure


def _metadata(place: int, item: Item) -> dict[str, Any]:
    return {"place": place, **({GOLD: list(item.gold)} if isinstance(item, OptionItem) else {})}


def _target(item: Item) -> str | list[str]:
    match item:
        case OptionItem():
            return [f"{option}: {share:.3f}" for option, share in zip(item.options, item.gold, strict=True)]
        case OvertonItem():
            return list(item.explanations)
        case _:
            return item.label
