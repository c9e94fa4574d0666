"""What verifiers find, what they cannot decide, and that none of them hangs."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modular_pluralism.errors import ConfigurationError, ContractError, ModelLoadError
from modular_pluralism.societal.contract import Contract
from modular_pluralism.societal.verifiers import installed, json_schema
from modular_pluralism.societal.verifiers.candidate import Candidate, Finding
from modular_pluralism.societal.verifiers.registry import VERIFIERS, verifier_names
from modular_pluralism.societal.verifying import verify

COMMENTS = {
    "farmers": "Fuel is dear, and subsidies keep our farms alive.",
    "townspeople": "Buses should run at night so that we can leave the car at home.",
}


def found(verifier: str, settings: Mapping[str, Any], text: str, **more: Any) -> Finding:
    contract = Contract.from_data({"rules": {"a": {"verify": {verifier: settings}}}})
    [ballot] = verify(contract.rules, Candidate("base", text, **more), "2026-11-30T20:00:00+00:00")
    assert json.loads(json.dumps(ballot)) == ballot
    assert (ballot["member"], ballot["kind"], ballot["candidate"], ballot["rule"]) == (
        verifier,
        "verifier",
        "base",
        "a",
    )
    assert (ballot["score"], ballot["label_mass"], ballot["spread"]) == (None, None, None)
    assert ballot["when"] == "2026-11-30T20:00:00+00:00"
    assert ballot["verdict"] is not None
    assert ballot["reason"]
    assert sorted(ballot["verdict"].values()) == [0, 0, 1]
    return Finding(next(word for word, share in ballot["verdict"].items() if share), ballot["reason"])


ENGLISH = "Some people want the centre without cars, since the air would be cleaner. Others fear for their shops. "
LONG = "Notwithstanding considerable administrative disagreements, municipal representatives unanimously acknowledged "

DOUBLING = {
    "$ref": "#/$defs/0",
    "$defs": {str(at): {"allOf": [{"$ref": f"#/$defs/{at + 1}"}] * 2} for at in range(24)} | {"24": True},
}

CASES = [
    ("words", {"max": 3}, "One, two – three!", "kept", "3 words; at most 3"),
    ("words", {"max": 2}, "One, two – three!", "broken", "3 words; at most 2"),
    ("words", {"min": 2, "max": 4}, "One", "broken", "1 word; at least 2 and at most 4"),
    ("words", {"min": 1}, "", "broken", "0 words; at least 1"),
    ("words", {"max": 3}, "市中心应该禁止汽车通行吗", "silent", "the text is in a script without spaces between words"),
    ("sentences", {"max": 2}, "Mr. Smith came. He left.", "kept", "2 sentences; at most 2"),
    ("sentences", {"min": 2}, "He left.", "broken", "1 sentence; at least 2"),
    (
        "sentences",
        {"min": 2},
        "รถยนต์ควรถูกห้ามเข้าใจกลางเมือง",
        "silent",
        "the text is in a script without spaces between words",
    ),
    ("pattern", {"matches": r"\bcars?\b"}, "No car here.", "kept", r"'car' matches \bcars?\b"),
    ("pattern", {"matches": r"\bcars?\b"}, "A cart.", "broken", r"nothing matches \bcars?\b"),
    ("pattern", {"forbids": "(?i)GUARANTEE"}, "We guarantee it.", "broken", "'guarantee' matches (?i)GUARANTEE"),
    ("pattern", {"forbids": r"\bÄpfel\b"}, "Viele Äpfel.", "broken", r"'Äpfel' matches \bÄpfel\b"),
    ("pattern", {"matches": "b", "forbids": "a"}, "ab", "broken", "'a' matches a"),
    ("pattern", {"matches": "b", "forbids": "a"}, "b", "kept", "nothing matches a"),
    ("forbidden_text", {"texts": ["we guarantee"]}, "WE\n GUARANTEE it", "broken", "it says 'we guarantee'"),
    ("forbidden_text", {"texts": ["we guarantee"]}, "we guar\u200bantee it", "broken", "it says 'we guarantee'"),
    ("forbidden_text", {"texts": ["art", "café"]}, "A party in a cafe\u0301.", "broken", "it says 'café'"),
    ("forbidden_text", {"texts": ["art", "(sic)"]}, "A party.", "kept", "it says none of 2 forbidden texts"),
    ("forbidden_text", {"texts": ["(sic)"]}, "A fact(sic)!", "broken", "it says '(sic)'"),
    ("json_schema", {"schema": {"type": "object", "required": ["a"]}}, '{"a": 1}', "kept", "it follows the schema"),
    ("json_schema", {"schema": {"required": ["a"]}}, "{}", "broken", "'a' is a required property"),
    ("json_schema", {"schema": {"properties": {"a": {"type": "null"}}}}, '{"a": 1}', "broken", "a: 1 is not of type"),
    ("json_schema", {"schema": {"type": "string"}}, "plain", "broken", "it is no JSON"),
    ("json_schema", {"schema": {"type": "string"}}, "[" * 100_000, "broken", "it is no JSON"),
    ("json_schema", {"schema": {"pattern": "^a"}}, '"ba"', "broken", "'ba' does not match '^a'"),
    ("json_schema", {"schema": {"$ref": "https://example.org/x"}}, "1", "silent", "refers to 'https://example.org/x'"),
    ("json_schema", {"schema": {"$ref": "#"}}, "1", "silent", "is nested too deeply"),
    ("language", {"code": "en"}, ENGLISH, "kept", "it is English"),
    ("language", {"code": "DE"}, ENGLISH, "broken", "it is English"),
    ("language", {"code": "de"}, "Die Stadt sollte Autos aus der Mitte verbannen.", "kept", "it is German"),
    ("language", {"code": "en"}, "ok", "silent", "its language cannot be told"),
    ("language", {"code": "en"}, " 12 ", "silent", "its language cannot be told"),
    ("reading_level", {"max": 9}, ENGLISH * 2, "kept", "grade "),
    ("reading_level", {"max": 9}, LONG * 5, "broken", "grade "),
    ("reading_level", {"max": 9}, "Too short to tell.", "silent", "4 words; 30 tell a grade"),
    ("reading_level", {"max": 9}, "市中心应该禁止汽车通行吗" * 9, "silent", "script without spaces"),
    ("must_cite", {"communities": ["farmers"]}, "Fuel is dear [1].", "kept", "it cites farmers"),
    ("must_cite", {"communities": ["townspeople"]}, "Fuel is dear [1].", "broken", "it does not cite townspeople"),
    ("must_cite", {"communities": ["farmers", "townspeople"]}, "As Farmers say [2].", "kept", "it cites farmers, town"),
    ("must_cite", {"communities": ["artists"]}, "As artists say.", "silent", "there is no comment of artists"),
    ("must_cite", {"communities": ["artists", "farmers"]}, "Well.", "broken", "it does not cite farmers"),
    ("must_represent", {"above": 0.2}, " ".join(COMMENTS.values()), "kept", "a sentence comes near each comment of"),
    ("must_represent", {"above": 0.2}, COMMENTS["farmers"], "broken", "near the comment of townspeople"),
    ("must_represent", {"above": 0.5}, COMMENTS["farmers"], "kept", "near each comment of farmers"),
    ("must_represent", {"above": 0.7}, "Nothing.", "kept", "no community has a weight above 0.7"),
    ("must_represent", {"above": 0.2}, "", "broken", "near the comment of farmers, townspeople"),
]


@pytest.mark.parametrize(("verifier", "settings", "text", "verdict", "reason"), CASES)
def test_a_verifier_finds(verifier: str, settings: dict[str, Any], text: str, verdict: str, reason: str) -> None:
    told = found(verifier, settings, text, comments=COMMENTS, weights={"farmers": 0.6, "townspeople": 0.4})
    assert told.verdict == verdict
    assert reason in told.reason


def test_every_verifier_has_cases_for_each_verdict_it_can_give() -> None:
    given = {name: {case[3] for case in CASES if case[0] == name} for name in VERIFIERS}
    always = {"forbidden_text"}
    patterns = {"pattern", "must_represent"}  # below
    assert all(len(verdicts) == 3 for name, verdicts in given.items() if name not in always | patterns)


def test_who_has_not_commented_cannot_be_represented() -> None:
    weights = {"farmers": 0.6, "artists": 0.4}
    told = found("must_represent", {"above": 0.2}, COMMENTS["farmers"], comments=COMMENTS, weights=weights)
    assert told == ("silent", "there is no comment of artists")
    assert (
        found("must_represent", {"above": 0.2}, "x", comments=COMMENTS).reason
        == "the communities' weights are not known"
    )


def test_a_pattern_that_takes_exponential_time_is_given_up() -> None:
    begun = time.perf_counter()
    told = found("pattern", {"matches": "^(a|a)+$"}, "a" * 100 + "!")
    assert told == ("silent", "the pattern ^(a|a)+$ took longer than 1 s; write a simpler one")
    assert time.perf_counter() - begun < 20


@pytest.mark.parametrize(
    ("schema", "text"), [({"pattern": "^(a|a)+$"}, f'"{"a" * 60}!"'), (DOUBLING, "1")], ids=["pattern", "references"]
)
def test_a_schema_that_takes_exponential_time_is_given_up(
    schema: dict[str, Any], text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(json_schema, "SECONDS", 0.1)
    told = found("json_schema", {"schema": schema}, text)
    assert told == ("silent", "the schema took longer than 0.1 s; write a simpler one")


def test_the_grade_is_that_of_the_formula() -> None:
    # 40 words of 4 letters in 4 sentences: 4.71 · 4 + 0.5 · 10 − 21.43 = 2.41
    text = " ".join(["Word " + "word " * 8 + "word."] * 4)
    assert found("reading_level", {"max": 2.42}, text) == ("kept", "grade 2.4; at most 2.42")
    assert found("reading_level", {"max": 2.4}, text).verdict == "broken"


@given(st.text(max_size=200))
def test_no_text_breaks_a_verifier(text: str) -> None:
    every: dict[str, dict[str, Any]] = {
        "words": {"max": 5},
        "sentences": {"max": 2},
        "pattern": {"forbids": r"\d"},
        "forbidden_text": {"texts": ["a b", "ß", "."]},
        "json_schema": {"schema": {"type": "object"}},
        "reading_level": {"max": 8},
        "must_cite": {"communities": ["farmers"]},
        "must_represent": {"above": 0.1},
    }
    for verifier, settings in every.items():
        found(verifier, settings, text, comments=COMMENTS, weights={"farmers": 1.0})


@given(st.lists(st.from_regex(r"[a-zA-Z]{1,8}", fullmatch=True), max_size=30), st.integers(0, 40))
def test_words_are_counted_as_they_are(words: list[str], most: int) -> None:
    told = found("words", {"max": most}, " ".join(words))
    assert told.verdict == ("kept" if len(words) <= most else "broken")


def test_the_registry_is_what_a_rule_can_name() -> None:
    assert verifier_names()[: len(VERIFIERS)] == list(VERIFIERS)
    for name, verifier in VERIFIERS.items():
        text = f"[rules.a]\nverify = {{ {name} = {verifier.example} }}"
        rule = Contract.from_toml(text, source="x").rules["a"]
        assert rule.verify is not None
        assert rule.verify.verifier == name
        assert verifier.__doc__


@pytest.mark.parametrize(("verifier", "module"), [("language", "lingua"), ("sentences", "sentence_splitter")])
def test_a_library_that_is_not_installed_is_told(verifier: str, module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from modular_pluralism import sentences
    from modular_pluralism.societal.verifiers import language

    for cached in (language._languages, language._detector, sentences._splitter):
        cached.cache_clear()
    monkeypatch.setitem(__import__("sys").modules, module, None)
    with pytest.raises(ModelLoadError, match=r"which cannot be imported.*pip install"):
        found(verifier, {"code": "en"} if verifier == "language" else {"max": 1}, "Text.")


# Verifiers of other packages


@pytest.fixture
def bring(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Have an installed package bring a verifier."""

    def bringing(check: Any, name: str = "polite") -> None:
        def load() -> Any:
            if isinstance(check, Exception):
                raise check
            return check

        entry = SimpleNamespace(name=name, value="manners:polite", dist=SimpleNamespace(name="manners"), load=load)
        monkeypatch.setattr(installed, "entry_points", lambda group: [entry] if group == installed.GROUP else [])
        installed.load.cache_clear()

    yield bringing
    installed.load.cache_clear()


def test_an_installed_verifier_is_asked_with_the_candidate_and_its_settings(bring: Any) -> None:
    def polite(candidate: Candidate, settings: Mapping[str, Any]) -> tuple[str, str]:
        asks = settings["word"] in candidate.text and candidate.question == "Why?"
        return ("kept" if asks else "broken"), f"{settings['word']} is wanted"

    bring(polite)
    assert verifier_names()[-1] == "polite"
    settings = {"word": "please"}
    assert found("polite", settings, "Come, please.", question="Why?") == ("kept", "please is wanted")
    assert found("polite", settings, "Come.", question="Why?").verdict == "broken"
    one, other = ({"rules": {"a": {"verify": {"polite": {"word": word}}}}} for word in ("please", "thanks"))
    assert Contract.from_data(one).data["rules"]["a"]["verify"] == {"polite": {"word": "please"}}
    assert Contract.from_data(one).version != Contract.from_data(other).version


@pytest.mark.parametrize("returned", [None, True, ("kept",), ("fine", "x"), ("kept", None), (["kept"], "x")])
def test_what_is_no_verdict_is_told(bring: Any, returned: Any) -> None:
    bring(lambda candidate, settings: returned)
    with pytest.raises(ConfigurationError, match=r"^The verifier polite returns .*; it must return a verdict \(kept, "):
        found("polite", {}, "x")


def test_a_verifier_that_fails_is_told_with_its_name(bring: Any) -> None:
    def fails(candidate: Candidate, settings: Mapping[str, Any]) -> tuple[str, str]:
        raise KeyError("word")

    bring(fails)
    with pytest.raises(ConfigurationError, match=r"^The verifier polite fails \(KeyError: 'word'\); mend its package"):
        found("polite", {}, "x")


@pytest.mark.parametrize("check", [ImportError("no manners"), 3])
def test_what_cannot_be_loaded_is_told_as_the_contract_is_read(bring: Any, check: Any) -> None:
    bring(check)
    with pytest.raises(ConfigurationError, match=r"^The verifier polite of manners \(manners:polite\)"):
        Contract.from_data({"rules": {"a": {"verify": {"polite": {}}}}})


def test_settings_of_an_installed_verifier_are_a_table(bring: Any) -> None:
    bring(lambda candidate, settings: ("kept", "x"))
    with pytest.raises(ContractError, match=r"\[rules.a\] verify has 3 for polite; write a table of its settings"):
        Contract.from_data({"rules": {"a": {"verify": {"polite": 3}}}})


def test_a_contract_names_code_by_an_installed_name_only(bring: Any) -> None:
    bring(lambda candidate, settings: ("kept", "x"))
    others: list[dict[str, Any]] = [{"manners:polite": {}}, {"python": {"function": "manners:polite"}}]
    for settings in others:
        with pytest.raises(ContractError, match="names no verifier that is installed"):
            Contract.from_data({"rules": {"a": {"verify": settings}}})
