"""`pluralism contract`, and that docs/assembly.md says what is there."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from modular_pluralism.cli.app import app
from modular_pluralism.errors import ContractError, InputError
from modular_pluralism.societal.contract import Contract
from modular_pluralism.societal.verifiers.registry import VERIFIERS
from tests.command import pluralism

DOCS = Path(__file__).resolve().parents[1] / "docs"
PAGE = (DOCS / "assembly.md").read_text()
EXAMPLE = str(DOCS / "example_contract.toml")
ANSWER = str(DOCS / "example_answer.txt")
RULES = """\
[rules.short]
strength = "must"
verify = { words = { max = 5 } }
[rules.kind]
text = "Is kind."
held_by = ["farmers"]
scope = { attribute = "manners" }
strength = "must"
[rules.calm]
verify = { pattern = { forbids = "!" } }
"""


@pytest.fixture
def rules(tmp_path: Path) -> str:
    path = tmp_path / "rules.toml"
    path.write_text(RULES)
    return str(path)


def contract(*arguments: str, stdin: str | None = None) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["contract", *arguments], input=stdin, env={"COLUMNS": "200"})
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, done.output


def test_the_verifiers_are_listed_with_an_example() -> None:
    code, said = contract()
    assert code == 0
    for name, verifier in VERIFIERS.items():
        assert f"verify = {{ {name} = {verifier.example} }}\n" in said
    listed = json.loads(contract("--json")[1])["verifiers"]
    assert [each["name"] for each in listed] == list(VERIFIERS)


def test_a_contract_is_shown_with_its_version(rules: str) -> None:
    code, said = contract("check", rules)
    assert code == 0
    assert "kind: must; judged by members; held by farmers; for manners\n    Is kind.\n" in said
    assert f"3 rules, 2 verified without a model. Version {Contract.load(rules).version}.\n" in said
    told = json.loads(contract("check", rules, "--json")[1])
    assert (told["contract"], told["version"]) == (rules, Contract.load(rules).version)
    assert list(told["rules"]) == ["short", "kind", "calm"]


@pytest.mark.parametrize(
    ("answer", "more", "code", "told"),
    [
        ("Come by bus.", [], 0, "Kept: the answer keeps every must. Of what is said of the shoulds, 100% is kept."),
        ("Come by bus!", [], 0, "Of what is said of the shoulds, 0% is kept."),
        ("Come by bus, not by car.", [], 3, "Breached: the answer breaks short."),
        ("Come by bus.", ["--attribute", "Manners"], 4, "Unsure: nobody has said whether the answer keeps kind."),
        ("Come by bus, not by car.", ["--attribute", "manners"], 3, "Breached: the answer breaks short."),
    ],
)
def test_an_answer_is_checked(rules: str, answer: str, more: list[str], code: int, told: str) -> None:
    ended, said = contract("check", rules, "--answer", "-", *more, stdin=answer)
    assert (ended, told in said) == (code, True)
    assert "silent" in said or "kind" not in said
    ended, said = contract("check", rules, "--answer", "-", *more, "--json", stdin=answer)
    found = json.loads(said)
    assert (ended, found["status"]) == (code, {0: "kept", 3: "breached", 4: "unsure"}[code])
    assert found["rules"]["short"]["said"][0]["reason"] == f"{len(answer.split())} words; at most 5"
    assert ("kind" in found["rules"]) == bool(more)


def test_a_rule_whose_day_has_not_come_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "rules.toml"
    path.write_text('[rules.a]\ntext = "x"\nstrength = "must"\nsince = 9999-01-01\n')
    code, said = contract("check", str(path), "--answer", ANSWER)
    assert (code, "since there is none for this question" in said) == (0, True)


def test_the_holders_are_checked_against_a_pool(rules: str) -> None:
    with pytest.raises(ContractError, match=r"\[rules.kind\] held_by names no community of the pool \('farmers'\)"):
        contract("check", rules, "--pool", "perspective")


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "cannot be read .*name another file with --answer"),
        (b"\xff", "is not UTF-8 text; save it as UTF-8"),
        (b"a" * (2**20 + 1), "is larger than 1 MiB"),
    ],
)
def test_an_answer_that_cannot_be_read_is_told(rules: str, tmp_path: Path, content: bytes | None, told: str) -> None:
    path = tmp_path / "answer.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=told):
        contract("check", rules, "--answer", str(path))


def test_what_is_about_an_answer_needs_one(rules: str) -> None:
    with pytest.raises(InputError, match="add --answer"):
        contract("check", rules, "--question", "Why?")


def test_two_contracts_are_compared(rules: str, tmp_path: Path) -> None:
    other = tmp_path / "other.toml"
    other.write_text(RULES.replace("max = 5", "max = 6").replace("[rules.calm]", "[rules.quiet]"))
    code, said = contract("diff", rules, str(other))
    assert code == 0
    assert said == (
        'Added quiet\n  strength = "should"\n  weight = 1.0\n  verify = {"pattern": {"forbids": "!"}}\n'
        'Removed calm\n  strength = "should"\n  weight = 1.0\n  verify = {"pattern": {"forbids": "!"}}\n'
        'Changed short\n  verify: {"words": {"max": 5}} → {"words": {"max": 6}}\n'
    )
    found: dict[str, Any] = json.loads(contract("diff", rules, str(other), "--json")[1])
    assert found["before"] != found["after"]
    assert list(found["changed"]) == ["short"]
    assert contract("diff", rules, rules) == (0, "The rules are the same.\n")


def test_the_command_ends_with_one_sentence_and_no_traceback(tmp_path: Path) -> None:
    path = tmp_path / "rules.toml"
    path.write_text("[rules.a]\ntext = 'x'\nsince = 'soon'\n")
    done = pluralism("contract", "check", str(path))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"Error: {path}: [rules.a] since must be a date such as 2026-11-01, not 'soon'\n"
    done = pluralism("contract", "check", EXAMPLE, "--answer", "-", stdin="We guarantee \x1b[2J it.")
    assert done.returncode == 3
    assert "Breached: the answer breaks no_guarantee, short." in done.stdout
    assert "\x1b" not in done.stdout
    assert done.stderr == ""


# The page


def test_the_page_says_what_verifiers_there_are() -> None:
    rows = re.findall(r"^\| `(\w+)` \| `(\{.*\})` \|", PAGE, re.MULTILINE)
    assert dict(rows) == {name: verifier.example for name, verifier in VERIFIERS.items()}


def test_the_pages_contract_is_one() -> None:
    [text] = re.findall(r"^```toml\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    assert list(Contract.from_toml(text, source="docs/assembly.md").rules) == ["no_promise", "short"]


def test_the_page_shows_what_the_command_prints() -> None:
    code, said = contract("check", EXAMPLE, "--answer", ANSWER)
    assert code == 4
    assert said.splitlines()[-1] in PAGE
