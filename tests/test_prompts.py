"""Prompt files: their format, the set that a run uses, and that no value can change what a prompt is."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import HumanMessage, SystemMessage

from modular_pluralism.errors import PromptError
from modular_pluralism.prompts import MODES, Prompt, PromptSet, Style

BUILT_IN: dict[str, set[str]] = {
    "comment": {"question"},
    "comment_options": {"question", "options"},
    "merge": {"question", "comments"},
    "answer_schema": {"schema"},
    "answer_schema_again": {"schema", "problem"},
    "select": {"question", "attribute", "comments"},
    "respond": {"question", "attribute", "comment"},
    "respond_options": {"question", "attribute", "comment", "options"},
    "score": {"question", "comment", "options"},
    "score_text": {"question", "comment"},
    "option": {"label", "option"},
    "numbered_comment": {"number", "comment"},
    "plain_option": {"option"},
    "evidence": {"answers"},
    "recorded_answer": {"number", "question", "answer"},
    "recorded_share": {"percent", "option"},
    "described_persona": {"description"},
    "judge_entailment": {"text", "sentence", "options"},
    "judge_pair": {"question", "answers"},
    "judge_rating": {"question", "answer", "criterion"},
    "perspectives": {"count"},
    "judge_helpfulness": set(),
    "judge_clarity": set(),
    "judge_factuality": set(),
    "judge_depth": set(),
    "judge_neutrality": set(),
    "vote": {"question", "options"},
    "vote_group": {"attribute", "question", "options"},
    "vote_group_text": {"attribute", "question"},
    "vote_text": {"question"},
    "score_group": {"question", "comment", "options", "attribute"},
    "score_group_text": {"question", "comment", "attribute"},
    "numbered_expert": {"number", "description"},
    "route": {"question", "experts"},
    "vanilla": {"question"},
    "vanilla_options": {"question", "options"},
    "moe": {"question", "comment"},
    "moe_options": {"question", "comment", "options"},
    "prompting_overton": {"question"},
    "prompting_overton_options": {"question", "options"},
    "prompting_steerable": {"question", "attribute"},
    "prompting_steerable_options": {"question", "attribute", "options"},
    "prompting_distributional": {"question"},
    "prompting_distributional_options": {"question", "options"},
    "prompting_group": {"question", "attribute"},
    "prompting_group_options": {"question", "attribute", "options"},
    "draft": {"question", "comment"},
    "prefer": {"question", "options"},
    "keeps": {"question", "answer", "rule", "options"},
    "verdicts": set(),
    "repair": {"question", "answer", "rules"},
    "broken_rule": {"rule", "reason"},
    "reflect": {"text", "examples", "names"},
    "reflect_example": {"question", "wanted", "given", "score"},
    "reflect_again": {"problem"},
}


def prompt(text: str, *variables: str, mode: str = "any") -> Prompt:
    return Prompt("sample", mode, variables, 1, text, "sample.txt")


def file_text(
    body: str, name: str = "merge", mode: str = "overton", variables: str = "question, comments", version: str = "2"
) -> str:
    return f"---\nname: {name}\nmode: {mode}\nvariables: {variables}\nversion: {version}\n---\n{body}"


MERGE = file_text("Q {question}\nC {comments}\n")


def put(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def refusal(folder: Path) -> str:
    with pytest.raises(PromptError) as caught:
        PromptSet.load(folder)
    message = str(caught.value)
    assert_one_sentence(message)
    return message


def assert_one_sentence(message: str) -> None:
    assert "\n" not in message
    assert not message.endswith(".")
    assert ". " not in message


# The built-in set


def test_the_built_in_prompts_and_their_variables() -> None:
    prompts = PromptSet.load()
    assert {name: set(prompts[name].variables) for name in prompts} == BUILT_IN
    assert all(prompts[name].mode in MODES and prompts[name].version >= 1 for name in prompts)
    assert len(prompts) == len(BUILT_IN)
    assert "merge" in prompts
    assert "merg" not in prompts


@pytest.mark.parametrize("name", ["comment", "comment_options"])
def test_comment_prompts_leave_the_system_message_to_the_persona(name: str) -> None:
    assert [section.role for section in PromptSet.load()[name].sections] == ["user"]


@pytest.mark.parametrize("name", ["respond_options", "score"])
def test_options_come_after_everything_else_that_is_filled_in(name: str) -> None:
    assert PromptSet.load()[name].text.rfind("{options}") == PromptSet.load()[name].text.rfind("{")


@pytest.mark.parametrize("style", get_args(Style))
@pytest.mark.parametrize("name", BUILT_IN)
def test_every_built_in_prompt_renders(name: str, style: Style) -> None:
    values = {variable: f"<{variable}>" for variable in BUILT_IN[name]}
    text = "".join(str(message.content) for message in PromptSet.load(style=style)[name].render(**values))
    assert all(text.count(value) == 1 for value in values.values())


def test_completion_prompts_end_where_the_reply_begins() -> None:
    chat, completion = PromptSet.load(), PromptSet.load(style="completion")
    assert set(chat) == set(completion)
    for name in completion:
        if completion[name].mode not in ("fragment", "judge"):
            assert completion[name].text.rstrip("\n").endswith(":"), name
            assert "[system]" not in completion[name].text
            assert completion[name].variables == chat[name].variables
            assert completion[name].mode == chat[name].mode


def test_an_overlay_may_replace_completion_prompts(tmp_path: Path) -> None:
    (tmp_path / "completion").mkdir()
    (tmp_path / "completion" / "merge.txt").write_text(file_text("Mine {question} {comments}:"))
    assert PromptSet.load(tmp_path, style="completion")["merge"].text == "Mine {question} {comments}:"
    assert PromptSet.load(tmp_path)["merge"].text == PromptSet.load()["merge"].text
    (tmp_path / "completion" / "nothing.txt").write_text(file_text("Mine {question} {comments}:", name="nothing"))
    with pytest.raises(PromptError, match=r"nothing\.txt replaces no built-in prompt"):
        PromptSet.load(tmp_path)


def test_fragments_render_as_text() -> None:
    prompts = PromptSet.load()
    assert prompts["option"].render_text(label="A", option="Yes") == "A. Yes"
    assert prompts["numbered_comment"].render_text(number=2, comment="Fine") == "Comment 2: Fine"


def test_the_built_in_personas() -> None:
    prompts = PromptSet.load()
    assert len(prompts.personas) == 11
    for name in prompts.personas:
        assert prompts.persona(name).startswith("You ")


def test_an_unknown_prompt_suggests_a_known_one() -> None:
    with pytest.raises(PromptError, match=r"'merg'.*did you mean 'merge'"):
        PromptSet.load()["merg"]


# Rendering


def test_a_text_without_sections_is_one_user_message() -> None:
    assert prompt("\n\nAsk {a}.\n\n", "a").render(a="b") == [HumanMessage("Ask b.")]


def test_sections_become_messages() -> None:
    messages = prompt("\n[system]\nBe {a}.\n\n[user]\nSay {b}.\n", "a", "b").render(a="kind", b=3)
    assert messages == [SystemMessage("Be kind."), HumanMessage("Say 3.")]


def test_doubled_braces_are_literal() -> None:
    assert prompt('{{"x": {{}}}} {{{a}}}', "a").render_text(a="{b}") == '{"x": {}} {{b}}'


def test_values_are_not_trimmed() -> None:
    assert prompt("{a}|{a}", "a").render_text(a=" b\n") == " b\n| b\n"


def test_a_variable_may_be_called_self() -> None:
    assert prompt("{self}", "self").render_text(self="me") == "me"


@pytest.mark.parametrize(
    ("values", "part"),
    [
        ({}, "lacks a value for a, b"),
        ({"a": "x"}, "lacks a value for b"),
        ({"a": "x", "b": "y", "c": "z"}, "has no variable c"),
        ({"a": "x", "b": None}, "got NoneType for b"),
    ],
)
def test_values_have_to_fit(values: dict[str, str], part: str) -> None:
    for render in (prompt("{a}{b}", "a", "b").render, prompt("{a}{b}", "a", "b").render_text):
        with pytest.raises(PromptError, match=part) as caught:
            render(**values)
        assert "sample.txt" in str(caught.value)
        assert_one_sentence(str(caught.value))


def test_several_sections_are_no_plain_text() -> None:
    with pytest.raises(PromptError, match=r"sample\.txt has \[system\] and \[user\] sections"):
        prompt("[system]\nA\n[user]\nB").render_text()


# The text of a prompt

BAD_TEXTS: dict[str, tuple[str, tuple[str, ...], str]] = {
    "attribute": ("{a.b}", ("a",), "line 1: '{a.b}'"),
    "index": ("\nx {a[0]}", ("a",), "line 2: '{a[0]}'"),
    "conversion": ("{a!r}", ("a",), "line 1: '{a!r}'"),
    "format": ("{a:>9}", ("a",), "line 1: '{a:>9}'"),
    "position": ("{}", (), "line 1: '{}'"),
    "number": ("{0}", (), "line 1: '{0}'"),
    "blanks": ("{ a }", ("a",), "line 1: '{ a }'"),
    "lone brace": ("a\nb }", (), "line 2: '}'"),
    "unclosed brace": ("[system]\na\n[user]\n\n{a", ("a",), "line 5: '{'"),
    "not declared": ("{a} {b}", ("a",), "uses {b}"),
    "not used": ("{a}", ("a", "b"), "lists b"),
    "empty": (" \n\n", (), "no text"),
    "two users": ("[user]\nx\n[user]\ny", (), "line 3: [user] appears twice"),
    "system last": ("[user]\nx\n[system]\ny", (), "line 3: [system] comes after [user]"),
    "no user": ("[system]\nx", (), "no [user] section"),
    "empty section": ("[system]\n\n[user]\nx", (), "line 1: the section [system] is empty"),
    "text before": ("x\n[user]\ny", (), "text stands before"),
    "capital role": ("[User]\nx", (), "line 1: '[User]'"),
    "role with a blank": ("[user] \nx", (), "line 1: '[user] '"),
    "role with a colon": ("x\n[system]:\ny", (), "line 2: '[system]:'"),
    "foreign role": ("[system]\nx\n[assistant]\ny", (), "line 3: '[assistant]'"),
    "misspelt role": ("[sytem]\nx\n[user]\ny", (), "line 1: '[sytem]'"),
}


@pytest.mark.parametrize("case", BAD_TEXTS)
def test_a_text_that_cannot_be_used_names_its_line(case: str) -> None:
    text, variables, part = BAD_TEXTS[case]
    with pytest.raises(PromptError) as caught:
        prompt(text, *variables)
    assert part in str(caught.value)
    assert "sample.txt" in str(caught.value)
    assert_one_sentence(str(caught.value))


@pytest.mark.parametrize("text", ["[1]", "x [user] y", "[a note]", "[source]", "- [system]"])
def test_brackets_that_are_no_roles(text: str) -> None:
    assert prompt(text).render() == [HumanMessage(text)]


def test_a_fragment_has_no_sections() -> None:
    with pytest.raises(PromptError, match="a fragment"):
        prompt("[system]\nA\n[user]\nB", mode="fragment")


# The overlay


def test_an_overlay_replaces_file_by_file(tmp_path: Path) -> None:
    path = put(tmp_path, "merge.txt", MERGE)
    persona = file_text("You are new.\n", "asia", "persona", "")
    put(tmp_path, "personas/asia.md", persona)
    prompts = PromptSet.load(tmp_path)
    assert prompts["merge"].render_text(question="a", comments="b") == "Q a\nC b"
    assert (prompts["merge"].version, prompts["merge"].path) == (2, str(path))
    assert prompts.persona("asia.md") == "You are new."
    assert prompts["select"] == PromptSet.load()["select"]
    assert list(prompts) == list(PromptSet.load())


def test_windows_files_are_fine(tmp_path: Path) -> None:
    (tmp_path / "merge.txt").write_bytes(b"\xef\xbb\xbf" + MERGE.replace("\n", "\r\n").encode())
    assert PromptSet.load(tmp_path)["merge"].render_text(question="a", comments="b") == "Q a\nC b"


def test_a_copy_of_the_built_in_folder_is_an_overlay(tmp_path: Path) -> None:
    source = Path(PromptSet.load()["merge"].path).parent
    shutil.copytree(source, tmp_path / "copy")
    for extra in (".DS_Store", "README.md", "merge.txt~", "__pycache__/x.pyc"):
        put(tmp_path / "copy", extra, "\0")
    prompts = PromptSet.load(str(tmp_path / "copy"))
    assert [prompts[name].text for name in prompts] == [PromptSet.load()[name].text for name in prompts]


def test_a_missing_overlay(tmp_path: Path) -> None:
    message = refusal(tmp_path / "none")
    assert str(tmp_path / "none") in message
    assert "does not exist" in message


def test_an_overlay_that_is_a_file(tmp_path: Path) -> None:
    assert "is not a folder" in refusal(put(tmp_path, "merge.txt", MERGE))


@pytest.mark.parametrize("name", [None, "README.md", ".hidden.txt"])
def test_an_overlay_without_prompts(name: str | None, tmp_path: Path) -> None:
    if name:
        put(tmp_path, name, MERGE)
    message = refusal(tmp_path)
    assert str(tmp_path) in message
    assert "holds no prompt" in message


BAD_FILES: dict[str, tuple[str, str, list[str]]] = {
    "misspelt name": ("merg.txt", MERGE, ["merg.txt", "mean 'merge.txt'"]),
    "other ending": ("merge.md", MERGE, ["merge.md", "mean 'merge.txt'"]),
    "capitals": ("MERGE.TXT", MERGE, ["MERGE.TXT", "rename"]),
    "misspelt persona": ("personas/asai.md", MERGE, ["asai.md", "mean 'asia.md'"]),
    "prompt among personas": ("personas/merge.txt", MERGE, ["merge.txt", "rename"]),
    "misspelt folder": ("persona/asia.md", MERGE, ["persona", "'personas'"]),
    "no header": ("merge.txt", "Merge {question}", ["merge.txt, line 1", "'---'"]),
    "empty file": ("merge.txt", "", ["merge.txt, line 1", "'---'"]),
    "header without end": ("merge.txt", "---\nname: merge\n", ["merge.txt", "no end"]),
    "no name": ("merge.txt", MERGE.replace("name: merge\n", ""), ["merge.txt", "no name", "add"]),
    "no mode": ("merge.txt", MERGE.replace("mode: overton\n", ""), ["merge.txt", "no mode", "add"]),
    "no version": ("merge.txt", MERGE.replace("version: 2\n", ""), ["merge.txt", "no version", "add"]),
    "no variables": ("merge.txt", MERGE.replace("variables: question, comments\n", ""), ["no variables", "add"]),
    "other name": ("merge.txt", MERGE.replace("name: merge", "name: select"), ["merge.txt", "name", "name: merge"]),
    "unknown mode": ("merge.txt", MERGE.replace("overton", "overtone"), ["merge.txt", "mode", "mean 'overton'"]),
    "mode of another": ("merge.txt", MERGE.replace("overton", "steerable"), ["merge.txt", "mode", "overton"]),
    "version of 0": ("merge.txt", MERGE.replace("version: 2", "version: 0"), ["merge.txt", "version is '0'"]),
    "version in words": ("merge.txt", MERGE.replace("version: 2", "version: two"), ["merge.txt", "version is 'two'"]),
    "endless version": ("merge.txt", MERGE.replace("version: 2", "version: " + "9" * 9999), ["version is '999"]),
    "unknown key": ("merge.txt", MERGE.replace("version: 2", "versoin: 2"), ["line 5", "mean 'version'"]),
    "key twice": (
        "merge.txt",
        MERGE.replace("version: 2", "version: 2\nversion: 3"),
        ["line 6", "version appears twice"],
    ),
    "no key": ("merge.txt", MERGE.replace("version: 2", "version 2"), ["line 5", "'version 2'"]),
    "unusable variable": ("merge.txt", MERGE.replace("question, comments", "question comments"), ["variables has"]),
    "variable twice": (
        "merge.txt",
        MERGE.replace("question, comments", "question, question"),
        ["lists question twice"],
    ),
    "fewer variables": (
        "merge.txt",
        file_text("{question}", variables="question"),
        ["merge.txt", "variables lists question,", "takes question, comments"],
    ),
    "more variables": (
        "merge.txt",
        file_text("{question}{comments}{seed}", variables="question, comments, seed"),
        ["merge.txt", "variables lists question, comments, seed"],
    ),
    "undeclared variable": ("merge.txt", MERGE + "{comment}", ["merge.txt", "uses {comment}", "mean 'comments'"]),
    "unused variable": ("merge.txt", MERGE.replace("{comments}", ""), ["merge.txt", "lists comments"]),
    "placeholder's line": ("merge.txt", MERGE + "\n{question.x}\n", ["merge.txt, line 10", "'{question.x}'"]),
    "no text": ("merge.txt", file_text("\n"), ["merge.txt", "no text"]),
    "sections in a fragment": (
        "option.txt",
        file_text("[system]\n{label}\n[user]\n{option}", "option", "fragment", "label, option"),
        ["option.txt", "fragment", "remove"],
    ),
    "persona without header": ("personas/asia.md", "You are new.", ["asia.md, line 1", "'---'"]),
    "persona with variables": ("personas/asia.md", file_text("{a}", "asia", "persona", "a"), ["asia.md", "variables"]),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_a_bad_overlay_file_names_file_and_place(case: str, tmp_path: Path) -> None:
    name, text, parts = BAD_FILES[case]
    put(tmp_path, name, text)
    message = refusal(tmp_path)
    for part in parts:
        assert part in message


def test_an_overlay_file_that_is_not_utf8(tmp_path: Path) -> None:
    (tmp_path / "merge.txt").write_bytes(MERGE.encode() + b"\xff")
    message = refusal(tmp_path)
    assert "merge.txt" in message
    assert f"byte {len(MERGE)}" in message


def test_an_overlay_file_that_is_a_folder(tmp_path: Path) -> None:
    (tmp_path / "personas" / "asia.md").mkdir(parents=True)
    message = refusal(tmp_path)
    assert "asia.md" in message
    assert "cannot be read" in message


# Personas beside a pool file


def test_a_persona_beside_the_pool_may_be_plain_text(tmp_path: Path) -> None:
    put(tmp_path, "own.md", "\n# You are {me}\n\n[system]\n---\n")
    assert PromptSet.load().persona("own.md", tmp_path) == "# You are {me}\n\n[system]\n---"


def test_a_persona_beside_the_pool_may_have_a_header(tmp_path: Path) -> None:
    put(tmp_path, "own.md", file_text("You are {{me}}.\n", "own", "persona", ""))
    assert PromptSet.load().persona("own.md", tmp_path) == "You are {{me}}."


@pytest.mark.parametrize(
    ("text", "part"),
    [
        (" \n", "is empty"),
        ("---\nname: own\n", "no end"),
        (file_text("x", "other", "persona", ""), "name: own"),
        (file_text("x", "own", "overton", ""), "mode: persona"),
    ],
)
def test_bad_personas_beside_the_pool(text: str, part: str, tmp_path: Path) -> None:
    path = put(tmp_path, "own.md", text)
    with pytest.raises(PromptError, match=part) as caught:
        PromptSet.load().persona("own.md", tmp_path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    "name", ["../own.md", "/own.md", "a/own.md", "a\\own.md", ".own.md", "", "a\nb", "a\0b", "c:own"]
)
def test_text_cannot_pick_a_file(name: str, tmp_path: Path) -> None:
    put(tmp_path, "own.md", "You are you.")
    (tmp_path / "a").mkdir()
    with pytest.raises(PromptError, match="plain file name"):
        PromptSet.load().persona(name, tmp_path / "a")


# Properties


@given(st.sampled_from(sorted(BUILT_IN)), st.data())
def test_no_value_changes_the_messages(name: str, data: st.DataObject) -> None:
    template = PromptSet.load()[name]
    values = {variable: data.draw(st.text(), label=variable) for variable in template.variables}
    messages, plain = template.render(**values), template.render(**dict.fromkeys(values, ""))
    assert [message.type for message in messages] == [message.type for message in plain]
    total = sum(len(str(message.content)) for message in plain) + sum(len(value) for value in values.values())
    assert sum(len(str(message.content)) for message in messages) == total


HOSTILE = st.sampled_from(
    ["{question}", "{{", "}", "\n[system]\n", "\n[user]\n", "---", "{0.__class__}", "\u2028", "\r\n"]
)


@given(st.lists(HOSTILE | st.text(max_size=3)).map("".join))
def test_a_value_reaches_the_model_as_it_stands(value: str) -> None:
    sample = prompt("[system]\nBe fair.\n[user]\n<{a}|{b}>", "a", "b")
    assert sample.render(a=value, b="{a}") == [SystemMessage("Be fair."), HumanMessage(f"<{value}|{{a}}>")]


@given(st.text())
def test_any_text_is_a_prompt_or_is_refused(text: str) -> None:
    with contextlib.suppress(PromptError):
        assert prompt(text).render()


@given(st.text().filter(lambda text: bool(text.strip()) and "[" not in text))
def test_doubling_braces_makes_any_text_literal(text: str) -> None:
    doubled = text.replace("{", "{{").replace("}", "}}")
    assert prompt(doubled).render_text() == text.strip()
