"""The harness with makers of its own: what is made, what is logged, and how a run goes on."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from inspect_ai import Task
from inspect_ai import eval as inspect_eval
from inspect_ai.dataset import Sample
from inspect_ai.log import EvalLog, list_eval_logs, read_eval_log
from inspect_ai.scorer import Scorer

from modular_pluralism.errors import EvaluationError, ModelLoadError
from modular_pluralism.evaluation.data.items import Item
from modular_pluralism.evaluation.data.task_file import TaskFile
from modular_pluralism.evaluation.run.harness import Harness
from modular_pluralism.evaluation.run.journal import Journal
from tests.task_items import option_item, write_task


class Counter:
    """A maker that counts its calls; fails on the items in `bad`, and raises on the item `fatal`."""

    def __init__(self, name: str, bad: tuple[int, ...] = (), fatal: int | None = None) -> None:
        self.name = name
        self.made: list[int] = []
        self.most_at_once = self._now = 0
        self._bad = bad
        self._fatal = fatal

    async def make(self, place: int, item: Item) -> dict[str, Any]:
        if place == self._fatal:
            raise ModelLoadError("the file is gone")
        self._now += 1
        self.most_at_once = max(self.most_at_once, self._now)
        await asyncio.sleep(0.001)
        self._now -= 1
        self.made.append(place)
        return {"error": "too hard" if place in self._bad else None, "value": place}

    def scorers(self, item: Item) -> list[Scorer]:
        return []

    def scores(self, item: Item, result: dict[str, Any]) -> dict[str, float]:
        return {"value": float(result["value"])}

    def shown(self, item: Item, result: dict[str, Any]) -> str:
        return f"It is {result['value']}."

    def metadata(self, result: dict[str, Any]) -> dict[str, Any]:
        return {}


@pytest.fixture
def task(tmp_path: Path) -> TaskFile:
    return TaskFile.open(write_task(tmp_path / "task.json", [option_item(place) for place in range(10)]))


def run(task: TaskFile, folder: Path, makers: list[Any], count: int = 10, **settings: Any) -> list[Any]:
    told: list[Any] = []
    folder.mkdir(exist_ok=True)
    with Journal(folder / "journal.sqlite", {}) as journal:
        harness = Harness(
            task,
            journal,
            folder / "logs",
            concurrency=3,
            on_result=lambda maker, result: told.append((maker.name, result["value"])),
            **settings,
        )
        asyncio.run(harness.run(makers, count))
    return told


def kept(folder: Path, maker: str) -> list[int]:
    with Journal(folder / "journal.sqlite", {}) as journal:
        return [result["value"] for result in journal.results(maker, 100)]


def logs(folder: Path) -> dict[str, EvalLog]:
    return {log.eval.task: log for log in map(read_eval_log, list_eval_logs(str(folder / "logs")))}


def test_every_maker_makes_every_item_once(task: TaskFile, tmp_path: Path) -> None:
    makers = [Counter("vanilla"), Counter("modular without a_b")]
    told = run(task, tmp_path, makers)
    assert len(told) == 20
    for maker in makers:
        assert sorted(maker.made) == kept(tmp_path, maker.name) == list(range(10))
        assert maker.most_at_once <= 3
    found = logs(tmp_path)
    assert set(found) == {"vanilla", "modular-without-a-b"}
    for log in found.values():
        assert log.status == "success"
        assert log.samples is not None
        assert len(log.samples) == 10
        assert log.results is not None
        metrics = {score.name: score.metrics["mean"].value for score in log.results.scores}
        assert metrics == {"value": 4.5}
        assert log.samples[0].output.completion == "It is 0."


def test_a_second_run_computes_nothing(task: TaskFile, tmp_path: Path) -> None:
    run(task, tmp_path, [Counter("vanilla")])
    before = sorted((tmp_path / "logs").iterdir())
    again = Counter("vanilla")
    assert run(task, tmp_path, [again]) == []
    assert again.made == []
    assert sorted((tmp_path / "logs").iterdir()) == before


def test_more_items_and_more_makers_add_only_what_is_missing(task: TaskFile, tmp_path: Path) -> None:
    run(task, tmp_path, [Counter("vanilla")], count=4)
    vanilla, moe = Counter("vanilla"), Counter("moe")
    run(task, tmp_path, [vanilla, moe])
    assert sorted(vanilla.made) == [4, 5, 6, 7, 8, 9]
    assert sorted(moe.made) == list(range(10))
    log = logs(tmp_path)["vanilla"]
    assert log.samples is not None
    assert len(log.samples) == 10


def test_parts_are_logged_one_by_one(task: TaskFile, tmp_path: Path) -> None:
    maker = Counter("vanilla")
    run(task, tmp_path, [maker], part=4)
    assert sorted(maker.made) == list(range(10))
    assert set(logs(tmp_path)) == {"vanilla-1-4", "vanilla-5-8", "vanilla-9-10"}


def test_an_item_that_failed_is_an_error_in_the_log_and_the_run_goes_on(task: TaskFile, tmp_path: Path) -> None:
    run(task, tmp_path, [Counter("vanilla", bad=(2, 5))])
    log = logs(tmp_path)["vanilla"]
    assert log.samples is not None
    failed = {sample.metadata["place"]: sample.error.message for sample in log.samples if sample.error is not None}
    assert failed == {2: "ItemFailedError('too hard')", 5: "ItemFailedError('too hard')"}
    assert kept(tmp_path, "vanilla") == list(range(10))


def test_what_no_item_can_survive_ends_the_run_and_keeps_what_is_there(task: TaskFile, tmp_path: Path) -> None:
    with pytest.raises(ModelLoadError, match="the file is gone"):
        run(task, tmp_path, [Counter("vanilla", fatal=7)])
    done = set(kept(tmp_path, "vanilla"))
    assert done
    assert 7 not in done
    again = Counter("vanilla")
    run(task, tmp_path, [again])
    assert set(again.made) == set(range(10)) - done
    assert logs(tmp_path)["vanilla"].status == "success"


def test_a_log_that_was_left_unfinished_is_replaced(task: TaskFile, tmp_path: Path) -> None:
    run(task, tmp_path, [Counter("vanilla")])
    (log,) = (tmp_path / "logs").iterdir()
    whole = read_eval_log(str(log))
    whole.status = "started"
    from inspect_ai.log import write_eval_log

    write_eval_log(whole, str(log))
    run(task, tmp_path, [Counter("vanilla")])
    assert {found.status for found in logs(tmp_path).values()} == {"success"}
    assert len(list((tmp_path / "logs").iterdir())) == 1


def test_a_torn_log_is_written_again(task: TaskFile, tmp_path: Path) -> None:
    run(task, tmp_path, [Counter("vanilla")])
    (log,) = (tmp_path / "logs").iterdir()
    log.write_bytes(log.read_bytes()[:200])
    (tmp_path / "logs" / "2026_vanilla_x.eval").write_bytes(b"")
    run(task, tmp_path, [Counter("vanilla")])
    assert {found.status for found in logs(tmp_path).values()} == {"success"}
    assert len(list((tmp_path / "logs").iterdir())) == 1


def test_other_people_s_logs_are_left_alone(task: TaskFile, tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "2026_mine_x.eval").write_bytes(b"torn")
    theirs = Task(dataset=[Sample(input="What?", target="That")], name="vanilla")
    inspect_eval(theirs, model="mockllm/model", log_dir=str(tmp_path / "logs"), display="none")
    before = {path: path.read_bytes() for path in (tmp_path / "logs").iterdir()}
    assert len(before) == 2
    run(task, tmp_path, [Counter("vanilla")])
    run(task, tmp_path, [Counter("vanilla")])
    assert {path: path.read_bytes() for path in before} == before
    assert len(list((tmp_path / "logs").iterdir())) == 3


def test_logs_that_cannot_be_a_folder_are_named(task: TaskFile, tmp_path: Path) -> None:
    (tmp_path / "logs").write_text("mine")
    with pytest.raises(EvaluationError, match=r"logs cannot be a folder of logs \(File exists\); remove it"):
        run(task, tmp_path, [Counter("vanilla")])
    assert (tmp_path / "logs").read_text() == "mine"


def test_the_log_of_a_run_that_ended_is_replaced(task: TaskFile, tmp_path: Path) -> None:
    with pytest.raises(ModelLoadError):
        run(task, tmp_path, [Counter("vanilla", fatal=7)])
    run(task, tmp_path, [Counter("vanilla")])
    (log,) = map(read_eval_log, list_eval_logs(str(tmp_path / "logs")))
    assert log.samples is not None
    assert not any(sample.error for sample in log.samples)


def test_a_folder_with_an_odd_name(task: TaskFile, tmp_path: Path) -> None:
    for name in ("a#b", "a b", "a[1]"):
        for _ in range(2):
            run(task, tmp_path / name, [Counter("vanilla")])
        assert len(list((tmp_path / name / "logs").iterdir())) == 1
