"""Contracts: reading one, what is wrong with it, its version, amending its file, and how two differ."""

from __future__ import annotations

import json
import re
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modular_pluralism.errors import ConfigurationError, ContractError, ModelLoadError
from modular_pluralism.societal.contract import Contract
from modular_pluralism.societal.contract_text import amend, strike
from modular_pluralism.societal.difference import difference
from modular_pluralism.societal.rule import Rule

EXAMPLE = Path(__file__).resolve().parents[1] / "docs" / "example_contract.toml"
RULES = """\
# Agreed on by everybody.
[rules.no_promise]
text = "Promises no outcome that nobody can guarantee."
held_by = ["farmers"]      # default: all communities
strength = "must"
weight = 2.0
scope = { attribute = "subsidies" }
since = 2026-11-01
source = "minutes of 1 November, item 4"

# As short as a letter.
[rules.short]
verify = { words = { max = 120 } }
"""


def contract(text: str = RULES) -> Contract:
    return Contract.from_toml(text, source="rules.toml")


def test_a_contract_is_read_as_it_is_written() -> None:
    rules = contract().rules
    assert list(rules) == ["no_promise", "short"]
    promise, short = rules.values()
    assert (promise.held_by, promise.strength, promise.weight) == (["farmers"], "must", 2.0)
    assert promise.since == date(2026, 11, 1)
    assert (short.text, short.held_by, short.strength, short.weight) == (None, None, "should", 1.0)
    assert short.verify is not None
    assert short.verify.verifier == "words"
    assert promise.is_held_by("farmers")
    assert not promise.is_held_by("townspeople")
    assert short.is_held_by("townspeople")


@pytest.mark.parametrize(
    ("attribute", "day", "names"),
    [
        (None, None, ["short"]),
        ("subsidies", None, ["no_promise", "short"]),
        ("  SUBSIDIES ", date(2026, 11, 1), ["no_promise", "short"]),
        ("subsidies", date(2026, 10, 31), ["short"]),
        ("subsidy", None, ["short"]),
    ],
)
def test_a_rule_is_for_the_questions_of_its_scope_from_its_day_on(
    attribute: str | None, day: date | None, names: list[str]
) -> None:
    assert list(contract().applying(attribute, day)) == names


def test_the_version_is_that_of_the_rules() -> None:
    version = contract().version
    assert Contract.from_data(json.loads(json.dumps(contract().data))).version == version
    head, tail = RULES.split("# As short")
    same = ["# Other comments\n" + RULES, f"[rules.short]{tail.split(']', 1)[1]}{head}", RULES.replace("2.0", "2")]
    same.append(RULES.replace("since = 2026-11-01", 'since = "2026-11-01"'))
    assert {contract(text).version for text in same} == {version}
    others = {
        contract(RULES.replace(*each)).version for each in (("120", "121"), ("must", "should"), ("short", "long"))
    }
    assert len(others) == 3
    assert version not in others


REFUSED = [
    ("", "there is no [rules.*] table; add [rules.NAME] with text or verify"),
    ("[rules.a]\nstrength = 'must'", "[rules.a] has neither text nor verify; say the rule in words"),
    ("[rules.a]\ntext = 'x'\nstrenght = 'must'", "[rules.a] unknown key 'strenght'; remove it, or use one of text,"),
    ("[rules.a]\ntext = 'x'\nstrenght = 'must'", "(did you mean 'strength'?)"),
    ("[rules.a]\ntext = 'x'\nstrength = 'may'", "[rules.a] strength must be 'must' or 'should', not 'may'"),
    ("[rules.a]\ntext = 'x'\nsince = 'soon'", "[rules.a] since must be a date such as 2026-11-01, not 'soon'"),
    ("[rules.a]\ntext = 'x'\nsince = 2026-11-01T10:00:00", "[rules.a] since must be a date such as 2026-11-01"),
    ("[rules.a]\ntext = 'x'\nsince = 20261101", "[rules.a] since must be a date such as 2026-11-01, not 20261101"),
    ("[rules.a]\ntext = 'x'\nsince = 2026-13-01", "rules.toml, line 3: this is not TOML"),
    ("[rules.a]\ntext = 'x'\nheld_by = 'farmers'", "[rules.a] held_by must be a list, not 'farmers'"),
    ("[rules.a]\ntext = 'x'\nheld_by = []", "[rules.a] held_by names nobody; name a community"),
    ("[rules.a]\ntext = 'x'\nheld_by = ['a', 'a']", "[rules.a] held_by names 'a' twice; keep one"),
    ("[rules.a]\ntext = 'x'\nweight = -1", "[rules.a] weight must be above 0.0, not -1"),
    ("[rules.a]\ntext = 'x'\nweight = nan", "[rules.a] weight must be a finite number, not nan"),
    ("[rules.a]\ntext = 'x'\nweight = '2'", "[rules.a] weight must be a number, not '2'"),
    ("[rules.a]\ntext = 'x'\nscope = 'tax'", "[rules.a] scope must be a table, not 'tax'"),
    ("[rules.a]\ntext = 'x'\nscope = {}", "[rules.a] there is no scope.attribute"),
    ("[rules.a]\ntext = 'x'\nscope = { atribute = 'tax' }", "[rules.a] "),
    ("[rules.a]\ntext = ' '", "[rules.a] text must say something"),
    ('[rules.a]\ntext = "\\u001b[2J"', "[rules.a] text holds a character that nobody can read (U+001B); remove it"),
    ("[rules.a]\ntext = 'x'\nsource = \"\\u0000\"", "[rules.a] source holds a character that nobody can read (U+0000)"),
    ('[rules.a]\ntext = "no\\u202ekcart"', "[rules.a] text holds a character that nobody can read (U+202E)"),
    ("[rules.'a b']\ntext = 'x'", "[rules.'a b'] is no usable name; write up to 64 letters, digits"),
    ('[rules."a\\u001b"]\ntext = "x"', r"[rules.'a\x1b'] is no usable name"),
    ("[rules.a]\ntext = 'x'\n[rules.A]\ntext = 'y'", "[rules.A] differs from [rules.a] only in upper and lower case"),
    ("[rules.a]\ntext = 'x'\n[rules.a]\ntext = 'y'", "rules.toml, line 3: the table [rules.a] appears twice"),
    ("[rules.a]\ntext = 'x'\n[rules.b]\ntext = ' X'", "[rules.b] says the same as [rules.a] of the same questions"),
    ("[rules.a]\ntext = 'x'\ntext = 'y'", "rules.toml, line 3: this key was already set"),
    ("[rule.a]\ntext = 'x'", "unknown table 'rule'; remove it, or use one of rules"),
    ("rules = 3", "rules must be a table, not 3"),
    ("[rules]\na = 3", "[rules.a] must be a table, not 3"),
    ("[rules.a", "rules.toml, line 1: this is not TOML"),
    (f"[rules.{'a.' * 40}b]\ntext = 'x'", "the TOML is nested too deeply; a contract needs tables of plain values"),
    ("#" * (2**20 + 1), "rules.toml is larger than 1 MiB, which no contract file is"),
    ("[rules.a]\nverify = 3", "[rules.a] verify must be a table, not 3"),
    ("[rules.a]\nverify = {}", "[rules.a] verify names no verifier; write one: words, sentences,"),
    (
        "[rules.a]\nverify = { word = { max = 1 } }",
        "[rules.a] verify names no verifier that is installed ('word'); use",
    ),
    ("[rules.a]\nverify = { word = { max = 1 } }", "(did you mean 'words'?)"),
    ("[rules.a]\nverify = { python = 'os:system' }", "[rules.a] verify names no verifier that is installed ('python')"),
    (
        "[rules.a]\nverify = { words = { max = 1 }, sentences = { max = 1 } }",
        "[rules.a] verify names 2 verifiers (words, sentences); write one",
    ),
    ("[rules.a]\nverify = { words = 3 }", "[rules.a] verify.words must be a table, not 3"),
    ("[rules.a]\nverify = { words = {} }", "[rules.a] verify.words has neither min nor max; give one of them"),
    ("[rules.a]\nverify = { words = { mx = 1 } }", "[rules.a] verify.words unknown key 'mx'; remove it, or use one of"),
    ("[rules.a]\nverify = { words = { max = '1' } }", "[rules.a] verify.words.max must be a whole number, not '1'"),
    ("[rules.a]\nverify = { words = { max = -1 } }", "[rules.a] verify.words.max must be at least 0, not -1"),
    (
        "[rules.a]\nverify = { words = { min = 2, max = 1 } }",
        "[rules.a] verify.words has a min of 2 above its max of 1",
    ),
    ("[rules.a]\nverify = { pattern = {} }", "[rules.a] verify.pattern has neither matches nor forbids"),
    (
        "[rules.a]\nverify = { pattern = { forbids = '(' } }",
        "[rules.a] verify.pattern.forbids is no regular expression",
    ),
    (
        f"[rules.a]\nverify = {{ pattern = {{ matches = '{'(' * 900}{')' * 900}' }} }}",
        "[rules.a] verify.pattern.matches is too deep or too large a regular expression",
    ),
    (
        f"[rules.a]\nverify = {{ pattern = {{ matches = '{'a' * 2001}' }} }}",
        "[rules.a] verify.pattern.matches has 2,001 characters, and a pattern may have 2,000",
    ),
    (
        "[rules.a]\nverify = { forbidden_text = { texts = [] } }",
        "[rules.a] verify.forbidden_text.texts must be a list that is not empty, not []",
    ),
    (
        "[rules.a]\nverify = { forbidden_text = { texts = [' '] } }",
        "[rules.a] verify.forbidden_text.texts.0 has a text of nothing that can be read",
    ),
    ("[rules.a]\nverify = { language = { code = 'xx' } }", "[rules.a] verify.language.code must be the code of a"),
    (
        "[rules.a]\nverify = { must_represent = { above = 1 } }",
        "[rules.a] verify.must_represent.above must be below 1.0, not 1",
    ),
    ("[rules.a]\nverify = { json_schema = {} }", "[rules.a] there is no verify.json_schema.schema"),
    (
        "[rules.a]\nverify = { json_schema = { schema = { type = 'thing' } } }",
        "[rules.a] verify.json_schema.schema is no JSON schema ('thing' is not valid",
    ),
    (
        "[rules.a]\nverify = { json_schema = { schema = { items = { minmum = 3 } } } }",
        "[rules.a] verify.json_schema.schema has the keyword 'minmum', by which no answer is checked",
    ),
    (
        "[rules.a]\nverify = { json_schema = { schema = { patternProperties = { '(a|a)+$' = false } } } }",
        "[rules.a] verify.json_schema.schema has the keyword 'patternProperties'",
    ),
]


@pytest.mark.parametrize(("text", "told"), REFUSED)
def test_a_mistake_is_one_sentence_with_its_place(text: str, told: str) -> None:
    with pytest.raises(ContractError) as caught:
        contract(text)
    message = str(caught.value)
    assert message.startswith("rules.toml")
    assert told in message
    assert "\n" not in message
    assert "\x1b" not in message


def test_a_property_may_be_called_as_a_keyword_is() -> None:
    text = (
        "[rules.a]\nverify = { json_schema = { schema = { properties = { patternProperties = { enum = ['pat'] } } } } }"
    )
    assert contract(text).rules["a"].verify is not None


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "does not exist; give the path of a contract's .toml file"),
        (b"[rules.a]\ntext = '\xff'", "is not UTF-8 text (byte 18); save it as UTF-8"),
        (b"\0" * (2**20 + 1), "is larger than 1 MiB"),
    ],
)
def test_a_file_that_cannot_be_read_is_told(content: bytes | None, told: str, tmp_path: Path) -> None:
    path = tmp_path / "rules.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ContractError, match=r"rules\.toml") as caught:
        Contract.load(path)
    assert told in str(caught.value)


def test_a_folder_and_a_broken_link_are_told(tmp_path: Path) -> None:
    with pytest.raises(ContractError, match="cannot be read"):
        Contract.load(tmp_path)
    link = tmp_path / "link.toml"
    link.symlink_to(tmp_path / "nowhere")
    with pytest.raises(ContractError, match="does not exist"):
        Contract.load(link)


def test_rules_made_in_python_are_checked_likewise() -> None:
    with pytest.raises(ContractError, match=r"^Rule: has neither text nor verify"):
        Rule()
    with pytest.raises(ContractError, match=r"^contract: \[rules.a\] weight must be above 0"):
        Contract(rules={"a": {"text": "x", "weight": 0}})  # type: ignore[dict-item]
    with pytest.raises(ContractError, match=r"^contract: there is no rules; give it"):
        Contract()  # type: ignore[call-arg]


def test_holders_have_to_be_communities_of_the_pool() -> None:
    contract().check_holders(["farmers", "townspeople"])
    with pytest.raises(ContractError) as caught:
        contract().check_holders(["farmer", "townspeople"])
    assert str(caught.value) == (
        "rules.toml: [rules.no_promise] held_by names no community of the pool ('farmers'); use some of farmer, "
        "townspeople (did you mean 'farmer'?)"
    )
    cites = contract("[rules.a]\nverify = { must_cite = { communities = ['farmers'] } }")
    with pytest.raises(ContractError, match=r"\[rules.a\] verify.must_cite.communities names no community"):
        cites.check_holders(["townspeople"])


def test_without_a_verifiers_library_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "regex", None)
    with pytest.raises(ModelLoadError, match=r"needs the Python package regex.*modular-pluralism\[contracts\]"):
        contract("[rules.a]\nverify = { pattern = { forbids = 'a' } }")


# Amending


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "rules.toml"
    path.write_text(RULES)
    return path


def test_an_amended_rule_has_its_new_keys_and_all_else_stays(file: Path) -> None:
    short = Contract.load(file).rules["short"]
    amended = amend(file, "short", short.model_copy(update={"text": "Is short.", "weight": 3.0}))
    assert file.read_text() == RULES + 'text = "Is short."\nweight = 3.0\n'
    assert amended.version == Contract.load(file).version != contract().version
    promise = amended.rules["no_promise"]
    amend(file, "no_promise", promise.model_copy(update={"since": date(2026, 12, 1), "source": None}))
    expected = RULES.replace("2026-11-01", "2026-12-01").replace('source = "minutes of 1 November, item 4"\n', "")
    assert file.read_text().startswith(expected)


def test_a_new_rule_stands_behind_the_last_one(file: Path) -> None:
    rule = Rule(text='Says "please".', held_by=["farmers"], scope={"attribute": "a b"}, verify={"words": {"min": 1}})  # type: ignore[arg-type]
    amend(file, "polite", rule)
    assert file.read_text() == RULES + (
        '\n[rules.polite]\ntext = "Says \\"please\\"."\nheld_by = ["farmers"]\nscope = {attribute = "a b"}\n'
        "verify = {words = {min = 1}}\n"
    )
    assert Contract.load(file).rules["polite"] == rule


def test_a_struck_rule_goes_with_its_comment(file: Path) -> None:
    strike(file, "short")
    assert file.read_text() == RULES.split("# As short")[0]
    with pytest.raises(ContractError, match="has no rule 'promise'; it has no_promise"):
        strike(file, "promise")


@pytest.mark.parametrize(
    ("name", "rule", "told"),
    [
        ("a b", Rule(text="x"), "'a b' is no usable name"),
        ("SHORT", Rule(text="x"), "differs from"),
        ("again", Rule(verify={"words": {"max": 120}}), "says the same as"),  # type: ignore[arg-type]
    ],
)
def test_an_amendment_that_cannot_be_leaves_the_file_as_it_is(file: Path, name: str, rule: Rule, told: str) -> None:
    with pytest.raises(ContractError, match=told):
        amend(file, name, rule)
    assert file.read_text() == RULES


def test_the_last_rule_cannot_be_struck(file: Path) -> None:
    strike(file, "short")
    before = file.read_text()
    with pytest.raises(ContractError, match="has no rule but 'no_promise', and a contract needs one"):
        strike(file, "no_promise")
    assert file.read_text() == before


def test_rules_on_one_line_are_edited_by_hand(file: Path) -> None:
    file.write_text('rules = { a = { text = "x" } }\n')
    with pytest.raises(ContractError, match=r"write each as a table \[rules.NAME\], or edit the file by hand"):
        amend(file, "a", Rule(text="y"))
    assert file.read_text() == 'rules = { a = { text = "x" } }\n'


def test_a_file_with_windows_line_ends_keeps_them(file: Path) -> None:
    file.write_bytes(RULES.replace("\n", "\r\n").encode())
    amend(file, "short", Rule(text="Is short."))
    given = file.read_bytes()
    assert given.count(b"\n") == given.count(b"\r\n") > 5


texts = st.text(st.characters(exclude_categories=["C"]), min_size=1, max_size=30).filter(str.strip)
rules = st.builds(
    Rule,
    text=texts,
    strength=st.sampled_from(["must", "should"]),
    weight=st.floats(0.01, 1e6),
    since=st.none() | st.dates(),
    source=st.none() | texts,
    held_by=st.none() | st.lists(st.sampled_from(["a", "b", "c"]), min_size=1, unique=True),
)


@given(rules)
def test_any_rule_survives_its_file_and_its_state(tmp_path_factory: pytest.TempPathFactory, rule: Rule) -> None:
    file = tmp_path_factory.mktemp("contract") / "rules.toml"
    file.write_text(RULES)
    amended = amend(file, "any", rule)
    assert amended.rules["any"].model_dump() == rule.model_dump()
    assert Contract.from_data(json.loads(json.dumps(amended.data))).rules == amended.rules
    assert file.read_text().startswith(RULES)


# Differences


def test_a_difference_names_rules_and_keys() -> None:
    changed = (
        RULES.replace("max = 120", "min = 10")
        .replace("2.0", "3.0")
        .replace('source = "minutes of 1 November, item 4"\n', "")
    )
    found = difference(contract(), contract(changed + '[rules.kind]\ntext = "Is kind."\n'))
    assert found["removed"] == {}
    assert found["added"] == {"kind": {"text": "Is kind.", "strength": "should", "weight": 1.0}}
    assert found["changed"] == {
        "no_promise": {
            "weight": {"before": 2.0, "after": 3.0},
            "source": {"before": "minutes of 1 November, item 4", "after": None},
        },
        "short": {
            "verify": {"before": {"words": {"max": 120}}, "after": {"words": {"min": 10}}},
        },
    }
    assert difference(contract(), contract()) == {"added": {}, "removed": {}, "changed": {}}


def test_nothing_societal_imports_a_model_or_what_asks_one() -> None:
    above = {
        "cli",
        "debugger",
        "evaluation",
        "graphs",
        "llama",
        "models",
        "nodes",
        "pool",
        "prompts",
        "runs",
        "serving",
    }
    files = sorted((EXAMPLE.parents[1] / "modular_pluralism" / "societal").rglob("*.py"))
    named = {
        found for file in files for found in re.findall(r"(?:from|import) modular_pluralism\.(\w+)", file.read_text())
    }
    assert named & above == set()
    assert "errors" in named


def test_the_example_is_a_contract() -> None:
    example = Contract.load(EXAMPLE)
    assert any(rule.verify is None for rule in example.rules.values())
    assert any(rule.verify is not None for rule in example.rules.values())


def test_every_error_of_a_contract_ends_a_command_as_other_bad_input_does() -> None:
    assert issubclass(ContractError, ConfigurationError)
    made: Any = ContractError("x")
    assert made.exit_code == 2
