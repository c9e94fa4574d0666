"""A Polis export becomes a pool of its opinion groups, whose records are what they voted."""

from __future__ import annotations

import csv
import json
import tomllib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from modular_pluralism.cli.app import app
from modular_pluralism.errors import PluralismError, PoolError, TrainingDataError
from modular_pluralism.polis.export import read_conversation
from modular_pluralism.polis.shares import everyones_shares, smoothed, traits
from modular_pluralism.polis.write import write_polis_pool
from modular_pluralism.pool import Pool
from modular_pluralism.records.rows import read_rows
from modular_pluralism.records.survey import survey_items

REPOSITORY = Path(__file__).resolve().parents[1]
DATA = REPOSITORY.parent / "shared" / "data" / "polis"
TEXTS = ("Buses should be free.", "The museum should close.", "道路は広いほうがよい。", "Everybody should be nice.")


def export(folder: Path, votes: Iterable[Sequence[object]], texts: Sequence[str] = TEXTS, moderated: str = "1") -> Path:
    """An export with these rows of votes: a group, then a vote a statement."""
    folder.mkdir()
    with (folder / "comments.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["timestamp", "comment-id", "moderated", "comment-body"])
        writer.writerows([0, at, moderated, text] for at, text in enumerate(texts))
    with (folder / "participants-votes.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["participant", "group-id", "n-comments", "n-votes", "n-agree", "n-disagree", 0, 1, 2, 3])
        writer.writerows([at, group, 0, 0, 0, 0, *rest] for at, (group, *rest) in enumerate(votes))
    return folder


TWO_GROUPS: list[list[object]] = [*[[0, 1, -1, "", 1]] * 20, ["", 1, 1, 1, 1]]
TWO_GROUPS += [[1, -1, 1, 0, 1]] * 12


def record(pool: Path, name: str) -> list[dict[str, str]]:
    with (pool.parent / "records" / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_groups_become_communities_with_their_own_votes(tmp_path: Path) -> None:
    conversation = read_conversation(export(tmp_path / "export", TWO_GROUPS))
    made = write_polis_pool(conversation, Pool.load("perspective"), tmp_path / "town")
    table = tomllib.loads(made.pool.read_text())
    assert {name: each["prior"] for name, each in table["communities"].items()} == {
        "group_a": 20,
        "group_b": 12,
        "everyone": 0,
    }
    assert table["models"]["smollm2"]["gguf"].startswith("package:")
    rows = record(made.pool, "group_a")
    assert [row["question"] for row in rows] == [TEXTS[0], TEXTS[1], TEXTS[3]]  # nobody in it saw the third
    assert [rows[0][option] for option in ("agree", "disagree", "pass", "answers")] == ["20", "0", "0", "20"]
    assert len(record(made.pool, "everyone")) == 4
    items = survey_items(read_rows(made.pool.parent / "records" / "group_b.csv"))
    assert items[0].options == ("Agree", "Disagree", "Pass")
    assert items[0].distribution[1] > 0.8
    assert 0 < items[0].distribution[0] < 0.2  # drawn to what everyone says


def test_a_group_is_described_by_what_it_says_more_than_the_others(tmp_path: Path) -> None:
    conversation = read_conversation(export(tmp_path / "export", TWO_GROUPS))
    made = write_polis_pool(conversation, Pool.load("perspective"), tmp_path / "town")
    a, b, everyone = made.groups
    assert {(trait.statement, trait.option) for trait in a.traits} == {(0, "Agree"), (1, "Disagree")}
    assert {(trait.statement, trait.option) for trait in b.traits} == {(0, "Disagree"), (1, "Agree")}
    assert "agree that “Buses should be free.” (100% against 0%)" in a.description
    assert everyone.traits == ()


def test_what_all_agree_on_or_few_have_voted_on_sets_nobody_apart(tmp_path: Path) -> None:
    votes = [*[[0, 1, 1, "", 1]] * 2, *[[1, 1, -1, "", 1]] * 2]
    assert traits(read_conversation(export(tmp_path / "export", votes)).groups) == {"a": [], "b": []}


def test_shares_are_drawn_to_what_is_expected_the_more_the_fewer_votes() -> None:
    expected = np.tile([0.5, 0.3, 0.2], (40, 1))
    counts = np.array([[20, 0, 0], [0, 20, 0], [0, 0, 20], [1, 0, 0]] * 10)
    shares, strength = smoothed(counts, expected)
    assert np.allclose(shares.sum(axis=1), 1)
    assert 0.9 < shares[0, 0] < 1
    assert shares[3, 0] - 0.5 < shares[0, 0] - 0.5
    # A group that votes as expected is drawn as far as can be.
    assert smoothed(np.tile([50, 30, 20], (40, 1)), expected).strength > 20 * strength


def test_moderated_and_unheard_statements_are_left_out_and_told(tmp_path: Path) -> None:
    folder = export(tmp_path / "export", TWO_GROUPS)
    comments = (folder / "comments.csv").read_text(encoding="utf-8").replace("1,1,The museum", "1,-1,The museum")
    (folder / "comments.csv").write_text(comments + "0,9,1,Nobody has seen this.\n", encoding="utf-8")
    votes = (folder / "participants-votes.csv").read_text().replace(",3\n", ",77\n", 1)
    (folder / "participants-votes.csv").write_text(votes)
    conversation = read_conversation(folder)
    assert conversation.statements == (TEXTS[0], TEXTS[2])
    assert conversation.left_out == (
        "1 statement moderated out",
        "2 statements without a vote",
        "1 statement voted on, but not in comments.csv",
    )


def test_the_words_of_people_stay_data(tmp_path: Path) -> None:
    nasty = ('”]\n[communities.x]\n"', "\x1b[2J “quoted”\u202e", '=1+1, "a"', "x" * 5000)
    conversation = read_conversation(export(tmp_path / "export", TWO_GROUPS, nasty))
    made = write_polis_pool(conversation, Pool.load("perspective"), tmp_path / "town")
    table = tomllib.loads(made.pool.read_text())
    assert list(table["communities"]) == ["group_a", "group_b", "everyone"]
    assert "”]" not in table["communities"]["group_a"]["description"]
    assert len(table["communities"]["group_a"]["description"]) < 1200


def test_a_topic_is_one_line(tmp_path: Path) -> None:
    folder = export(tmp_path / "export", TWO_GROUPS)
    (folder / "summary.csv").write_text('topic,"Two\nlines "\n')
    assert read_conversation(folder).topic == "Two lines"


@pytest.mark.parametrize(
    ("votes", "said"),
    [
        ([["", 1, 1, 1, 1]] * 9, "0 opinion groups"),
        ([[0, 1, 1, 1, 1]], "0 opinion groups"),
        ([*[[0, 1, 1, 1, 1]] * 9, *[[1, 1, 1, 1, 1]] * 4], "1 opinion groups"),
    ],
)
def test_too_few_groups_are_told(tmp_path: Path, votes: list[list[object]], said: str) -> None:
    conversation = read_conversation(export(tmp_path / "export", votes))
    with pytest.raises(TrainingDataError, match=said):
        write_polis_pool(conversation, Pool.load("perspective"), tmp_path / "town")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["export"]


@pytest.mark.parametrize(
    ("file", "text", "said"),
    [
        ("comments.csv", None, "no file .*comments.csv"),
        ("comments.csv", "a,b\n1,2\n", "no column 'comment-id'"),
        ("comments.csv", "comment-id,moderated,comment-body\n0,-1,x\n", "no statement that is not moderated out"),
        ("comments.csv", "comment-id,comment-body\n0,x\n0,y\n", "row 2: the statement 0 is there twice"),
        ("comments.csv", "comment-id,comment-body\n8,x\n", "no vote on a statement"),
        ("comments.csv", 'comment-id,comment-body\n0,"x\n', "not CSV"),
        ("participants-votes.csv", None, "no file .*participants-votes.csv"),
        ("participants-votes.csv", "participant,group-id,0\n1,0,7\n", "row 1, statement 0: '7' is no vote"),
        ("participants-votes.csv", "participant,group-id,0\n1,0\n", "row 1 has 2 fields where the first line has 3"),
        ("participants-votes.csv", "participant,group-id,0\n1,x,1\n", "row 1: 'x' is no group"),
        ("participants-votes.csv", "participant,group-id,0\n1,99,1\n", "row 1: '99' is no group"),
        ("participants-votes.csv", "participant,group-id,0\n1,00000000099,1\n", "row 1: '00000000099' is no group"),
    ],
)
def test_a_bad_export_is_one_sentence(tmp_path: Path, file: str, text: str | None, said: str) -> None:
    folder = export(tmp_path / "export", TWO_GROUPS)
    (folder / file).unlink()
    if text is not None:
        (folder / file).write_text(text)
    with pytest.raises(TrainingDataError, match=said):
        read_conversation(folder)


def test_bytes_that_are_no_text_and_a_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(TrainingDataError, match="no folder"):
        read_conversation(tmp_path / "nowhere")
    folder = export(tmp_path / "export", TWO_GROUPS)
    (folder / "comments.csv").write_bytes(b"comment-id,comment-body\n0,\xff\n")
    with pytest.raises(TrainingDataError, match="not UTF-8"):
        read_conversation(folder)


def test_what_is_there_already_stays(tmp_path: Path) -> None:
    conversation = read_conversation(export(tmp_path / "export", TWO_GROUPS))
    (tmp_path / "town").mkdir()
    (tmp_path / "town" / "mine.txt").write_text("mine")
    with pytest.raises(PoolError, match="there already"):
        write_polis_pool(conversation, Pool.load("perspective"), tmp_path / "town")
    assert [path.name for path in (tmp_path / "town").iterdir()] == ["mine.txt"]


def test_the_base_llm_keeps_its_file_from_another_folder(tmp_path: Path) -> None:
    (tmp_path / "pools").mkdir()
    mine = tmp_path / "pools" / "mine.toml"
    mine.write_text(
        'base = "m"\n[models.m]\ngguf = "weights/m.gguf"\n[communities.x]\nmodel = "m"\ndescription = "people"\n'
    )
    conversation = read_conversation(export(tmp_path / "export", TWO_GROUPS))
    made = write_polis_pool(conversation, Pool.load(mine), tmp_path / "towns" / "town")
    assert tomllib.loads(made.pool.read_text())["models"]["m"]["gguf"] == "../../pools/weights/m.gguf"


@pytest.mark.skipif(not DATA.is_dir(), reason="the shared data is not there")
def test_real_conversations_have_groups_that_differ(tmp_path: Path) -> None:
    for name, participants in (("brexit-consensus", (106, 91, 204)), ("scoop-hivemind.taxes", (40, 255, 333))):
        conversation = read_conversation(DATA / name)
        made = write_polis_pool(conversation, Pool.load("perspective"), tmp_path / name)
        assert tuple(group.participants for group in made.groups) == participants
        assert all(len(group.traits) >= 10 for group in made.groups[:-1])
        everyone = everyones_shares(conversation.everyone).shares
        assert np.abs(everyone[:, 0] - conversation.everyone.counts[:, 0] / conversation.everyone.voters).max() < 0.1


def test_the_built_in_town_is_what_the_example_of_the_docs_makes(tmp_path: Path) -> None:
    conversation = read_conversation(REPOSITORY / "docs" / "example_polis")
    made = write_polis_pool(conversation, Pool.load("perspective"), tmp_path / "made")
    built_in = Pool.load("town").folder
    assert (built_in / "town.toml").read_text() == made.pool.read_text()
    for group in made.groups:
        assert (built_in / "records" / f"{group.name}.csv").read_text() == (
            tmp_path / "made" / "records" / f"{group.name}.csv"
        ).read_text()


def test_the_command(tmp_path: Path) -> None:
    export(tmp_path / "export", TWO_GROUPS)
    arguments = ["community", "from-polis", str(tmp_path / "export"), "--out", str(tmp_path / "town")]
    told: dict[str, Any] = json.loads(CliRunner().invoke(app, [*arguments, "--json"]).stdout)
    assert told["groups"]["group_a"]["participants"] == 20
    assert {each["statement"] for each in told["groups"]["group_a"]["traits"]} <= set(TEXTS)
    assert Path(told["pool"]).is_file()
    again = CliRunner().invoke(app, arguments)
    assert isinstance(again.exception, PluralismError)
    assert "name a new folder with --out" in str(again.exception)
