"""An assembly under a contract: candidates that break it are passed over, mended, or said to break it."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

import modular_pluralism.cli.run_graph
from modular_pluralism import Contract, build_assembly, build_overton, build_pluralism, estimate, pluralism_tool
from modular_pluralism.cli.app import app
from modular_pluralism.errors import ContractError, InputError, ModelCallError
from modular_pluralism.models.pool_models import PoolModels
from modular_pluralism.nodes.request import Request
from modular_pluralism.societal.in_place import put_in_place, share_in_place
from tests.fake_models import FakeChat, FakeChatWithLogprobs, Seen, fake_pool
from tests.short_pool import pair_pool
from tests.test_overton import without_seconds

TWO = ("north", "east")
ASKED: Any = {"question": "Should a city ban cars from its centre?"}
TEXTS = {"base": "Surely even.", "merge": "Surely both.", "north": "Surely ban.", "east": "Surely keep."}
SCORES = {
    "north": {"Surely even.": 0.2, "Surely both.": 0.3, "Surely ban.": 0.45, "Surely keep.": 0.05},
    "east": {"Surely even.": 0.3, "Surely both.": 0.25, "Surely ban.": 0.1, "Surely keep.": 0.35},
}
SURE: dict[str, Any] = {"strength": "must", "verify": {"forbidden_text": {"texts": ["surely"]}}}
"""A rule that every draft breaks."""


def contract(**rules: Any) -> dict[str, Any]:
    return Contract.from_data({"rules": rules}).data


def writer(mended: list[str | Exception] | None = None, texts: dict[str, str] | None = None) -> FakeChat:
    """A base LLM that drafts, and then mends in this way, one round after the other."""
    said, left = {**TEXTS, **(texts or {})}, list(mended or ["Perhaps both."])

    def say(seen: Seen) -> str | Exception:
        if "It breaks these rules" in seen.prompt:
            return left.pop(0) if len(left) > 1 else left[0]
        if "Comments from several" in seen.prompt:
            return said["merge"]
        of = re.search(r"The view of (\w+)", seen.prompt)
        return said[of[1] if of else "base"]

    return FakeChat(say=say)


def member(name: str, likes: dict[str, float] | None = None, **verdicts: dict[str, float]) -> FakeChatWithLogprobs:
    """A community that likes texts so, wherever they stand, others 0.3, and judges by the words of a rule: the
    `verdicts` of it begin with "keeps", "breaks" or "does not"."""
    liked = {**SCORES[name], **(likes or {})}

    def prefer(seen: Seen) -> dict[str, float]:
        options = dict(re.findall(r"^([A-Z])\. (.*)$", seen.prompt.rpartition("\n\n")[0] + seen.prompt, re.M))
        rule = re.search(r"^Rule:\n(.*)$", seen.prompt, re.M)
        if rule is None:
            shares = {letter: liked.get(text, 0.3) for letter, text in options.items()}
        else:
            of_rule = next(said for word, said in verdicts.items() if word in rule[1])
            found = {letter: next((key for key in of_rule if key in text), "") for letter, text in options.items()}
            shares = {letter: of_rule[key] for letter, key in found.items() if key}
        total = sum(shares.values())
        return {letter: share / total for letter, share in shares.items() if share}

    return FakeChatWithLogprobs(
        say=lambda seen: "A" if seen.settings.get("logprobs") else f"The view of {name}.", prefer=prefer
    )


def built(*, base: Any = None, models: Any = None, **settings: Any) -> Any:
    members = {name: member(name) for name in TWO}
    return build_assembly(fake_pool(TWO), models={"boss": base or writer(), **members, **(models or {})}, **settings)


def run(asked: Any = None, **settings: Any) -> Any:
    return built(**settings).compile().invoke({**ASKED, **(asked or {})})


# Choosing and mending


def test_an_answer_that_breaks_a_must_is_mended_and_only_that_is_judged_anew() -> None:
    base, members = writer(), {name: member(name) for name in TWO}
    state = run({"contract": contract(sure=SURE)}, base=base, models=members)
    assert (state["answer"], state["candidate"], state["status"]) == ("Perhaps both.", "merge+1", "kept")
    assert state["repairs"] == [
        {"of": "merge", "candidate": "merge+1", "broken": ["sure"], "accepted": True, "why": None}
    ]
    assert state["rounds_left"] == 0
    assert state["candidates"]["merge+1"]["rests_on"] == ["north", "east"]
    assert state["standing"]["merge"]["status"] == "breached"
    reads = {name: [seen for seen in model.seen if seen.settings.get("logprobs")] for name, model in members.items()}
    assert {name: len(seen) for name, seen in reads.items()} == {"north": 4 + 2, "east": 4 + 2}
    assert len(base.seen) == 4 + 1
    told = next(seen.prompt for seen in base.seen if "It breaks these rules" in seen.prompt)
    assert "Surely both." in told
    assert re.search(r"^- sure \(.*surely.*\)$", told, re.M | re.I)
    assert json.loads(json.dumps(state)) == state


def test_a_mended_draft_has_the_share_that_it_would_have_in_the_place_of_the_first() -> None:
    # Of the two alone, north likes the mended one as 0.45 to 0.3, and so 1.5 times as well.
    state = run({"contract": contract(sure=SURE)}, models={"north": member("north", {"Perhaps both.": 0.45})})
    ballot = next(each for each in state["ballots"]["north"] if each["candidate"] == "merge+1")
    assert ballot["score"] == pytest.approx(0.45 / (0.45 + 0.2 + 0.45 + 0.05))
    assert ballot["reason"] == "Read beside merge alone."
    assert state["tally"] is None, "all the others break the contract, and nothing was chosen between"


def test_a_candidate_that_breaks_a_must_is_passed_over_however_it_is_liked() -> None:
    rule = {"strength": "must", "verify": {"forbidden_text": {"texts": ["both", "ban"]}}}
    base = writer()
    state = run({"contract": contract(none_of_these=rule)}, base=base)
    assert state["tally"]["candidates"] == ["base", "east"]
    assert (state["candidate"], state["status"], state["repairs"]) == ("base", "kept", [])
    assert len(base.seen) == 4, "what is kept by another draft is not mended"
    assert {name: each["status"] for name, each in state["standing"].items()} == {
        "base": "kept",
        "merge": "breached",
        "north": "breached",
        "east": "kept",
    }


def test_the_rule_chooses_among_those_that_break_fewest() -> None:
    worse = {"strength": "must", "verify": {"forbidden_text": {"texts": ["both"]}}}
    state = run({"contract": contract(sure=SURE, worse=worse), "rounds": 0})
    assert state["tally"]["candidates"] == ["base", "north", "east"]
    assert (state["status"], state["repairs"], state["rounds_left"]) == ("breached", [], 0)


def test_contradictory_musts_end_as_breached_and_the_best_so_far_is_kept() -> None:
    rules = contract(
        short={"strength": "must", "verify": {"words": {"max": 3}}},
        long={"strength": "must", "verify": {"words": {"min": 10}}},
    )
    base = writer(["One two three four.", "One."])
    state = run({"contract": rules}, base=base)
    assert (state["status"], state["rounds_left"]) == ("breached", 0)
    assert [repair["accepted"] for repair in state["repairs"]] == [False, False]
    assert "short" in state["repairs"][0]["why"] and state["repairs"][1]["why"] == "it mends nothing"  # noqa: PT018
    assert state["candidate"] == "merge"
    assert state["answer"] == TEXTS["merge"]
    assert sum("It breaks these rules" in prompt for prompt in base.prompts) == 2


def test_as_many_rounds_as_there_may_be_are_within_the_steps_of_a_run() -> None:
    state = run({"contract": contract(sure=SURE), "rounds": 5}, base=writer(["Surely not."]))
    assert [repair["why"] for repair in state["repairs"]] == ["it mends nothing"] * 5
    assert (state["status"], state["candidate"]) == ("breached", "merge")


def test_a_repair_that_serves_the_worst_off_much_less_is_refused() -> None:
    members = {"east": member("east", {"Perhaps both.": 0.01})}
    state = run({"contract": contract(sure=SURE), "rounds": 1}, models=members)
    assert state["repairs"][0]["accepted"] is False
    assert re.fullmatch(r"the worst-off member falls from 0.25 to 0.01", state["repairs"][0]["why"])
    assert (state["candidate"], state["status"]) == ("merge", "breached")


def test_a_second_round_mends_what_the_first_has_left() -> None:
    two = contract(
        sure=SURE, both={"strength": "must", "verify": {"forbidden_text": {"texts": ["both", "even", "ban", "keep"]}}}
    )
    state = run({"contract": two}, base=writer(["Perhaps both.", "Perhaps all."]))
    assert [(each["of"], each["candidate"], each["accepted"]) for each in state["repairs"]] == [
        ("merge", "merge+1", True),
        ("merge+1", "merge+2", True),
    ]
    assert (state["candidate"], state["answer"], state["status"]) == ("merge+2", "Perhaps all.", "kept")


def test_a_repair_that_cannot_be_written_is_refused_and_tried_again() -> None:
    base = writer([ModelCallError("no room"), "Perhaps both."])
    state = run({"contract": contract(sure=SURE)}, base=base)
    assert [repair["accepted"] for repair in state["repairs"]] == [False, True]
    assert "could not be written" in state["repairs"][0]["why"]
    assert state["candidate"] == "merge+2"


def test_one_draft_alone_is_mended_too() -> None:
    state = run({"contract": contract(sure=SURE)}, drafts=["merge"])
    assert (state["candidate"], state["tally"], state["status"]) == ("merge+1", None, "kept")
    assert [each["candidate"] for each in state["ballots"]["north"]] == ["merge", "merge+1"]


# Rules in words


WORDS: dict[str, Any] = {"text": "Promises nothing.", "strength": "must"}
KEPT = {"keeps": 0.7, "breaks": 0.2, "does not": 0.1}
BROKEN = {"keeps": 0.1, "breaks": 0.8, "does not": 0.1}
SILENT = {"keeps": 0.3, "breaks": 0.3, "does not": 0.4}


def judges(**verdicts: dict[str, float]) -> dict[str, Any]:
    return {name: member(name, None, Promises=verdict) for name, verdict in verdicts.items()}


def test_a_rule_in_words_is_judged_by_option_probabilities_in_every_rotation() -> None:
    models = judges(north=KEPT, east=KEPT)
    state = run({"contract": contract(promise=WORDS)}, models=models)
    found = [each for each in state["ballots"]["north"] if each["rule"] == "promise"]
    assert [each["candidate"] for each in found] == list(TEXTS)
    for ballot in found:
        assert ballot["verdict"] == {
            "kept": pytest.approx(0.7),
            "broken": pytest.approx(0.2),
            "silent": pytest.approx(0.1),
        }
        assert ballot["spread"] == pytest.approx(0)
    assert state["status"] == "kept"
    reads = [seen.prompt for seen in models["north"].seen if "Rule:" in seen.prompt]
    assert len(reads) == 4 * 3
    assert sorted({re.findall(r"^A\. (.*)$", prompt, re.M)[0] for prompt in reads}) == [
        "It breaks the rule.",
        "It keeps the rule.",
        "The rule does not say.",
    ]


def test_only_those_judge_who_hold_the_rule_and_only_what_no_verifier_has_decided() -> None:
    models = judges(north=KEPT, east=KEPT)
    held = {**WORDS, "held_by": ["east"]}
    decided = {"text": "Promises little.", "verify": {"words": {"max": 5}}}
    state = run({"contract": contract(promise=held, few=decided)}, models=models)
    assert not any("Rule:" in prompt for prompt in models["north"].prompts)
    assert sum("Rule:" in prompt for prompt in models["east"].prompts) == 4 * 3
    few = state["standing"]["merge"]["rules"]["few"]
    assert (few["decided_by"], few["standing"]) == ("verifier", "kept")


def test_members_who_disagree_leave_a_must_silent_and_the_answer_unsure() -> None:
    state = run({"contract": contract(promise=WORDS)}, models=judges(north=KEPT, east=SILENT))
    assert (state["status"], state["standing"][state["candidate"]]["silent"]) == ("unsure", ["promise"])
    assert state["repairs"] == [], "nothing is known to be broken"


def test_a_must_in_words_that_is_broken_is_mended_and_judged_once_more() -> None:
    models = judges(north=BROKEN, east=BROKEN)
    state = run({"contract": contract(promise=WORDS), "rounds": 1}, models=models)
    assert (state["status"], state["repairs"][0]["why"]) == ("breached", "it mends nothing")
    assert sum("Rule:" in prompt for prompt in models["north"].prompts) == (4 + 1) * 3


def test_a_should_weighs_every_member_s_score() -> None:
    should = {"verify": {"forbidden_text": {"texts": ["both"]}}}
    without, under = run(), run({"contract": contract(mild=should)})
    assert without["candidate"] == "merge"
    assert under["candidate"] == "base"
    assert under["status"] == "kept"
    at = under["tally"]["candidates"].index("merge")
    assert [row[at] for row in under["tally"]["scores"]] == [0, 0]
    assert under["ballots"] != without["ballots"], "the verifier's are there"
    assert under["ballots"]["north"] == without["ballots"]["north"], "what members say is not changed"


# Where contracts come from, and where they show


def test_a_contract_is_read_from_a_file_and_a_question_s_own_counts_before_it(tmp_path: Path) -> None:
    file = tmp_path / "rules.toml"
    file.write_text('[rules.sure]\nstrength = "must"\nverify = { forbidden_text = { texts = ["surely"] } }\n')
    assert run(contract=file)["status"] == run(contract=str(file))["status"] == "kept"
    assert run(contract=Contract.load(file), rounds=0)["status"] == "breached"
    own = contract(few={"strength": "must", "verify": {"words": {"max": 9}}})
    assert list(run({"contract": own}, contract=file)["standing"]["merge"]["rules"]) == ["few"]


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"contract": "rules.toml"}, "The contract is 'rules.toml'; give its rules"),
        ({"contract": {}}, r"there is no \[rules.\*\] table"),
        ({"contract": {"rules": {"a": {}}}}, "neither text nor verify"),
        ({"contract": {"rules": {"a": {"text": "b", "held_by": ["west"]}}}}, "held_by names no community"),
        ({"rounds": 6}, "The rounds are 6; give a whole number from 0 to 5"),
        ({"rounds": True}, "The rounds are True"),
        ({"rounds": -1}, "The rounds are -1"),
    ],
)
def test_what_is_no_contract_is_refused_before_anybody_is_asked(asked: dict[str, Any], says: str) -> None:
    base = writer()
    with pytest.raises((InputError, ContractError), match=says):
        run(asked, base=base)
    assert base.seen == []
    if "west" not in str(asked):  # of which a request knows nothing
        with pytest.raises((InputError, ContractError), match=says):
            Request(question="Is it so?", mode="assembly", **asked)


def test_other_modes_refuse_a_contract() -> None:
    with pytest.raises(InputError, match="Overton mode chooses among no answers, so it takes no contract; leave"):
        Request(question="Is it so?", contract=contract(sure=SURE))
    models: Any = {"boss": writer(), **{name: member(name) for name in TWO}}
    state = build_overton(fake_pool(TWO), models=models).compile().invoke(ASKED)
    assert "standing" not in state
    asked: Any = {**ASKED, "mode": "assembly", "contract": contract(sure=SURE)}
    assert build_pluralism(fake_pool(TWO), models=models).compile().invoke(asked)["status"] == "kept"


def test_the_attribute_says_which_rules_hold_and_no_model_is_told_it() -> None:
    scoped = {**SURE, "scope": {"attribute": "Subsidies"}}
    base = writer()
    assert run({"contract": contract(sure=scoped)})["standing"] == {}
    state = run({"contract": contract(sure=scoped), "attribute": "subsidies"}, base=base)
    assert (state["status"], len(state["repairs"])) == ("kept", 1)
    assert not any("ubsidies" in prompt for prompt in base.prompts)
    with pytest.raises(InputError, match="there is no contract; give one, or leave the attribute out"):
        run({"attribute": "subsidies"})


def test_invoke_and_ainvoke_give_the_same() -> None:
    asked = {**ASKED, "contract": contract(sure=SURE)}
    assert without_seconds(built().compile().invoke(asked)) == without_seconds(
        asyncio.run(built().compile().ainvoke(asked))
    )


def test_the_cost_under_a_contract_is_told_before() -> None:
    models: Any = {"boss": writer(), **judges(north=KEPT, east=KEPT)}
    cost = estimate(
        "Is it so?",
        fake_pool(TWO),
        mode="assembly",
        models=models,
        contract=Contract.from_data({"rules": {"promise": WORDS}}),
    )
    calls = sum(each["calls"] for each in cost["roles"] if each["role"] == "judge")
    assert calls == 2 * (4 + 4 * 3)


def test_the_tool_and_the_command_say_how_the_answer_stands(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    models: Any = {"boss": writer(), **{name: member(name) for name in TWO}}
    said = pluralism_tool(
        fake_pool(TWO), mode="assembly", models=models, contract=Contract.from_data({"rules": {"sure": SURE}})
    )
    lines = said.invoke(ASKED).splitlines()
    assert lines[0] == "Perhaps both."
    assert "Kept: the answer keeps every must of the contract." in lines
    assert "Repair merge+1 of merge: accepted." in lines
    monkeypatch.setattr(modular_pluralism.cli.run_graph, "open_models", lambda pool, *_: PoolModels(pool, models))
    pool, rules = tmp_path / "pool.toml", tmp_path / "rules.toml"
    tables = "".join(
        f'[models.{name}]\nopenai = "{name}"\nbase_url = "http://127.0.0.1:9/v1"\n' for name in ("boss", *TWO)
    )
    tables += "".join(f'[communities.{name}]\nmodel = "{name}"\ndescription = "d"\n' for name in TWO)
    pool.write_text('base = "boss"\n' + tables)
    rules.write_text('[rules.sure]\nstrength = "must"\nverify = { forbidden_text = { texts = ["surely"] } }\n')
    ask = ["ask", ASKED["question"], "--mode", "assembly", "--pool", str(pool), "--contract", str(rules)]
    wide = {"COLUMNS": "160"}
    shown = CliRunner().invoke(app, [*ask, "--rounds", "0"], env=wide)
    assert shown.exception is None
    assert "Breached: the answer breaks sure, and no draft breaks fewer musts." in shown.output
    assert re.search(r"^sure +must +broken +forbidden_text: ", shown.output, re.M)
    store = ["--store", str(tmp_path / "runs.sqlite")]
    for call in ([*ask, "--thread", "one", *store], ["resume", "one", *store], ["runs", "show", "one", *store]):
        done = CliRunner().invoke(app, call, env=wide)
        assert done.exception is None
        assert "Kept: the answer keeps every must of the contract." in done.output
    dry = json.loads(CliRunner().invoke(app, [*ask, "--dry-run", "--json"]).output)
    assert dry["total"]["calls"] == 2 + 4 + 8
    whole = json.loads(CliRunner().invoke(app, [*ask, "--json"]).output)
    assert (whole["status"], whole["candidate"], len(whole["repairs"])) == ("kept", "merge+1", 1)
    rules.write_text("[rules.sure]\n")
    refused = CliRunner().invoke(app, ask).exception
    assert isinstance(refused, ContractError)
    assert str(rules) in str(refused)


# The arithmetic


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1))
def test_a_share_in_place_keeps_how_many_times_one_is_likelier_than_the_other(
    share: float, one: float, other: float
) -> None:
    placed = share_in_place(share, one)
    assert 0 <= placed <= 1
    if share in (0, 1):
        assert placed == pytest.approx(share)
    elif 0.01 <= one <= 0.99 and 0.01 <= share <= 0.99:
        assert placed / (1 - placed) == pytest.approx(share / (1 - share) * one / (1 - one))
    assert share_in_place(share, 0.5) == pytest.approx(share)
    if one <= other:
        assert share_in_place(share, one) <= share_in_place(share, other) + 1e-12


@given(st.lists(st.floats(0.01, 1), min_size=3, max_size=6), st.floats(0.01, 0.99))
def test_the_others_keep_their_proportions_beside_what_was_mended(weights: list[float], of_pair: float) -> None:
    total = sum(weights)
    scores = {f"c{at}": weight / total for at, weight in enumerate(weights)}
    placed = put_in_place({**scores, "c0+1": share_in_place(scores["c0"], of_pair)}, "c0", "c0+1")
    assert sum(placed.values()) == pytest.approx(1)
    assert "c0" not in placed
    assert placed["c1"] / placed["c2"] == pytest.approx(scores["c1"] / scores["c2"])


def test_of_whoever_has_not_read_what_was_mended_nothing_is_made_up() -> None:
    assert put_in_place({"a": 0.5, "b": 0.5}, "a", "a+1") == {"b": 0.5}


# On real weights


@pytest.mark.usefixtures("demo_gguf")
def test_the_demo_model_drafts_judges_and_mends(tmp_path: Path) -> None:
    rules = contract(
        short={"strength": "must", "verify": {"words": {"max": 4}}},
        plain={"text": "Says what should be done.", "held_by": ["left"]},
    )
    graph = build_assembly(pair_pool(tmp_path), drafts=["base", "merge"]).compile()
    state: Any = graph.invoke({"question": "Should a city ban cars from its centre?", "contract": rules, "rounds": 1})
    drafts = ["base", "merge"]
    assert sorted(name for name in state["candidates"] if "+" not in name) == sorted(drafts)
    for name in ("left", "right"):
        preferred = [each for each in state["ballots"][name] if each["rule"] is None][: len(drafts)]
        assert [each["candidate"] for each in preferred] == drafts
        assert sum(each["score"] for each in preferred) == pytest.approx(1)
        assert all(0 < each["label_mass"] <= 1 and 0 <= each["spread"] <= 1 for each in preferred)
    judged = [each for each in state["ballots"]["left"] if each["rule"] == "plain"]
    assert len(judged) == len(drafts) + len(state["repairs"])
    assert all(sum(each["verdict"].values()) == pytest.approx(1) for each in judged)
    assert not [each for each in state["ballots"]["right"] if each["rule"]]
    assert {each["rule"] for each in state["ballots"]["verify"]} == {"short"}
    assert state["answer"] == state["candidates"][state["candidate"]]["text"]
    assert state["status"] == ("breached" if len(state["answer"].split()) > 4 else "kept")
    assert json.loads(json.dumps(state)) == state
