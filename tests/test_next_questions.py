"""Which question to ask a community next, and putting what its people said into its record."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from modular_pluralism.cli.app import app
from modular_pluralism.errors import PluralismError, PoolError, TrainingDataError
from modular_pluralism.pool import Pool
from modular_pluralism.pool_files.learn import learn, read_answers
from modular_pluralism.records.next_questions import Asked, apart, rank, records_on
from modular_pluralism.records.record import CommunityRecord
from modular_pluralism.records.rows import Row, stream_rows
from modular_pluralism.records.similarity import Lexical
from modular_pluralism.records.survey import OpenQuestion, SurveyItem, answered_items, open_questions
from tests.command import pluralism

YES_NO = ("Yes", "No")
POOLS = "Should the swimming pool be open all year?"
NIGHT = "Should the swimming pool be open at night?"
COST = "Should the swimming pool cost less?"
DOGS = "Do dogs need a lead?"
OPEN = [OpenQuestion(text, YES_NO) for text in (DOGS, NIGHT, COST, POOLS)]


def record(*questions: str, options: Sequence[str] = YES_NO) -> CommunityRecord:
    shares = (0.75, *[0.25 / (len(options) - 1)] * (len(options) - 1))
    return CommunityRecord([SurveyItem(each, tuple(options), None, shares) for each in questions], Lexical())


def ranked(*records: CommunityRecord, most: int = 9, votes: Sequence[Sequence[float]] | None = None) -> list[str]:
    nearness, known, _ = records_on(OPEN, records)
    names = [f"c{place}" for place in range(len(records))]
    return [each.question for each in rank(OPEN, names, Asked(nearness, known, votes), Lexical(), most)]


def test_the_first_question_tells_of_the_most_others() -> None:
    """Three questions are alike, and the one in their midst tells more than the one that is like none."""
    first, second, *_ = ranked(record("What is the best season?", options=("Spring", "Summer", "Autumn")))
    assert first in (NIGHT, POOLS)
    assert second == DOGS


def test_gains_fall_and_what_is_known_is_not_asked() -> None:
    nearness, known, _ = records_on(OPEN, [record(DOGS), record("Is a lead good?")])
    chosen = rank(OPEN, ["one", "two"], Asked(nearness, known, None), Lexical(), 9)
    gains = [each.gain for each in chosen]
    assert gains == sorted(gains, reverse=True)
    assert min(gains) > 0
    asked = {each.question: each.communities for each in chosen}
    assert asked[DOGS] == ("two",)
    assert asked[POOLS] == ("one", "two")
    assert ranked(record(DOGS, NIGHT, COST, POOLS)) == []
    assert len(ranked(record(DOGS), most=1)) == 1


def test_each_choice_is_the_best_one_by_hand() -> None:
    known = record(DOGS)
    nearness, is_known, _ = records_on(OPEN, [known])
    index = Lexical().index([each.question for each in OPEN])
    alike = np.array([index.similarities(each.question) for each in OPEN])
    tells, has = (np.expm1(8 * each) / np.expm1(8) for each in (alike, nearness[0]))
    told = {OPEN[at].question: float(np.maximum(tells[at] - has, 0).sum() / 4) for at in (1, 2, 3)}
    first = rank(OPEN, ["one"], Asked(nearness, is_known, None), Lexical(), 1)[0]
    assert first.question == max(told, key=told.__getitem__)
    assert first.gain == pytest.approx(told[first.question])


def test_where_vote_and_record_agree_an_answer_tells_little() -> None:
    far = record("What is the best season?", options=("Spring", "Summer", "Autumn"))
    assert ranked(far, votes=[[0.6, 0.01, 0.01, 0.01]])[0] == DOGS
    assert ranked(far, votes=[[0.0, 0.0, 0.6, 0.0]])[0] == COST
    assert set(ranked(far, votes=[[0.0, 0.0, 0.0, 0.0]])) == set(ranked(far))


def test_how_far_a_vote_is_from_a_record() -> None:
    assert apart([0.3, 0.7], [0.3, 0.7]) == 0
    assert apart([1.0, 0.0], [0.0, 1.0]) == pytest.approx(np.log(2))
    assert apart([1.0, 0.0], None) == apart(None, [0.5, 0.5]) == pytest.approx(np.log(2))
    assert 0 < apart([0.3, 0.7], [0.4, 0.6]) < 0.01


def test_an_answer_with_other_options_tells_nothing_of_a_question() -> None:
    same = [OpenQuestion(POOLS, YES_NO), OpenQuestion(NIGHT, ("Often", "Seldom", "Never"))]
    nearness, known, _ = records_on(same, [record(DOGS)])
    assert nearness[0, 1] == 0
    gains = {each.question: each.gain for each in rank(same, ["c"], Asked(nearness, known, None), Lexical(), 2)}
    assert gains[NIGHT] == pytest.approx(0.5)


def test_a_question_is_asked_once_however_it_is_written() -> None:
    rows = [
        Row({"question": text, "options": options}, "row")
        for text, options in ((DOGS, "Yes|No"), (DOGS.upper(), "no|YES"), (f" {DOGS}\n", "Yes|No"), (DOGS, "Yes|No|Hm"))
    ]
    assert open_questions(rows) == [OpenQuestion(DOGS, YES_NO), OpenQuestion(DOGS, ("Yes", "No", "Hm"))]


def test_what_only_rounding_tells_is_not_asked() -> None:
    same = [OpenQuestion(text, YES_NO) for text in (DOGS, DOGS.replace(" lead?", "  lead ?"), DOGS.replace("?", "!"))]
    nearness, known, _ = records_on(same, [None])
    assert len(rank(same, ["c"], Asked(nearness, known, None), Lexical(), 9)) == 1


# Learning


@pytest.fixture
def town(tmp_path: Path) -> Path:
    """A pool of two communities with records, and a third without."""
    (tmp_path / "north.csv").write_text('question,options,distribution,note\nIs it cold?,Yes|No,"[0.9, 0.1]",x\n')
    (tmp_path / "south.jsonl").write_text(json.dumps({"question": DOGS, "options": YES_NO, "answer": "Yes"}) + "\n")
    (tmp_path / "pool.toml").write_text(
        'base = "demo"\n[models.demo]\ngguf = "no-such.gguf"\n'
        '[communities.north]\nmodel = "demo"\nanswers = "north.csv"\ndescription = "the north"\n'
        '[communities.south]\nmodel = "demo"\nanswers = "south.jsonl"\ndescription = "the south"\n'
        '[communities.west]\nmodel = "demo"\ndescription = "the west"\n'
    )
    return tmp_path / "pool.toml"


def answers(folder: Path, *rows: Sequence[str], header: str = "question,options,community,answer,weight") -> Path:
    file = folder / "answered.csv"
    with file.open("w", newline="") as opened:
        csv.writer(opened).writerows([header.split(","), *rows])
    return file


def items(file: Path) -> list[SurveyItem]:
    return answered_items(stream_rows(file))


def test_answers_are_put_behind_what_a_record_has(town: Path) -> None:
    before = (town.parent / "north.csv").read_text().splitlines()
    file = answers(
        town.parent,
        (COST, "Yes|No", "north", "Yes", "3"),
        (COST, "Yes|No", "north", "B", ""),
        (DOGS, "Yes|No", "south", "No", "2"),
        (NIGHT, "Yes|No", "south", "", ""),
    )
    pool = Pool.load(town)
    read = read_answers(file, pool)
    assert read.unanswered == 1
    told = {each.community: each for each in learn(read, pool, town)}
    assert (told["north"].answers, told["north"].questions, told["north"].known) == (2, 1, 0)
    assert (told["south"].answers, told["south"].known) == (1, 1)
    north = items(town.parent / "north.csv")
    assert north[0] == SurveyItem("Is it cold?", YES_NO, None, (0.9, 0.1))
    assert north[1] == SurveyItem(COST, YES_NO, None, (0.75, 0.25), 4.0)
    after = (town.parent / "north.csv").read_text().splitlines()
    assert after[0] == f"{before[0]},answer,weight"
    assert after[1].startswith(before[1])
    (south,) = items(town.parent / "south.jsonl")
    assert south.distribution == pytest.approx((1 / 3, 2 / 3))
    assert not list(town.parent.glob(".*"))


def test_rows_with_the_same_columns_leave_the_file_as_it_was(town: Path) -> None:
    old = town.parent / "north.csv"
    old.write_text(old.read_text().rstrip("\n"))  # as some editors leave it
    before = old.read_text()
    file = answers(town.parent, (COST, "Yes|No", "[0.25, 0.75]"), header="question,options,distribution")
    pool = Pool.load(town)
    learn(read_answers(file, pool, "north"), pool, town)
    assert old.read_text().startswith(f"{before}\n")
    assert items(old)[1].distribution == (0.25, 0.75)


def test_a_record_that_is_not_there_yet_is_made(town: Path) -> None:
    (town.parent / "north.csv").unlink()
    file = answers(town.parent, (COST, "Yes|No", "north", "Yes", ""))
    pool = Pool.load(town)
    (told,) = learn(read_answers(file, pool), pool, town)
    assert (told.known, told.made) == (0, True)
    assert items(town.parent / "north.csv") == [SurveyItem(COST, YES_NO, None, (1.0, 0.0), 1.0)]
    (again,) = learn(read_answers(file, pool), pool, town)
    assert (again.known, again.made) == (1, False)


@pytest.mark.parametrize(
    ("row", "error", "said"),
    [
        ((COST, "Yes|No", "east", "Yes", ""), TrainingDataError, "row 1: the pool has no community 'east'"),
        ((COST, "Yes|No", "", "Yes", ""), TrainingDataError, "row 1: there is no 'community'"),
        ((COST, "Yes|No", "west", "Yes", ""), PoolError, r"\[communities.west\] has no record to put answers into"),
        ((COST, "Yes|No", "north", "Perhaps", ""), TrainingDataError, "row 1: the answer 'Perhaps' is none"),
        ((COST, "Yes|No", "north", "Yes", "-1"), TrainingDataError, "row 1: the weight -1 is below 0"),
        ((COST, "Yes|No", "north", "", ""), TrainingDataError, "has no answer in its 1 rows"),
    ],
)
def test_what_cannot_be_learnt_changes_nothing(
    town: Path, row: Sequence[str], error: type[PluralismError], said: str
) -> None:
    before = {file: file.read_bytes() for file in town.parent.glob("*") if file.name != "answered.csv"}
    pool = Pool.load(town)
    with pytest.raises(error, match=said):
        learn(read_answers(answers(town.parent, row), pool), pool, town)
    assert {file: file.read_bytes() for file in before} == before


def test_a_record_of_another_kind_is_refused(town: Path) -> None:
    (town.parent / "north.json").write_text(json.dumps([{"question": DOGS, "options": YES_NO, "answer": "Yes"}]))
    town.write_text(town.read_text().replace("north.csv", "north.json"))
    pool = Pool.load(town)
    file = answers(town.parent, (COST, "Yes|No", "north", "Yes", ""))
    with pytest.raises(TrainingDataError, match=r"is no \.csv or \.jsonl file"):
        learn(read_answers(file, pool), pool, town)


@pytest.mark.parametrize("header", ["question,options,distribution", "question,options,community,answer,weight"])
def test_line_ends_and_the_byte_order_mark_stay(town: Path, header: str) -> None:
    """As spreadsheets on Windows write a file, also with a line end within a cell."""
    old = town.parent / "north.csv"
    before = '\ufeffquestion,options,distribution\r\n"Is it\r\ncold?",Yes|No,"[0.9, 0.1]"\r\n'.encode()
    old.write_bytes(before)
    row = (COST, "Yes|No", "[0.25, 0.75]") if header.endswith("distribution") else (COST, "Yes|No", "north", "Yes", "")
    pool = Pool.load(town)
    learn(read_answers(answers(town.parent, row, header=header), pool, "north"), pool, town)
    after = old.read_bytes()
    if header.endswith("distribution"):
        assert after.startswith(before)
    assert after.count(b"\xef\xbb\xbf") == after.startswith(b"\xef\xbb\xbf") == 1
    assert after.count(b"\n") == after.count(b"\r\n") == 4
    assert [each.question for each in items(old)] == ["Is it\r\ncold?", COST]


def test_a_record_that_is_a_link_stays_one(town: Path) -> None:
    real = town.parent / "elsewhere.csv"
    (town.parent / "north.csv").rename(real)
    (town.parent / "north.csv").symlink_to(real)
    pool = Pool.load(town)
    learn(read_answers(answers(town.parent, (COST, "Yes|No", "north", "Yes", "")), pool), pool, town)
    assert (town.parent / "north.csv").is_symlink()
    assert [each.question for each in items(real)] == ["Is it cold?", COST]


def test_two_names_of_one_record_are_refused(town: Path) -> None:
    (town.parent / "south.csv").symlink_to(town.parent / "north.csv")
    town.write_text(town.read_text().replace("south.jsonl", "south.csv"))
    pool = Pool.load(town)
    rows = [(COST, "Yes|No", name, "Yes", "") for name in ("north", "south")]
    with pytest.raises(PoolError, match="two communities have one file"):
        learn(read_answers(answers(town.parent, *rows), pool), pool, town)


def test_a_record_that_is_read_only_stays_as_it_is(town: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = town.parent / "north.csv"
    before = old.read_bytes()
    monkeypatch.setattr("os.access", lambda path, mode: Path(path) != old)  # which allows the superuser everything
    pool = Pool.load(town)
    with pytest.raises(TrainingDataError, match=r"north\.csv is read-only"):
        learn(read_answers(answers(town.parent, (COST, "Yes|No", "north", "Yes", "")), pool), pool, town)
    assert old.read_bytes() == before


def test_where_one_record_cannot_be_written_none_is(town: Path) -> None:
    (town.parent / "file").write_text("")
    town.write_text(town.read_text().replace("south.jsonl", "file/south.jsonl"))
    before = (town.parent / "north.csv").read_bytes()
    pool = Pool.load(town)
    rows = [(COST, "Yes|No", name, "Yes", "") for name in ("north", "south")]
    with pytest.raises(TrainingDataError, match=r"south\.jsonl cannot be written"):
        learn(read_answers(answers(town.parent, *rows), pool), pool, town)
    assert (town.parent / "north.csv").read_bytes() == before
    assert not list(town.parent.glob(".*"))


def test_two_processes_that_learn_at_once_lose_no_answer(town: Path) -> None:
    """One of them by a link to the pool."""
    link = town.with_name("link.toml")
    link.symlink_to(town)
    file = answers(town.parent, *[(COST, "Yes|No", "north", "Yes", "")] * 50)
    with ThreadPoolExecutor() as threads:
        done = list(threads.map(lambda at: pluralism("community", "learn", str(file), "--pool", str(at)), [town, link]))
    assert [each.returncode for each in done] == [0, 0], done
    assert items(town.parent / "north.csv")[1].answers == 100


# The commands


def test_questions_are_asked_filled_in_and_learnt(tmp_path: Path) -> None:
    town = tmp_path / "town"
    made = CliRunner().invoke(app, ["community", "from-polis", "docs/example_polis", "--out", str(town)])
    assert made.exit_code == 0, made.output
    with (tmp_path / "open.csv").open("w", newline="") as opened:
        writer = csv.writer(opened)
        writer.writerows([["question", "options"], *([text, "Agree|Disagree|Pass"] for text in (POOLS, COST))])
        writer.writerow(["Rents in the centre are too high.", "Agree|Disagree|Pass"])
    survey = tmp_path / "survey.csv"
    call = ["community", "ask-next", str(town / "pool.toml"), "--from", str(tmp_path / "open.csv")]
    asked = CliRunner().invoke(app, [*call, "--out", str(survey)])
    assert asked.exit_code == 0, asked.output
    assert "2 of 3 questions; all communities have answered 1 of them already." in " ".join(asked.output.split())
    rows = list(csv.DictReader(survey.open()))
    assert len(rows) == 8
    filled = [row | {"answer": "Agree", "weight": "5"} for row in rows if row["community"] == "group_a"]
    with survey.open("w", newline="") as opened:
        file = csv.DictWriter(opened, fieldnames=list(rows[0]))
        file.writeheader()
        file.writerows(filled)
    learnt = CliRunner().invoke(app, ["community", "learn", str(survey), "--pool", str(town / "pool.toml")])
    assert learnt.exit_code == 0, learnt.output
    assert "group_a: 2 answers, to 2 questions." in learnt.output
    again = json.loads(CliRunner().invoke(app, [*call, "--json"]).stdout)
    assert all("group_a" not in each["communities"] for each in again["questions"])
    refused = CliRunner().invoke(app, [*call, "--out", str(survey)])
    assert "is there already" in str(refused.exception)
    without = CliRunner().invoke(app, ["community", "ask-next", "culture", "--from", str(tmp_path / "open.csv")])
    assert "has no record to put answers into" in str(without.exception)


@pytest.mark.parametrize("pool", ["town", str(Path("modular_pluralism/pools/town.toml").absolute())])
def test_a_built_in_pool_learns_nothing(town: Path, pool: str) -> None:
    file = answers(town.parent, (COST, "Agree|Disagree|Pass", "group_a", "Agree", ""))
    refused = CliRunner().invoke(app, ["community", "learn", str(file), "--pool", pool])
    assert "is a built-in pool, which is never written" in str(refused.exception)


def test_a_community_without_answers_yet_is_asked_all(town: Path) -> None:
    """Its first questions are what the command is for; `learn` makes its record."""
    (town.parent / "north.csv").unlink()
    town.write_text(town.read_text().split("[communities.west]")[0])
    (town.parent / "open.csv").write_text(f"question,options\n{POOLS},Yes|No\n{DOGS},Yes|No\n")
    call = ["community", "ask-next", str(town), "--from", str(town.parent / "open.csv"), "--json"]
    asked = CliRunner().invoke(app, call)
    assert asked.exit_code == 0, asked.output
    assert "north has no answers yet" in asked.stderr
    assert {each["question"]: each["communities"] for each in json.loads(asked.stdout)["questions"]} == {
        POOLS: ["north", "south"],
        DOGS: ["north"],
    }


@pytest.mark.model
def test_votes_of_the_real_model_weigh_the_questions(tmp_path: Path) -> None:
    (tmp_path / "open.csv").write_text(f"question,options\n{POOLS},Agree|Disagree\n{DOGS},Agree|Disagree\n")
    done = pluralism("community", "ask-next", "town", "--from", str(tmp_path / "open.csv"), "--votes", "--json")
    assert done.returncode == 0, done.stderr
    questions = json.loads(done.stdout)["questions"]
    assert {each["question"] for each in questions} == {POOLS, DOGS}
    assert all(0 < each["disagreement"] <= 0.694 for each in questions)
