"""Comparing prompts without right answers: answers side by side, blind ratings, and what may be said of them."""

from __future__ import annotations

import asyncio
import io
import json
import os
import pty
import re
import select
import signal
import subprocess
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from modular_pluralism.cli.rate import rate
from modular_pluralism.errors import EvaluationError, InputError, ModelCallError
from modular_pluralism.prompt_trials.answers import Answering, AnswerSettings
from modular_pluralism.prompt_trials.questions import read_questions
from modular_pluralism.prompt_trials.rating_page import read_ratings
from modular_pluralism.prompt_trials.ratings import Choice, Pair, Ratings
from modular_pluralism.prompt_trials.result_models import CUT_OFF, Answer, CallCounts, Preference
from modular_pluralism.prompt_trials.side_by_side import JOURNAL, side_by_side, write_folder
from modular_pluralism.prompts import built_in_files
from tests.browser import chromium
from tests.command import PLURALISM, pluralism
from tests.fake_models import FakeChat, Seen, always, choosing, fake_models, fake_pool
from tests.short_pool import pair_pool

TWO = ("north", "south")


def variant(folder: Path, mark: str = "GOOD", name: str = "merge") -> Path:
    """A folder whose prompt `name` has one more line."""
    folder.mkdir()
    prompt = built_in_files()[f"{name}.txt"]
    (folder / f"{name}.txt").write_text(prompt.with_text(f"{prompt.text}\n{mark}\n", "test").file_text())
    return folder


def ask(folder: Path, count: int) -> Path:
    """A file of so many questions."""
    path = folder / "my.txt"
    path.write_text("# of mine\n\n" + "".join(f"Is number {number} a good one?\n" for number in range(count)))
    return path


def marked(seen: Seen) -> str:
    number = re.findall(r"number (\d+)", seen.prompt)[-1]
    return f"{'Rich' if 'GOOD' in seen.prompt else 'Thin'} answer {number}."


def answering(folder: Path, count: int, *folders: Path, base: Any = None, **settings: Any) -> Answering:
    models = settings.pop("models", None) or fake_models(base or FakeChat(say=marked), TWO)
    given = AnswerSettings(pool=fake_pool(TWO), models=models, **settings)
    return Answering(ask(folder, count), folders or [variant(folder / "mine")], given)


def answered(ready: Answering, folder: Path) -> tuple[list[Answer], dict[str, CallCounts]]:
    with ready.journal(folder / JOURNAL) as journal:
        calls = asyncio.run(ready.run(journal, lambda name, result: None))
        return ready.answers(journal), calls


def rated(ready: Answering, folder: Path, choose: Callable[[Pair, int], Choice], most: int = 1000) -> list[Preference]:
    """What comes of ratings by a function of a pair and its number."""
    with ready.journal(folder / JOURNAL) as journal:
        asyncio.run(ready.run(journal, lambda name, result: None))
        ratings = Ratings(journal, ready.answers(journal), ready.names, ready.settings.seed)
        for number, pair in enumerate(ratings.waiting()[:most]):
            ratings.rate(pair, choose(pair, number))
        return ratings.preferences()


def for_set(name: str) -> Callable[[Pair, int], Choice]:
    """Always the answer of that set of prompts."""
    return lambda pair, _: "first" if pair.first.prompts == name else "second"


# Answers


def test_every_question_is_answered_with_every_set_and_comments_are_made_once(tmp_path: Path) -> None:
    north = always("The view of north.")
    models = fake_models(FakeChat(say=marked), TWO, north=north)
    ready = answering(tmp_path, 3, models=models)
    answers, calls = answered(ready, tmp_path)
    assert ready.names == ["built-in", "mine"]
    assert [(each.item, each.prompts, each.answer) for each in answers] == [
        (item, name, f"{word} answer {item}.")
        for item in range(3)
        for name, word in (("built-in", "Thin"), ("mine", "Rich"))
    ]
    assert len(north.seen) == 3
    assert {name: (each.made, each.reused) for name, each in calls.items()} == {"built-in": (9, 0), "mine": (3, 6)}
    assert answers[0].comments["north"] == "The view of north."


def test_answers_that_are_there_are_not_made_again(tmp_path: Path) -> None:
    mine = variant(tmp_path / "mine")
    base = FakeChat(say=marked)
    models = fake_models(base, TWO)
    first, _ = answered(answering(tmp_path, 5, mine, models=models, limit=2), tmp_path)
    asked = len(base.seen)
    more, _ = answered(answering(tmp_path, 5, mine, models=models), tmp_path)
    assert more[:4] == first
    assert len(more) == 10
    assert len(base.seen) == asked * 5 // 2
    again, calls = answered(answering(tmp_path, 5, mine, models=models), tmp_path)
    assert again == more
    assert calls == {}
    assert len(base.seen) == asked * 5 // 2


def test_a_folder_keeps_to_its_questions_and_prompts(tmp_path: Path) -> None:
    mine = variant(tmp_path / "mine")
    answered(answering(tmp_path, 2, mine), tmp_path)
    with pytest.raises(EvaluationError, match="another questions"):
        answered(answering(tmp_path, 3, mine), tmp_path)
    (mine / "merge.txt").write_text((mine / "merge.txt").read_text().replace("GOOD", "BETTER"))
    with pytest.raises(EvaluationError, match="give another --out"):
        answered(answering(tmp_path, 2, mine), tmp_path)


def test_an_answer_that_failed_is_told_and_can_be_tried_again(tmp_path: Path) -> None:
    mine, broken = variant(tmp_path / "mine"), [True]

    def say(seen: Seen) -> str | Exception:
        return ModelCallError("broken") if broken[0] and "GOOD" in seen.prompt else marked(seen)

    models = fake_models(FakeChat(say=say), TWO)
    ready = answering(tmp_path, 2, mine, models=models)
    answers, _ = answered(ready, tmp_path)
    assert [each.error for each in answers if each.prompts == "built-in"] == [None, None]
    assert all("broken" in (each.error or "") for each in answers if each.prompts == "mine")
    assert rated(ready, tmp_path, for_set("mine")) == [], "there is nothing to rate"
    broken[0] = False
    with ready.journal(tmp_path / JOURNAL) as journal:
        journal.forget_failures("mine")
    answers, _ = answered(answering(tmp_path, 2, mine, models=models), tmp_path)
    assert [each.error for each in answers] == [None] * 4


def test_answers_of_other_modes_show_distributions(tmp_path: Path) -> None:
    def prefers(seen: Seen) -> dict[str, float]:
        return (
            {"1": 0.9, "2": 0.1}
            if "A. " not in seen.prompt
            else {"A": 0.7, "B": 0.2}
            if "GOOD" in seen.prompt
            else {"A": 0.2, "B": 0.7}
        )

    settings = {"options": ["Yes", "No"], "scoring": "label", "base": choosing(prefers)}
    mine = variant(tmp_path / "mine", name="score")
    answers, _ = answered(answering(tmp_path, 1, mine, mode="distributional", **settings), tmp_path)
    assert answers[0].shown == " 22.2%  Yes\n 77.8%  No"
    assert answers[1].shown == " 77.8%  Yes\n 22.2%  No"
    (tmp_path / "steerable").mkdir()
    told = variant(tmp_path / "told", name="respond_options")
    steered = answering(tmp_path, 1, told, mode="steerable", attribute="privacy", **settings)
    answers, _ = answered(steered, tmp_path / "steerable")
    assert answers[0].selected in TWO
    assert answers[0].attribute == "privacy"
    assert "77.8%  Yes" in answers[1].shown


# What is asked


def test_a_file_of_questions(tmp_path: Path) -> None:
    plain = tmp_path / "plain.txt"
    plain.write_text("\ufeffWhy?\n\n# no question\n  Who?  \n")
    assert [each.question for each in read_questions(plain, "overton")] == ["Why?", "Who?"]
    lines = tmp_path / "lines.jsonl"
    lines.write_text('{"question": "Why?", "attribute": "age"}\n{"question": "# Who?", "options": ["A", "B"]}\n')
    first, second = read_questions(lines, "steerable", attribute="privacy", seed=3)
    assert (first.attribute, first.options, first.seed) == ("age", None, 3)
    assert (second.question, second.attribute, second.options) == ("# Who?", "privacy", ["A", "B"])


@pytest.mark.parametrize(
    ("name", "text", "mode", "told"),
    [
        ("a.txt", "\n# none\n", "overton", "holds no question"),
        ("a.txt", "Why?\n", "steerable", "line 1: This question needs an attribute"),
        ("a.jsonl", '{"question": "Why?"}\n{"questions": "Who?"}\n', "overton", "line 2: it is no object with"),
        ("a.jsonl", '{"question": ["Why?"]}\n', "overton", "line 1: The question is"),
        ("a.jsonl", "Why?\n", "overton", "line 1: it is no object with"),
        ("a.jsonl", '{"question": "Why?", "options": ["A", "A"]}', "distributional", "line 1: Option 2, 'A', is there"),
    ],
)
def test_a_file_that_cannot_be_asked(tmp_path: Path, name: str, text: str, mode: str, told: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=told):
        read_questions(tmp_path / name, mode)


def test_no_file_and_no_text(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"cannot be read.*--questions"):
        read_questions(tmp_path / "gone.txt", "overton")
    (tmp_path / "bytes.txt").write_bytes(b"\xff")
    with pytest.raises(InputError, match="not UTF-8"):
        read_questions(tmp_path / "bytes.txt", "overton")


def test_a_variant_that_the_mode_does_not_use_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"changes nothing here: it changes select alone. The mode overton uses .*--mode"
    ):
        answering(tmp_path, 1, variant(tmp_path / "mine", name="select"))


def test_variants_are_compared_with_a_folder_in_place_of_the_built_in_prompts(tmp_path: Path) -> None:
    ours = variant(tmp_path / "ours", "GOOD")
    ready = answering(tmp_path, 1, variant(tmp_path / "mine", "PLAIN"), prompts=ours)
    answers, _ = answered(ready, tmp_path)
    assert [(each.prompts, each.answer) for each in answers] == [("ours", "Rich answer 0."), ("mine", "Thin answer 0.")]
    with pytest.raises(InputError, match="every text in it is the ours one"):
        answering(tmp_path, 1, ours, prompts=ours)


# Ratings


def test_pairs_are_shown_blind_in_an_order_that_the_seed_draws(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ready = answering(tmp_path, 20)
    answers, _ = answered(ready, tmp_path)
    with ready.journal(tmp_path / JOURNAL) as journal:
        orders = {
            seed: [
                (pair.first.item, pair.first.prompts) for pair in Ratings(journal, answers, ready.names, seed).pairs()
            ]
            for seed in (0, 1)
        }
        fewer = [order for order in orders[0] if order[0] < 10]
        first = [answer for answer in answers if answer.item < 10]
        again = Ratings(journal, first, ready.names, 0).pairs()
        assert [(pair.first.item, pair.first.prompts) for pair in again] == fewer, "more questions change no order"
        assert orders[0] != orders[1]
        assert {name for _, name in orders[0]} == {"built-in", "mine"}
        assert [item for item, _ in orders[0]] != sorted(range(20))

        monkeypatch.setattr("sys.stdin", io.StringIO("1\nnonsense\n\n2\n=\ns\n\n"))
        rate(Ratings(journal, answers, ready.names, 0))
        shown = capsys.readouterr()
        assert shown.out == ""
        assert "mine" not in shown.err
        assert "built-in" not in shown.err
        assert shown.err.count("Pair ") == 5
        given = {each.item: each for each in Ratings(journal, answers, ready.names, 0).given()}
        for (item, prompts), wanted in zip(orders[0][:2], (True, False), strict=True):
            assert (given[item].preferred == prompts) is wanted
            assert given[item].first == prompts
        assert given[orders[0][2][0]].preferred is None
        assert given[orders[0][3][0]].skipped
        assert len(given) == 4


@pytest.mark.parametrize(
    ("choose", "count", "verdict", "told"),
    [
        (for_set("mine"), 24, "better", "mine is preferred to built-in. mine: 24 wins, 0 losses, 0 ties"),
        (for_set("built-in"), 24, "worse", "built-in is preferred to mine. mine: 0 wins, 24 losses, 0 ties"),
        (lambda pair, number: ("first", "second")[number % 2], 24, "unclear", "No clear difference"),
        (lambda pair, number: "neither", 24, "same", "No difference between mine and built-in"),
        (for_set("mine"), 8, "too few questions", "mine cannot be told from built-in with fewer than 20 questions"),
        (lambda pair, number: "skip", 3, "no value", "no pair was rated. mine: 0 wins, 0 losses, 0 ties, 3 skipped."),
    ],
)
def test_what_is_said_of_ratings(
    tmp_path: Path, choose: Callable[[Pair, int], Choice], count: int, verdict: str, told: str
) -> None:
    [preference] = rated(answering(tmp_path, count), tmp_path, choose)
    assert preference.verdict == verdict
    assert told in preference.sentence
    assert preference.left == 0
    if verdict != "no value":
        assert f"n = {count} pairs of {count} questions" in preference.sentence
        low, value, high = preference.net.low, preference.net.value, preference.net.high
        assert low is not None
        assert value is not None
        assert high is not None
        assert low <= value <= high
        assert low < high, "so few ratings are never sure"


def test_equal_answers_are_a_tie_that_nobody_is_shown(tmp_path: Path) -> None:
    def say(seen: Seen) -> str:
        return "The same." if int(re.findall(r"number (\d+)", seen.prompt)[-1]) < 20 else marked(seen)

    ready = answering(tmp_path, 24, base=FakeChat(say=say))
    [preference] = rated(ready, tmp_path, for_set("mine"), most=3)
    assert (preference.wins, preference.equal, preference.left, preference.net.n) == (3, 20, 1, 23)
    assert preference.net.value == pytest.approx(3 / 23)
    assert preference.verdict == "unclear"
    assert "20 equal answers, 1 not rated yet" in preference.sentence


def test_each_of_two_variants_has_its_ratings(tmp_path: Path) -> None:
    folders = [variant(tmp_path / "mine", "GOOD"), variant(tmp_path / "other", "ELSE GOOD")]
    preferences = rated(
        answering(tmp_path, 22, *folders),
        tmp_path,
        lambda pair, number: for_set("mine")(pair, number) if pair.variant == "mine" else "neither",
    )
    assert [(each.variant, each.wins, each.ties, each.verdict) for each in preferences] == [
        ("mine", 22, 0, "better"),
        ("other", 0, 22, "same"),
    ]


def test_what_is_written_and_that_texts_are_data(tmp_path: Path) -> None:
    ready = answering(tmp_path, 2, base=FakeChat(say=lambda seen: f"<script>{marked(seen)}</script>\x1b"))
    with ready.journal(tmp_path / JOURNAL) as journal:
        asyncio.run(ready.run(journal, lambda name, result: None))
        answers = ready.answers(journal)
        ratings = Ratings(journal, answers, ready.names, 0)
        written = write_folder(tmp_path, side_by_side(ready, answers, ratings), answers, ratings)
        assert [path.name for path in written] == ["side_by_side.html", "rate.html", "answers.jsonl", "comparison.json"]
        ratings.rate(ratings.waiting()[0], "first")
        result = side_by_side(ready, answers, ratings)
        written = write_folder(tmp_path, result, answers, ratings)
    page = (tmp_path / "side_by_side.html").read_text()
    assert "<script" not in page
    assert "&lt;script&gt;Rich answer 1." in page
    assert "\x1b" not in page
    assert "default-src &#39;none&#39;" in page or "default-src 'none'" in page
    assert result.preferences[0].sentence[:40] in page
    assert [
        Answer.model_validate_json(line) for line in (tmp_path / "answers.jsonl").read_text().splitlines()
    ] == answers
    assert len((tmp_path / "ratings.jsonl").read_text().splitlines()) == 1
    assert json.loads((tmp_path / "comparison.json").read_text())["differ"] == {"mine": 2}


# Ratings from the page


def saved(ready: Answering, folder: Path, **changes: Any) -> Path:
    """A file as the page saves it, with no rating."""
    path = folder / "ratings.json"
    path.write_text(json.dumps({"format": 1, "comparison": ready.digest, "ratings": {}} | changes))
    return path


def test_ratings_from_the_page_are_kept_beside_those_of_the_terminal_and_the_later_one_counts(tmp_path: Path) -> None:
    ready = answering(tmp_path, 5)
    answers, _ = answered(ready, tmp_path)
    with ready.journal(tmp_path / JOURNAL) as journal:
        ratings = Ratings(journal, answers, ready.names, 0)
        one, two, three, four, _ = ratings.pairs()
        ratings.rate(one, "neither")
        ratings.rate(two, "first")
        choices = {one.id: "neither", two.id: "second", three.id: "first", four.id: "skip"}
        read = read_ratings(saved(ready, tmp_path, ratings=choices), ready.digest)
        assert ratings.take(read) == (2, 1)
        given = {each.item: each for each in ratings.given()}
        assert [given[pair.first.item].preferred for pair in (one, two, three, four)] == [
            None,
            two.second.prompts,
            three.first.prompts,
            None,
        ]
        assert given[four.first.item].skipped
        assert ratings.take(read) == (0, 0), "the same file says nothing new"
        with pytest.raises(InputError, match="1 of the 2 rated pairs cannot be found"):
            ratings.take({one.id: "first", "0123456789abcdef": "first"})
        assert {each.item: each for each in ratings.given()} == given, "all of a file or nothing"
        assert [pair.id for pair in ratings.pairs()] == [one.id, two.id, three.id, four.id, ratings.waiting()[0].id]


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"comparison": "0123456789abcdef"}, "has ratings of another comparison; give the"),
        ({"ratings": {"0123456789abcdef": "third"}}, r"saves it \(ratings.0123456789abcdef: .*'skip'\); save it there"),
        ({"ratings": ["first"]}, r"saves it \(ratings: "),
        ({"format": 2}, r"saves it \(format: "),
        ({"variant": "mine"}, r"saves it \(variant: "),
    ],
)
def test_a_file_of_ratings_is_checked(tmp_path: Path, changes: dict[str, Any], told: str) -> None:
    ready = answering(tmp_path, 1)
    with pytest.raises(InputError, match=told):
        read_ratings(saved(ready, tmp_path, **changes), ready.digest)


@pytest.mark.parametrize("content", [b"", b"\xff", b"[" * 100_000, b'{"item":0}\n{"item":1}\n'])
def test_what_is_no_file_of_ratings_is_one_sentence(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "ratings.json").write_bytes(content)
    with pytest.raises(InputError, match=r"is not as rate\.html saves it"):
        read_ratings(tmp_path / "ratings.json", "")
    with pytest.raises(InputError, match="cannot be read"):
        read_ratings(tmp_path, "")


def test_ratings_belong_to_the_texts_that_were_rated(tmp_path: Path) -> None:
    mine, again = variant(tmp_path / "mine"), tmp_path / "again"
    again.mkdir()

    def after(word: str, seen: Seen) -> str:
        return f"{word} {marked(seen)}"

    ids = []
    for folder, word in ((tmp_path, "One"), (again, "Other")):
        ready = answering(tmp_path, 1, mine, base=FakeChat(say=partial(after, word)))
        answers, _ = answered(ready, folder)
        with ready.journal(folder / JOURNAL) as journal:
            ids.append((ready.digest, Ratings(journal, answers, ready.names, 0).pairs()[0].id))
    assert ids[0][0] == ids[1][0]
    assert ids[0][1] != ids[1][1]


def test_what_was_cut_off_is_told_wherever_it_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Cut(FakeChat):
        def info(self, seen: Seen) -> dict[str, Any]:
            return {"finish_reason": "length" if "GOOD" in seen.prompt or "north" in str(self.say(seen)) else "stop"}

    models = fake_models(Cut(say=marked), TWO, north=Cut(say=lambda seen: "The view of north."))
    ready = answering(tmp_path, 1, models=models, comment_tokens=5, answer_tokens=6)
    assert (ready.pool.run.comment_tokens, ready.pool.run.answer_tokens) == (5, 6)
    answers, _ = answered(ready, tmp_path)
    assert [(each.cut_off, each.cut_comments) for each in answers] == [(False, ["north"]), (True, ["north"])]
    with ready.journal(tmp_path / JOURNAL) as journal:
        ratings = Ratings(journal, answers, ready.names, 0)
        write_folder(tmp_path, side_by_side(ready, answers, ratings), answers, ratings)
        monkeypatch.setattr("sys.stdin", io.StringIO(""))
        rate(ratings)
    assert (tmp_path / "rate.html").read_text().count(CUT_OFF) == 1
    assert (tmp_path / "side_by_side.html").read_text().count(CUT_OFF) == 3
    assert capsys.readouterr().err.count(CUT_OFF) == 1


@pytest.mark.browser
def test_two_pairs_are_rated_blind_in_a_real_browser_and_taken_by_the_command(tmp_path: Path) -> None:
    harm = "<script>window.harm=1</script><img src=x onerror='window.harm=1'></section>"
    out, mine = tmp_path / "out", variant(tmp_path / "in-capitals", "Answer in one word, in capital letters.")
    pool, questions = pair_pool(tmp_path), ask(tmp_path, 3)
    questions.write_text(f"{questions.read_text()}Is {harm} good?\n")
    files = ("--questions", str(questions), "--variant", str(mine), "--pool", str(pool), "--out", str(out))
    assert pluralism("prompts", "compare", *files).returncode == 0
    ready = Answering(questions, [mine], AnswerSettings(pool=str(pool)))
    with ready.journal(out / JOURNAL) as journal:
        pairs = Ratings(journal, ready.answers(journal), ready.names, 0).pairs()
    source = (out / "rate.html").read_text()
    assert "in-capitals" not in source
    assert "built-in" not in source
    problems: list[str] = []
    with chromium() as browser:
        page = browser.new_page(accept_downloads=True)
        page.on("console", lambda message: problems.append(message.text))
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("request", lambda request: problems.append(request.url) if "rate.html" not in request.url else None)
        page.goto((out / "rate.html").as_uri())
        for number, (key, pair) in enumerate(zip("1=", pairs, strict=False), start=1):
            assert page.get_by_role("status").inner_text() == f"Pair {number} of 4"
            assert page.locator("h2:visible").inner_text() == pair.first.question
            said = [text.split() for text in page.locator("article:visible p.answer").all_inner_texts()]
            assert said == [pair.first.shown.split(), pair.second.shown.split()]
            page.keyboard.press(key)
        page.reload()
        assert page.get_by_role("status").inner_text() == "Pair 3 of 4"
        page.get_by_role("button", name="Back").click()
        assert page.locator("[aria-pressed=true]").inner_text() == "="
        page.keyboard.press("2")
        assert page.get_by_role("status").inner_text() == "Pair 3 of 4"
        with page.expect_download() as download:
            page.get_by_role("button", name="Save ratings").click()
        assert download.value.suggested_filename == "ratings.json"
        download.value.save_as(tmp_path / "ratings.json")
        assert page.evaluate("window.harm") is None
        refusing = browser.new_page(viewport={"width": 390, "height": 844})
        refusing.add_init_script("Object.defineProperty(window, 'localStorage', { get() { throw new Error('no'); } })")
        refusing.goto((out / "rate.html").as_uri())
        assert refusing.get_by_text("This browser keeps nothing").is_visible()
        refusing.get_by_role("button", name="skip").click()
        assert refusing.get_by_role("status").inner_text() == "Pair 2 of 4"
        assert refusing.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert [each for each in problems if not each.startswith("blob:")] == []
    done = pluralism("prompts", "compare", *files, "--ratings", str(tmp_path / "ratings.json"))
    assert "Taken from" in done.stdout, done.stderr
    assert "2 new, 0 in place of earlier ones." in done.stdout
    lines = (out / "ratings.jsonl").read_text().splitlines()
    given = {rating["item"]: rating["preferred"] for rating in map(json.loads, lines)}
    assert given == {pairs[0].first.item: pairs[0].first.prompts, pairs[1].first.item: pairs[1].second.prompts}
    assert source.count("<section") == 4
    assert (out / "rate.html").read_text().count("<section") == 2


# As a user runs it


def shown_until(terminal: int, wanted: bytes) -> bytes:
    shown = b""
    while wanted not in shown:
        assert select.select([terminal], [], [], 60)[0], f"nothing came after {shown!r}"
        shown += os.read(terminal, 65536)
    return shown


def rating(folder: Path) -> tuple[str, ...]:
    files = ("--questions", str(ask(folder, 3)), "--variant", str(folder / "mine"), "--pool", str(pair_pool(folder)))
    return ("prompts", "compare", *files, "--out", "out", "--rate")


def test_a_rating_that_was_killed_goes_on_where_it_was(tmp_path: Path) -> None:
    variant(tmp_path / "mine", "Answer in one word, in capital letters.")
    command = rating(tmp_path)
    outside, inside = pty.openpty()
    process = subprocess.Popen([PLURALISM, *command], stdin=inside, stdout=inside, stderr=inside, cwd=tmp_path)
    os.close(inside)
    try:
        shown = shown_until(outside, b"Pair 1 of 3")
        shown_until(outside, b"q stop:") if b"q stop:" not in shown else None
        os.write(outside, b"1")  # one key, and no line
        shown_until(outside, b"Pair 2 of 3")
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait(60)
        os.close(outside)
    done = pluralism(*command, "--json", cwd=tmp_path)  # with no more input
    assert done.returncode == 0, done.stderr
    assert "6 of 6 results are there" in done.stderr
    assert "Pair 2 of 3" in done.stderr
    assert "Pair 1 of 3" not in done.stderr
    [preference] = json.loads(done.stdout)["preferences"]
    assert preference["wins"] + preference["losses"] == 1
    assert preference["left"] == 2


def test_ctrl_c_ends_a_rating_cleanly(tmp_path: Path) -> None:
    variant(tmp_path / "mine", "Answer in one word, in capital letters.")
    outside, inside = pty.openpty()
    command = [PLURALISM, *rating(tmp_path)]
    process = subprocess.Popen(command, stdin=inside, stdout=inside, stderr=inside, cwd=tmp_path)
    os.close(inside)
    shown = shown_until(outside, b"Pair 1 of 3")
    shown_until(outside, b"q stop:") if b"q stop:" not in shown else None
    process.send_signal(signal.SIGINT)
    shown = shown_until(outside, b"goes on from here.")
    assert process.wait(60) == 130
    assert b"Traceback" not in shown
    os.close(outside)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--mode", "steerable"], "Give it with --attribute."),
        (["--mode", "distributional"], "Give each with --option."),
        (["--mode", "distributional", "--option", "Yes", "--option", "No"], "take another --mode."),
        (["--variant", "nowhere"], "does not exist"),
    ],
)
def test_bad_calls_are_one_sentence(tmp_path: Path, arguments: Sequence[str], told: str) -> None:
    variant(tmp_path / "mine")
    ask(tmp_path, 1)
    done = pluralism("prompts", "compare", "--questions", "my.txt", "--variant", "mine", *arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("Error: ")
    assert told in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("demo_gguf")
def test_the_demo_model_answers_side_by_side(tmp_path: Path) -> None:
    variant(tmp_path / "mine", "Begin your answer with the word Indeed.")
    (tmp_path / "my.txt").write_text("Should wages be public?\n")
    call = ("prompts", "compare", "--questions", "my.txt", "--variant", "mine", "--pool", str(pair_pool(tmp_path)))
    done = pluralism(*call, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "mine answers 1 of 1 questions otherwise than built-in." in done.stdout
    assert "Model calls: 4 made. Reused instead of made again: built-in 0 of 3; mine 2 of 3." in done.stdout
    lines = (tmp_path / "out" / "compare_my" / "answers.jsonl").read_text().splitlines()
    answers = [Answer.model_validate_json(line) for line in lines]
    assert [each.prompts for each in answers] == ["built-in", "mine"]
    assert answers[0].comments == answers[1].comments
    assert all(answers[0].comments.values())
