"""Communities that answer from what their people have said."""

from __future__ import annotations

import asyncio
import csv
import json
import tracemalloc
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from langchain_core.embeddings import Embeddings

from modular_pluralism import (
    Community,
    InputError,
    Pool,
    PoolError,
    QuorumError,
    RunSettings,
    build_distributional,
)
from modular_pluralism.debugger.history import read_run
from modular_pluralism.debugger.live import RunRequest, start_run
from modular_pluralism.errors import NoEvidenceError, StoreError, TrainingDataError
from modular_pluralism.evaluation.data.task_file import TaskFile
from modular_pluralism.evaluation.run.evaluation import Evaluation, EvaluationSettings, Files
from modular_pluralism.home import CACHE_VARIABLE
from modular_pluralism.llama import LlamaEmbeddings
from modular_pluralism.models.pool_models import PoolModels
from modular_pluralism.nodes.aggregate import Voicing, unite
from modular_pluralism.records.record import CommunityRecord
from modular_pluralism.records.record_file import RecordFile
from modular_pluralism.records.rows import Row, stream_rows
from modular_pluralism.records.similarity import Dense, Gate, Lexical, Similarity
from modular_pluralism.records.survey import SurveyItem, answered_items
from modular_pluralism.runs.location import find_location
from modular_pluralism.runs.model_files import model_digests
from modular_pluralism.runs.opening import open_run_store
from tests.command import pluralism
from tests.fake_models import always, fake_pool
from tests.random_model import RANDOM_GGUF
from tests.test_vote import OWN, voter

YES_NO = ("Yes", "No")
OPTIONS = ("Yes", "No", "Only some")
CARS = "Should cars be banned from the centre of the town?"
TAXES = "Do you think that taxes on income are too high?"


def item(question: str, shares: Sequence[float], options: Sequence[str] = YES_NO, who: str | None = None) -> SurveyItem:
    return SurveyItem(question, tuple(options), who, tuple(shares))


def lexical(*items: SurveyItem) -> CommunityRecord:
    return CommunityRecord(items, Lexical())


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    return tmp_path / "cache"


# The estimate


def test_the_nearest_answer_weighs_the_most_and_the_evidence_says_so() -> None:
    record = lexical(item(CARS, [0.9, 0.1]), item(TAXES, [0.2, 0.8]))
    found = record.estimate("Should cars be banned from the old town?", YES_NO)
    assert found.distribution[0] > 0.7
    assert sum(found.distribution) == pytest.approx(1)
    evidence = found.evidence
    assert 0.4 < evidence["nearness"] < 1
    assert not evidence["itself"]
    assert [answer["question"] for answer in evidence["answers"]] == [CARS, TAXES]
    assert sum(answer["weight"] for answer in evidence["answers"]) == pytest.approx(1)
    assert evidence["answers"][0]["similarity"] == evidence["nearness"]
    assert evidence["opening"] == 1.0
    assert record.estimate("Is soup a meal?", YES_NO).evidence["opening"] == 0.0


def test_the_weights_are_those_that_are_documented() -> None:
    record = lexical(item(CARS, [0.9, 0.1], who="Spain"), item(CARS, [0.1, 0.9], who="Kenya"))
    weight = 1 / (1 + np.exp(-5))
    found = record.estimate("Should cars be allowed?", YES_NO, "Spain")
    assert found.distribution[0] == pytest.approx(0.9 * weight + 0.1 * (1 - weight))
    assert record.estimate("Should cars be allowed?", YES_NO).distribution[0] == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("asked", "known", "shares", "expected"),
    [
        (("No", "yes"), ("Yes", "No"), [0.9, 0.1], [0.1, 0.9]),
        (("Agree", "Disagree"), ("For", "Against"), [0.9, 0.1], [0.9, 0.1]),
        (("No", "Yes", "Both"), ("Yes", "No", "Unsure"), [0.7, 0.2, 0.1], [0.2, 0.7, 0.1]),
        (("No", "Yes"), ("Yes", "No", "Unsure"), [0.6, 0.3, 0.1], [1 / 3, 2 / 3]),
    ],
)
def test_options_are_matched_by_their_texts_and_then_by_their_order(
    asked: Sequence[str], known: Sequence[str], shares: list[float], expected: list[float]
) -> None:
    found = lexical(item(CARS, shares, known)).estimate("Should cars go?", asked)
    assert found.distribution == pytest.approx(expected)
    assert found.evidence["answers"][0]["options"] == list(known)
    assert found.evidence["answers"][0]["probabilities"] == pytest.approx(expected)


@pytest.mark.parametrize("asked", [("a", "b", "c"), ("Yes", "Perhaps")])
def test_options_that_fit_no_answer_are_told(asked: Sequence[str]) -> None:
    record = lexical(item(CARS, [0.5, 0.25, 0.25, 0.0], ("Yes", "No", "Unsure", "Never")))
    with pytest.raises(NoEvidenceError, match=f"has options that fit these {len(asked)}:"):
        record.estimate(CARS, asked)


def test_the_question_itself_is_used_and_told_and_left_out_where_that_is_asked() -> None:
    record = lexical(item(CARS, [0.9, 0.1]), *(item(f"{CARS} {number}", [0.1, 0.9]) for number in range(50)))
    found = record.estimate(f"  {CARS.upper()} ", YES_NO)
    assert found.evidence["itself"]
    assert found.distribution == pytest.approx([0.9, 0.1])
    assert record.estimate(CARS, YES_NO, itself=False).distribution == pytest.approx([0.1, 0.9])
    # With other options it is a question like others.
    assert not record.estimate(CARS, ("For", "Against")).evidence["itself"]
    alone = lexical(item(CARS, [0.9, 0.1]))
    with pytest.raises(NoEvidenceError):
        alone.estimate(CARS, YES_NO, itself=False)


def test_a_question_with_other_shares_counts_twice_and_one_of_a_population_before_others() -> None:
    twice = lexical(item(CARS, [0.9, 0.1]), item(CARS, [0.5, 0.5]))
    assert twice.estimate(CARS, YES_NO).distribution == pytest.approx([0.7, 0.3])
    two = lexical(item(CARS, [0.9, 0.1], who="Spain"), item(CARS, [0.5, 0.5], who="Kenya"))
    assert two.estimate(CARS, YES_NO, "Kenya").distribution == pytest.approx([0.5, 0.5])
    assert two.estimate(CARS, YES_NO, "Peru").distribution == pytest.approx([0.7, 0.3])


def test_words_that_no_text_has_are_no_evidence() -> None:
    record = lexical(item("?!", [0.9, 0.1], ("+", "-")), item("…", [0.9, 0.1], ("+", "-")))
    assert record.estimate("soup", ("+", "-")).evidence["nearness"] == 0


# The file


def written(path: Path, *rows: tuple[str, str, str], header: Sequence[str] = ("question", "options", "answer")) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows(rows)
    return path


def answers_file(path: Path, yes: int = 3) -> Path:
    return written(path, *[(CARS, "Yes|No", "Yes")] * yes, (CARS, "Yes|No", "No"), (TAXES, "Yes|No", "No"))


class CountedSimilarity:
    """Lexical, with what it was asked to index."""

    def __init__(self) -> None:
        self.name, self.gate, self.embeds, self.indexed = "counted", Gate(0.2, 0.4), False, 0
        self._lexical = Lexical()

    def index(self, texts: Sequence[str], known: Any = None) -> Any:
        self.indexed += 1
        return self._lexical.index(texts, known)

    def restored(self, texts: Sequence[str], arrays: Any) -> Any:
        return self._lexical.restored(texts, arrays)


def test_an_index_is_kept_by_content_and_a_damaged_one_is_made_anew(tmp_path: Path, own_cache: Path) -> None:
    path = answers_file(tmp_path / "a.csv")
    first = CountedSimilarity()
    expected = RecordFile(path, first).record().estimate("Should cars go?", YES_NO)
    assert first.indexed == 2
    path.touch()
    again = CountedSimilarity()
    assert RecordFile(path, again).record().estimate("Should cars go?", YES_NO) == expected
    assert again.indexed == 0
    (kept,) = (own_cache / "records").iterdir()
    whole = kept.read_bytes()
    entry = whole.index(b"PK\x01\x02")
    with np.load(kept) as arrays:
        lacking = {name: arrays[name] for name in arrays.files if name != "digest"}
    np.savez(kept, **lacking)
    unheard_of = whole[: entry + 6] + b"\xff" + whole[entry + 7 :]  # a version of zip that there is not
    for count, damaged in enumerate((whole[:100], unheard_of, kept.read_bytes()), start=1):
        kept.write_bytes(damaged)
        assert RecordFile(path, again).record().estimate("Should cars go?", YES_NO) == expected
        assert again.indexed == 2 * count


def test_a_file_that_is_edited_while_it_is_read_leaves_no_index_under_its_old_content(
    tmp_path: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = answers_file(tmp_path / "a.csv")
    old, new = path.read_bytes(), answers_file(tmp_path / "b.csv", yes=9).read_bytes()

    def edited_first(file: Path) -> Iterator[Row]:
        file.write_bytes(new)
        return stream_rows(file)

    with monkeypatch.context() as patched:
        patched.setattr("modular_pluralism.records.record_file.stream_rows", edited_first)
        RecordFile(path, Lexical()).record()
    path.write_bytes(old)
    expected = CommunityRecord(answered_items(stream_rows(path)), Lexical())
    assert RecordFile(path, Lexical()).record().estimate(CARS, YES_NO) == expected.estimate(CARS, YES_NO)


def test_a_file_that_is_edited_is_read_anew(tmp_path: Path) -> None:
    path = answers_file(tmp_path / "a.csv")
    file = RecordFile(path, Lexical())
    assert file.record() is file.record()
    assert file.record().estimate(CARS, YES_NO).distribution == pytest.approx([0.75, 0.25])
    answers_file(path, yes=9)
    assert file.record().estimate(CARS, YES_NO).distribution == pytest.approx([0.9, 0.1])
    path.write_text("question,options,answer\nWhy?,Yes|No,Perhaps\n")
    with pytest.raises(TrainingDataError, match="is none of the options"):
        file.record()
    path.unlink()
    with pytest.raises(TrainingDataError, match="There is no file"):
        file.record()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("question,options,answer\n", "holds no answers"),
        ("text\nHello\n", "there is no list under 'options'"),
        ("question;options;answer\nWhy?;Yes|No;Yes\n", "has semicolons between its names; save it with commas"),
        ("question\toptions\tanswer\nWhy?\tYes|No\tYes\n", "has tabs between its names"),
    ],
)
def test_a_file_without_answers_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "a.csv"
    path.write_text(text)
    with pytest.raises(TrainingDataError, match=message):
        RecordFile(path, Lexical()).record()


def test_rows_are_streamed_and_added_up(tmp_path: Path) -> None:
    rows = 20_000
    path = written(tmp_path / "a.csv", *[(CARS, "Yes|No", "Yes"), (CARS, "No|Yes", "No")] * (rows // 2))
    tracemalloc.start()
    (found,) = answered_items(stream_rows(path))
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found.answers == rows
    assert found.distribution == (0.5, 0.5)
    assert most < 2**20, "a list of the rows takes ten times as much"


# Vectors


class Directions(Embeddings):
    """Gives each text a direction of its own; counts what it is asked."""

    def __init__(self, turn: float = 0.0) -> None:
        self.turn, self.asked = turn, list[str]()

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        self.asked += texts
        made = []
        for text in texts:
            words = np.zeros(64)
            for word in text.casefold().split():
                words[(len(word) * 7 + ord(word[0]) + int(self.turn)) % 64] += 1
            made.append(words.tolist())
        return made

    def embed_query(self, text: str) -> list[float]:
        return self.embed_documents([text])[0]


def test_vectors_are_made_once_and_those_of_another_model_never_used(tmp_path: Path) -> None:
    path, model = answers_file(tmp_path / "a.csv"), Directions()
    RecordFile(path, Dense(model, "mine")).record()
    assert {CARS, TAXES} <= set(model.asked)
    model.asked.clear()
    written(path, (CARS, "Yes|No", "Yes"), ("Is soup a meal?", "Yes|No", "No"))
    record = RecordFile(path, Dense(model, "mine")).record()
    assert CARS not in model.asked
    assert "Is soup a meal?" in model.asked
    assert record.estimate("soup meal?", YES_NO).evidence["answers"][0]["question"] == "Is soup a meal?"
    other = Directions(turn=1.0)
    RecordFile(path, Dense(other, "mine")).record()
    assert {CARS, "Is soup a meal?"} <= set(other.asked), "another model stands behind the name"


def test_an_embedded_model_gives_vectors(tmp_path: Path) -> None:
    embeddings = LlamaEmbeddings(gguf=RANDOM_GGUF)
    try:
        record = RecordFile(answers_file(tmp_path / "a.csv"), Dense(embeddings, "random")).record()
        found = record.estimate(CARS.rstrip("?"), YES_NO)
        assert found.evidence["answers"][0]["question"] == CARS
        assert found.evidence["nearness"] > 0.9
    finally:
        embeddings.close()


# The voice


def pool_with(folder: Path, *names: str, **run: Any) -> Pool:
    fake = fake_pool(("north", "east"), **run)
    communities = {}
    for name, community in fake.communities.items():
        if name in names:
            rows = [(CARS, "Yes|No|Only some", "Yes" if name == "north" else "No")] * 4
            written(folder / f"{name}.csv", *rows, (CARS, "Yes|No|Only some", "Only some"))
            community = community.model_copy(update={"answers": f"{name}.csv"})
        communities[name] = community
    return Pool(**{**dict(fake), "communities": communities, "folder": folder})


NEAR: Any = {"question": "Should cars be banned from the town?", "options": list(OPTIONS)}
FAR: Any = {"question": "Is soup a meal?", "options": list(OPTIONS)}


def test_records_speak_alone_and_no_model_is_asked(tmp_path: Path) -> None:
    pool = pool_with(tmp_path, "north", "east")
    models = {name: always("x") for name in pool.models}
    graph = build_distributional(pool, voice="record", models=models).compile()
    result = graph.invoke(NEAR)
    assert result["distribution"] == pytest.approx([0.4, 0.4, 0.2])
    assert result["distributions"]["north"]["probabilities"] == pytest.approx([0.8, 0.0, 0.2])
    assert result["distributions"]["north"]["scoring"] is None
    assert result["label_mass"] is None
    assert result["distributions"]["east"]["evidence"]["answers"][0]["question"] == CARS
    assert json.loads(json.dumps(result)) == result
    assert all(model.seen == [] for model in models.values())
    with pytest.raises(QuorumError, match=r"nearest question of its record has a similarity of 0\.00, and up to 0\.2"):
        graph.invoke(FAR)
    with pytest.raises(QuorumError, match="has options that fit these 2"):
        graph.invoke(NEAR | {"options": ["a", "b"]})


def test_far_from_any_record_the_vote_speaks_and_near_it_both_do(tmp_path: Path) -> None:
    pool = pool_with(tmp_path, "north", voice_weights={"record": 3.0})
    models = {"boss": always("x"), **{name: voter(OWN[name]) for name in ("north", "east")}}
    graph = build_distributional(pool, voice="record,vote", models=models).compile()
    near, far = graph.invoke(NEAR), graph.invoke(FAR)
    vote, record = np.array(OWN["north"]), np.array([0.8, 0.0, 0.2])
    assert near["distributions"]["north"]["probabilities"] == pytest.approx(0.25 * vote + 0.75 * record)
    assert near["distributions"]["north"]["mass"] == pytest.approx(0.9), "of what was read from a model"
    assert near["distributions"]["north"]["evidence"]["opening"] == 1
    assert near["distributions"]["east"]["probabilities"] == pytest.approx(OWN["east"]), "it has no record"
    assert set(near["votes"]) == {"north", "east"}
    assert set(near["records"]) == {"north"}
    assert far["distributions"]["north"]["probabilities"] == pytest.approx(OWN["north"])
    assert far["records"]["north"]["evidence"]["opening"] == 0
    assert far["missing"] == []


def test_all_three_voices_are_united(tmp_path: Path) -> None:
    pool = pool_with(tmp_path, "north", "east")
    models = {"boss": voter([0.2, 0.5, 0.3]), **{name: voter(OWN[name]) for name in ("north", "east")}}
    result = build_distributional(pool, voice="comment,vote,record", models=models).compile().invoke(NEAR)
    expected = (np.array([0.2, 0.5, 0.3]) + OWN["north"] + np.array([0.8, 0.0, 0.2])) / 3
    assert result["distributions"]["north"]["probabilities"] == pytest.approx(expected)
    assert result["comments"]["north"]["text"] == "A view."


@pytest.mark.parametrize(("nearness", "weight"), [(0.1, 0.0), (0.2, 0.0), (0.3, 0.5), (0.4, 1.0), (0.9, 1.0)])
def test_the_gate_opens_in_proportion(nearness: float, weight: float) -> None:
    assert Gate(0.2, 0.4).opening(nearness) == pytest.approx(weight)


def test_a_community_is_missing_while_its_record_cannot_be_read(tmp_path: Path) -> None:
    pool = pool_with(tmp_path, "north", "east", quorum=1)
    graph = build_distributional(pool, voice="record").compile()
    assert graph.invoke(NEAR)["missing"] == []
    kept = (tmp_path / "east.csv").read_text()
    (tmp_path / "east.csv").write_text("nothing")
    broken = graph.invoke(NEAR)
    assert broken["missing"] == ["east"]
    assert "holds no answers" in broken["comments"]["east"]["error"]
    (tmp_path / "east.csv").write_text(kept)
    assert graph.invoke(NEAR)["missing"] == []


def test_voices_that_cannot_be_are_refused(tmp_path: Path) -> None:
    with pytest.raises(PoolError, match=r"\[communities.east\] has no record for the voice \"record\""):
        build_distributional(pool_with(tmp_path, "north"), voice="record")
    with pytest.raises(PoolError, match="has no record"):
        build_distributional(pool_with(tmp_path), voice="vote,record")
    with pytest.raises(InputError, match="twice; name each once"):
        build_distributional(pool_with(tmp_path), voice="vote,vote")
    outside = Community(model="boss", description="x", answers="../other.csv")
    fake = dict(pool_with(tmp_path))
    with pytest.raises(PoolError, match=r"answers: .*outside the pool's folder"):
        Pool(**{**fake, "communities": {"north": outside}})
    gone = Community(model="boss", description="x", answers="none.csv")
    with pytest.raises(PoolError, match="answers: there is no file"):
        PoolModels(Pool(**{**fake, "communities": {"north": gone}})).check("record")
    with pytest.raises(PoolError, match="second is larger"):
        pool_with(tmp_path).with_run(record_gate=(0.4, 0.2))
    with pytest.raises(PoolError, match="record_similarity names no model"):
        Pool(**{**fake, "run": {"record_similarity": "none"}})


@pytest.mark.parametrize("gate", ["[0.1, 0.9]", "[0, 1]"])
def test_a_pool_file_has_its_own_gate(tmp_path: Path, gate: str) -> None:
    text = f"""
        base = "m"
        [models.m]
        gguf = "m.gguf"
        [communities.north]
        model = "m"
        description = "the north"
        [run]
        record_gate = {gate}
    """
    pool = Pool.from_toml(text, source="pool.toml", folder=tmp_path)
    assert pool.run.record_gate == tuple(json.loads(gate))
    assert RunSettings(**json.loads(pool.run.model_dump_json())) == pool.run  # as a kept run has it


def test_voices_without_any_weight_make_a_community_missing(tmp_path: Path) -> None:
    pool = pool_with(tmp_path, "north", "east", voice_weights={"vote": 0.0})
    models = {"boss": always("x"), **{name: voter(OWN[name]) for name in ("north", "east")}}
    with pytest.raises(QuorumError, match="None of its voices has a weight"):
        build_distributional(pool, voice="vote,record", models=models).compile().invoke(FAR)


def test_an_evaluation_says_where_a_record_has_the_items_own_answers(tmp_path: Path) -> None:
    pool = pool_with(tmp_path, "north", "east")
    written(tmp_path / "east.csv", ("Should cars be banned from the town at night?", "Yes|No|Only some", "No"))
    asked = {
        "options": list(OPTIONS),
        "attribute": "town",
        "gold_distribution": [0.8, 0, 0.2],
        "pred_distribution": None,
    }
    questions = (CARS, "Should cars be banned from the town?")
    (tmp_path / "task.json").write_text(
        json.dumps([{"id": number, "question": text, **asked} for number, text in enumerate(questions)])
    )

    def warned(voice: str) -> str:
        settings = EvaluationSettings(
            pool=pool, methods=["modular"], voice=voice, models={name: always("A") for name in pool.models}
        )
        made = Evaluation(TaskFile.open(tmp_path / "task.json"), settings, Files(tmp_path / voice))
        results = asyncio.run(made.run(lambda *_: None, lambda _: None))
        return " ".join(results.warnings)

    assert "answers to the items' own questions: north (1 of 2). What" in warned("record")
    assert "own questions" not in warned("comment")


def test_a_pool_file_with_records_is_asked_at_the_terminal(tmp_path: Path) -> None:
    answers_file(tmp_path / "town.csv")
    (tmp_path / "pool.toml").write_text(
        'base = "none"\n[models.none]\ngguf = "no-such.gguf"\n'
        '[communities.town]\nmodel = "none"\ndescription = "the town"\nanswers = "town.csv"\n'
    )
    asked = ("ask", "Should cars be banned?", "--mode", "distributional", "--option", "Yes", "--option", "No")
    done = pluralism(*asked, "--voice", "record", "--pool", str(tmp_path / "pool.toml"))
    assert done.returncode == 0, done.stderr
    assert "town has answered (nearest similarity 0." in done.stdout
    assert CARS in " ".join(done.stdout.split())
    bad = pluralism(*asked, "--voice", "record,loud", "--pool", str(tmp_path / "pool.toml"))
    assert bad.returncode == 2
    assert "There is no voice 'loud'; use comment, vote, record" in bad.stderr


def test_the_debugger_keeps_a_run_of_records_with_their_evidence(tmp_path: Path) -> None:
    answers_file(tmp_path / "town.csv")
    (tmp_path / "pool.toml").write_text(
        'base = "none"\n[models.none]\ngguf = "no-such.gguf"\n'
        '[communities.town]\nmodel = "none"\ndescription = "the town"\nanswers = "town.csv"\n'
    )
    pool = str(tmp_path / "pool.toml")
    request = RunRequest(
        question="Should cars be banned?", mode="distributional", options=list(YES_NO), pool=pool, voice="record"
    )

    async def watched() -> Any:
        async with open_run_store(find_location(str(tmp_path / "runs.sqlite")), 30.0) as store:
            live = await start_run(store, request)
            await live.wait()
            return await read_run(store, live.run)

    kept = asyncio.run(watched())
    assert kept.setup.voice == "record"
    assert kept.state["distributions"]["town"]["evidence"]["answers"][0]["question"] == CARS
    assert list(kept.setup.model_files) == ["town.csv"]
    answers_file(tmp_path / "town.csv", yes=9)
    with pytest.raises(StoreError, match=r"The file town\.csv has changed"):
        kept.setup.load()


def test_a_kept_run_knows_its_records(tmp_path: Path) -> None:
    pool = pool_with(tmp_path, "north")
    before = model_digests(pool)
    assert "north.csv" in before
    answers_file(tmp_path / "north.csv")
    assert model_digests(pool) != before


def test_a_record_alone_is_what_it_says() -> None:
    record: Similarity = Lexical(Gate(0.0, 0.1))
    found = CommunityRecord([item(CARS, [0.9, 0.1])], record).estimate(CARS, YES_NO)
    read: Any = {
        **{"probabilities": found.distribution, "mass": None, "scoring": None, "samples": None, "unread": []},
        **{"label": None, "label_mass": None, "evidence": found.evidence},
    }
    united = unite({"record": read}, Voicing({}))
    assert united["probabilities"] == pytest.approx([0.9, 0.1])
    assert united["evidence"]["itself"]
