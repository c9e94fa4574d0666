"""The minutes of a kept assembly: what they say, as JSON and as a page."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from modular_pluralism.debugger.minutes import VERSION
from modular_pluralism.debugger.minutes_page import minutes_as_html
from modular_pluralism.runs.location import find_location
from modular_pluralism.runs.opening import open_run_store
from modular_pluralism.runs.run_table import RunTable
from modular_pluralism.runs.setup import Setup
from modular_pluralism.societal.dissent import dissent
from modular_pluralism.societal.hinges import hinges_in_words
from modular_pluralism.societal.tally import tally
from tests.kept_assembly import LIKES, MEMBERS, NO_ROOM, QUESTION, KeptAssembly
from tests.societal_tables import a_ballot, a_table
from tests.test_debugger_export import NASTY, Seen


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> KeptAssembly:
    """The run `plain`, and `ruled` under a contract."""
    assembly = KeptAssembly(tmp_path_factory.mktemp("minutes"))
    assembly.ask("plain", "--seed", "7")
    assembly.ask("ruled", "--contract", str(assembly.folder / "rules.toml"), "--choose", "maximin")
    return assembly


def test_the_minutes_as_json_say_who_dissents_word_for_word_and_how_it_was_done(kept: KeptAssembly) -> None:
    told = kept.minutes("plain")
    assert (told["format"], told["version"]) == ("modular-pluralism/minutes", VERSION)
    assert (told["question"], told["answer"], told["candidate"]) == (QUESTION, "The draft merge.", "merge")
    assert told["chosen"][0].startswith("Chosen by nash: merge, which wins by ")
    assert [(each["member"], each["prefers"], each["comment"]) for each in told["dissent"]] == [
        ("north", ["north"], "The view of north."),
        ("east", ["east"], "The view of east."),
    ]
    shares = LIKES["north"]
    assert told["dissent"][0]["best"] == pytest.approx(shares["north"] / sum(shares.values()))
    assert told["dissent"][0]["score"] == pytest.approx(shares["merge"] / sum(shares.values()))
    assert [(each["member"], each["kind"]) for each in told["took_part"]] == [(name, "community") for name in MEMBERS]
    assert (told["seed"], told["missing"], told["contract"]) == (7, {}, None)
    assert not told["waiting"]
    assert "still to be heard" in minutes_as_html({**told, "waiting": True})  # type: ignore[typeddict-item]


def test_under_a_contract_each_rule_is_told_with_who_says_what(kept: KeptAssembly) -> None:
    contract = kept.minutes("ruled")["contract"]
    short, no_promise = contract["rules"]["short"], contract["rules"]["no_promise"]
    assert (short["strength"], short["standing"], short["said"][0]["kind"]) == ("must", "kept", "verifier")
    assert short["said"][0]["reason"].startswith("3 words")
    assert (no_promise["text"], no_promise["source"]) == ("Promises nothing.", "minutes of 1 November, item 4")
    assert [each["member"] for each in no_promise["said"]] == list(MEMBERS)
    assert set(contract["statuses"].values()) == {"kept"}
    page = Seen(kept.page("ruled").read_text())
    assert contract["version"] in page.text
    assert "3 words" in page.text
    assert "minutes of 1 November, item 4" in page.text


def test_texts_of_models_are_text_in_the_page_and_only_its_own_script_may_run(tmp_path: Path) -> None:
    kept = KeptAssembly(tmp_path)
    kept.drafts["merge"] = f"Both. {NASTY}"
    kept.views["east"] = f"The view of east. {NASTY}</script><script>alert(2)</script>"
    kept.ask("nasty")
    source = kept.page("nasty").read_text()
    seen = Seen(source)
    assert seen.tags.count("script") == 3, "the table, the rules, and what computes with them"
    assert not {"img", "iframe", "link", "object"} & set(seen.tags)
    assert not [name for name, _ in seen.attributes if name.startswith("on") or name in ("src", "style")]
    assert all(value and value.startswith("#") for name, value in seen.attributes if name == "href")
    assert seen.text.count("<script>alert('x')</script>") == 3, "the answer, the candidate and the dissent"
    assert "\u202e" not in source
    assert "script-src 'sha256-" in source
    assert "unsafe" not in source


def test_one_candidate_is_not_chosen_and_a_missing_member_is_told_with_the_reason(tmp_path: Path) -> None:
    kept = KeptAssembly(tmp_path)
    kept.drafts |= {"base": NO_ROOM, "north": NO_ROOM, "south": NO_ROOM, "east": NO_ROOM}
    kept.views["east"] = NO_ROOM
    kept.ask("one")
    told = kept.minutes("one")
    assert (told["tally"], told["dissent"], told["hinges"]) == (None, [], [])
    assert told["chosen"][0].startswith("Only one draft could be written (merge)")
    assert list(told["missing"]) == ["east"]
    assert "no room" in told["missing"]["east"]
    page = Seen(kept.page("one").read_text())
    assert "script" not in page.tags
    assert "Missing: east." in page.text
    assert "Not written: " in page.text
    assert "nobody could dissent" in page.text


def test_what_has_no_minutes_is_refused_in_one_sentence_and_nothing_is_written(kept: KeptAssembly) -> None:
    async def keep_unfinished() -> None:
        async with open_run_store(find_location(kept.folder / "runs.sqlite"), 10.0) as store:
            table = RunTable(store)
            setup = await table.setup("plain")
            await table.add("begun", setup)
            await table.add("other", Setup(**{**setup.model_dump(), "mode": "overton"}))

    asyncio.run(keep_unfinished())
    page = kept.folder / "none.html"
    for run, says in (
        ("begun", "The run begun has no answer yet, and so no minutes; go on with it first: `pluralism resume begun`."),
        ("other", "The run other is of overton mode, in which nothing is chosen; minutes are of assembly mode alone."),
        ("plane", "There is no run plane in "),
        ("../plain", "'../plain' cannot be a run's name"),
    ):
        refused = kept.tried("minutes", run, "--out", str(page)).exception
        assert str(refused).startswith(says)
    assert not page.exists()
    unwritable = kept.tried("minutes", "plain", "--out", str(kept.pool / "minutes.html")).exception
    assert "minutes.html cannot be written (" in str(unwritable)


def test_runs_show_says_how_the_minutes_are_made(kept: KeptAssembly) -> None:
    assert "pluralism minutes plain" in kept.command("runs", "show", "plain")


def test_a_member_that_has_not_judged_the_winner_dissents_where_it_likes_another_more_than_its_mean() -> None:
    counted = tally(a_table([[1.0, 0.4, None], [0.2, 0.5, 0.9], [0.6, 0.6, 0.8]]), rule="utilitarian")
    assert counted["winner"] == "C"
    ballots = {"a": [{**a_ballot("a", "A", 1.0), "reason": "It is short."}, a_ballot("a", "B", 0.4)]}
    found = dissent(counted, ballots)  # type: ignore[arg-type]
    assert found == [
        {
            "member": "a",
            "weight": 1.0,
            "prefers": ["A"],
            "best": 1.0,
            "score": None,
            "reasons": ["It is short."],
            "comment": None,
        }
    ]


def test_a_person_dissents_in_the_words_in_which_it_contests() -> None:
    counted = tally(a_table([[0.9, 0.1], [0.2, 0.8], [0.9, 0.2]]))
    said: list[dict[str, Any]] = [
        {"kind": "contest", "who": "b", "rule": "short", "comment": None, "reason": "Too short to be true."},
        {"kind": "contest", "who": "c", "rule": "short", "comment": None, "reason": "Not mine."},
        {"kind": "accept", "who": "b"},
    ]
    (found,) = dissent(counted, {}, submissions=said)
    assert (found["member"], found["reasons"]) == ("b", ["Too short to be true."])


def test_who_scores_the_winner_as_high_as_another_does_not_dissent() -> None:
    counted = tally(a_table([[0.5, 0.5], [0.5, 0.5]]))
    assert (counted["winner"], dissent(counted, {})) == ("A", [])


def test_what_a_choice_hangs_on_is_said_in_words() -> None:
    # Without c it is a tie, which goes to A; with a weight of 0 for b, too.
    said = hinges_in_words(tally(a_table([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]]), rule="utilitarian", slate=1))
    assert said[:2] == ["Without b, A would be chosen.", "Without c, A would be chosen."]
    assert said[2].startswith("The smallest change of one weight that changes it: ")
    assert "No member could have gained by a false ballot." in said
    alone = hinges_in_words(tally(a_table([[0.2, 0.9]])))
    assert alone[0] == "Without a, nobody would be left to choose."
    many = tally(a_table([[0.1, 0.2, 0.3, 0.4, 0.5, 0.6]]))
    assert "False ballots were not tried: there are more than 5 candidates." in hinges_in_words(many)
    rows = [[0.3, 0.2, 0.1, 0.1], [0.3, 0.2, 0.2, 0.1], [0.3, 0.1, 0.1, 0.4], [0.1, 0.1, 0.3, 0.3]]
    slated = hinges_in_words(tally(a_table(rows), slate=2))
    assert slated[-2:] == ["A slate of 2 would be A, B.", "It would leave a claim unmet: c, d all prefer D."]
