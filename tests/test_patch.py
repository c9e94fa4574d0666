"""A pool with and without a community: what changes for each group."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import pytest

from modular_pluralism.errors import InputError
from modular_pluralism.evaluation.data.task_file import TaskFile
from modular_pluralism.option_math import linear_pool
from modular_pluralism.patching.patch import Patch, PatchResult, PatchSettings
from modular_pluralism.pool import Pool
from tests.command import pluralism
from tests.fake_models import FakeChatWithLogprobs, Seen, choosing, fake_pool, label_of
from tests.scipy_distance import jensenshannon
from tests.short_pool import pair_pool, short_pool
from tests.task_items import option_item, value_item, write_task

TWO = ("north", "east")
OPTIONS = ["Yes", "No", "It depends"]
NORTH, EAST, READ = [0.7, 0.2, 0.1], [0.1, 0.2, 0.7], [0.4, 0.3, 0.3]


def voter(own: list[float], said: str) -> FakeChatWithLogprobs:
    def prefer(seen: Seen) -> dict[str, float]:
        return {label_of(option, seen.prompt): share for option, share in zip(OPTIONS, own, strict=True)}

    return choosing(prefer, said)


def items(count: int) -> list[dict[str, Any]]:
    """As many questions of Spain, where the north is right, as of Kenya, where the east is."""
    return [
        option_item(
            place,
            question=f"Question: Is it so, number {place}?\nOptions: A. Yes B. No C. It depends\nAnswer:",
            attribute="Kenya" if place % 2 else "Spain",
            gold_distribution=EAST if place % 2 else NORTH,
        )
        for place in range(count)
    ]


def patched(folder: Path, given: list[dict[str, Any]], **changes: Any) -> tuple[Any, Any]:
    models = {"boss": voter(READ, "x"), "north": voter(NORTH, "Up."), "east": voter(EAST, "Right.")}
    models |= changes.pop("models", {})
    settings = {"add": "east", "pool": fake_pool(TWO), "voice": "vote", "models": models, **changes}
    work = Patch(TaskFile.open(write_task(folder / "task.json", given)), PatchSettings(**settings))
    told: list[Any] = []
    result = asyncio.run(work.run(lambda maker, made: told.append(made)))
    assert len(told) == work.total
    return result, models


def test_groups_that_got_worse_come_first_and_votes_are_read_once(tmp_path: Path) -> None:
    result, models = patched(tmp_path, items(48))
    assert (result.grouping, result.measure.key) == ("continent", "js")
    everybody, europe, africa = result.groups
    assert (everybody.group, europe.group, africa.group) == (None, "Europe", "Africa")
    both = linear_pool([NORTH, EAST], [0.5, 0.5])
    assert europe.without.value == pytest.approx(0, abs=1e-6)
    assert europe.change.value == pytest.approx(jensenshannon(NORTH, both))
    assert africa.change.value == pytest.approx(jensenshannon(EAST, both) - jensenshannon(EAST, NORTH))
    assert [(group.worse, group.better) for group in (europe, africa)] == [(True, False), (False, True)]
    assert (everybody.questions, europe.questions, africa.questions) == (48, 24, 24)
    assert result.sentence.startswith("Clearly worse with east: Europe. Clearly better: Africa. Over all items JS dist")
    # One reading of each order of the options, by each community, and nothing twice.
    assert {name: len(models[name].seen) for name in models} == {"boss": 0, "north": 144, "east": 144}
    assert (result.made, result.reused) == (96, 48)
    [table] = result.results.tables
    assert [row.name for row in table.rows] == ["all", "Europe", "Africa"]
    assert table.chart == "change"


@pytest.mark.parametrize(("voice", "calls"), [("comment", (8 * 4, 8 * 2)), ("comment,vote", (8 * 6, 8 * 3))])
def test_comments_of_the_others_are_computed_once(tmp_path: Path, voice: str, calls: tuple[int, int]) -> None:
    result, models = patched(tmp_path, items(8), voice=voice)
    assert (result.made, result.reused) == calls
    said = [seen for seen in models["north"].seen if not seen.settings.get("logprobs")]
    assert len(said) == 8
    assert not any(group.worse or group.better for group in result.groups), "four questions are too few"


def test_groups_may_be_countries_or_the_file_s_attributes(tmp_path: Path) -> None:
    for by in ("country", "attribute"):
        result, _ = patched(tmp_path, items(8), by=by)
        assert [group.group for group in result.groups] == [None, "Spain", "Kenya"]
    with pytest.raises(InputError, match="no grouping 'colour'; give --by continent, country, attribute"):
        patched(tmp_path, items(8), by="colour")


def test_opinion_groups_are_asked_for_their_distribution(tmp_path: Path) -> None:
    given = [{**item, "attribute": "RELIG_Atheist"} for item in items(4)]
    result, models = patched(tmp_path, given)
    assert [group.group for group in result.groups] == [None, "religion"]
    assert "A person of this group is asked a question: Atheist (religion)" in models["north"].prompts[0]


def test_a_community_that_fails_is_left_out_of_its_pool_alone(tmp_path: Path) -> None:
    def prefer(seen: Seen) -> dict[str, float]:
        return {"The": 1.0}

    result, _ = patched(tmp_path, items(4), models={"east": choosing(prefer)}, pool=fake_pool(TWO, quorum=1))
    assert result.groups[0].change.value == pytest.approx(0)
    result, _ = patched(tmp_path, items(4), models={"east": choosing(prefer)})
    # With a quorum of both, every item of the whole pool is a failure, and counts as the worst.
    assert result.measure.key == "js_worst"
    assert result.results.failed == 4


def test_priors_for_an_attribute_that_name_the_added_community_alone_are_left_out_without_it(tmp_path: Path) -> None:
    pool = Pool(**{**dict(fake_pool(TWO)), "priors_by_attribute": {"Kenya": {"east": 1.0}}})
    result, _ = patched(tmp_path, items(4), pool=pool)
    kenya = next(group for group in result.groups if group.group == "Africa")
    assert kenya.with_it.value == pytest.approx(0, abs=1e-6)
    assert kenya.without.value == pytest.approx(jensenshannon(EAST, NORTH))
    assert result.results.failed == 0


def test_a_pool_that_would_fail_without_the_community_is_refused(tmp_path: Path) -> None:
    # Its failures would count as the worst answers, and the community as clearly better than them.
    pool = fake_pool(TWO, priors=[0.0, 1.0])
    with pytest.raises(InputError, match="Without 'east' the pool pool cannot answer item 0, since the prior of north"):
        patched(tmp_path, items(2), pool=pool)
    tables = {"Kenya": {"north": 1.0}, "Spain": {"north": 1.0, "east": 1.0}}
    result, _ = patched(tmp_path, items(4), pool=Pool(**{**dict(pool), "priors_by_attribute": tables}))
    assert result.results.failed == 0


def test_what_cannot_be_patched_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"has no community 'west' to add; write a \[communities.west\] table"):
        patched(tmp_path, items(2), add="west")
    whole = fake_pool(TWO)
    alone = whole.model_copy(update={"communities": {"north": whole.communities["north"]}})
    with pytest.raises(InputError, match="Without 'north' no community would be left"):
        patched(tmp_path, items(2), add="north", pool=alone)
    with pytest.raises(InputError, match="a file of the kind steerable-value; a patch is measured on"):
        patched(tmp_path, [value_item(0)])


@pytest.mark.model
def test_the_demo_model_knows_an_answer_with_a_community_and_without(tmp_path: Path) -> None:
    known = {"question": "What is the capital of France?", "options": ["Paris", "A green horse"]}
    items = [option_item(place, **known, gold_distribution=[1, 0]) for place in range(2)]
    done = pluralism(
        *("patch", str(write_task(tmp_path / "task.json", items)), "--add", "right"),
        *("--pool", str(pair_pool(tmp_path)), "--voice", "vote", "--score", "text", "--json"),
    )
    assert done.returncode == 0, done.stderr
    everybody = PatchResult.model_validate_json(done.stdout).groups[0]
    for figure in (everybody.without, everybody.with_it):
        assert figure.value is not None
        assert figure.value < 0.5


def test_a_patch_of_an_embedded_model_is_a_table_a_plot_and_a_page(tmp_path: Path) -> None:
    task = write_task(tmp_path / "task.json", [option_item(place) for place in range(8)])
    pool, out = short_pool(tmp_path, "culture", tokens=12), tmp_path / "out"
    done = pluralism(
        *("patch", str(task), "--add", "africa", "--pool", str(pool), "--limit", "4", "--out", str(out)),
        *("--voice", "comment,vote"),
    )
    assert done.returncode == 0, done.stderr
    assert "What africa changes, by continent" in done.stdout
    assert "Model calls: 60 made, 48 of the pool without africa reused." in done.stdout
    page = (out / "patch.html").read_text()
    assert page.count("<table") == 1
    assert len(re.findall(r"<svg", page)) == 1
    assert "Clearly worse with africa: no group." in page
    kept = json.loads((out / "patch.json").read_text())
    assert kept["groups"][0]["group"] is None
    wrong = pluralism("patch", str(task), "--add", "nobody", "--pool", str(pool))
    assert wrong.returncode == 2
    assert "has no community 'nobody' to add" in wrong.stderr
