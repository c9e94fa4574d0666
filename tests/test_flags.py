"""Errors on the command line name the flag that mends them."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from modular_pluralism.cli.app import app
from modular_pluralism.cli.flags import with_flag
from modular_pluralism.errors import InputError
from modular_pluralism.nodes.request import Request
from modular_pluralism.types import Mode
from tests.command import pluralism

REPOSITORY = Path(__file__).resolve().parents[1]
ELSEWHERE = ("llama", "societal", "serving", "debugger", "inspect", "assistants", "edits.py")
"""What raises there is the fault of a pool file, a client or a caller in Python."""

NO_FLAG = {
    "A comment of": "comments are given in Python",
    "A request has no": "a request is made in Python or by a client",
    "A mode is called": "modes are added in Python",
    "The mode x": "modes are added in Python",
    "There is a mode": "modes are added in Python",
    "The options are not a list": "a command makes the list",
    "The question": "it is the argument, or standard input",
    "x is not UTF-8 text": "each part says it of itself",
    "x is the task file itself": "the folder is named by the command",
    "x cannot be written": "the file is named",
    "x is a file of the kind": "the file is the argument",
    "A slate of": "a table of ballots is tallied in Python",
    "A table of": "a table of ballots is made in Python",
    "No member that gave": "weights of members are given in Python",
    "Nobody has judged": "ballots are given by members",
    "The x x is in the table": "a table of ballots is made in Python",
    "alpha is": "a threshold is fitted in Python",
    "x gives x the score": "ballots are given by members",
    "x has a score of": "a table of ballots is made in Python",
    "x has judged": "ballots are given by members",
    "x has the weight": "weights of members are given in Python",
    "x is no rule to choose by": "a table of ballots is tallied in Python",
    "x is no way to normalise": "a table of ballots is tallied in Python",
    "x questions are too few": "a threshold is fitted in Python",
    "No item of x is filled in": "the file is the argument",
    "No item has a value of any measure": "another command tells why",
    "Without x the pool x cannot answer": "the pool file is edited",
    "The cache has": "the name is the argument",
    "Prompts are compared with the built-in ones as they are": "the command has no such flag",
    "x is x; give seconds": "it is a variable's name",
    "MALFORMED_ADDRESS": "it may be a variable's value",
    "x cannot be a run's name": "of `ask` it is a flag, of `resume` the argument",
    "There is no run": "the name is the argument",
    "There are stages after_comments": "stages are given in Python",
    "NodeCache": "a cache is given in Python",
    "answer_schema": "a schema is given in Python",
    "There is no draft to choose": "drafts are named in Python",
    "A hearing is answered": "a hearing is answered in Python",
    "The submissions": "a hearing is answered in Python",
    "A person submits": "a hearing is answered in Python",
    "x has submitted": "a hearing is answered in Python",
    "x contests no rule": "a hearing is answered in Python",
    "x names the x x, which": "a hearing is answered in Python",
    "The hearing is": "a hearing is asked for in Python",
    "The contract is": "its file is read by the command",
    "unusable": "a graph says of itself what it lacks",
    "The candidate x in the state": "a state is edited in Python",
    "The ballots of x in the state": "a state is edited in Python",
    "The result cannot go into": "its key is given in Python",
    "x is x; give a function, a chain": "stages are given in Python",
    "The pooling is": "a pooling is given in Python, or in the pool file",
    "x: x": "it says what is wrong with an argument in Python",
    "x, line x: x": "the file is named",
    "pluralism_tool": "a tool is made in Python",
    "no_such(": "it begins as the rows do that have a flag",
    "it is no object with": "the line of the file is named",
    "Standard input is closed": "it is the shell's",
    "Standard output is closed": "it is the shell's",
    "You have no home folder": "each place says what names another",
    "The variant x changes nothing here": "the folder is named",
    "The x of x in the state": "a state is edited in Python",
    "The x of x was read from another": "a state is edited in Python",
    "_NOT_SELECTED": "a state is edited in Python",
    "The state's `selected`": "a state is edited in Python",
    "The comment of x in the state": "a state is edited in Python",
    "The prior": "a question's priors are given in Python",
    "The conversation": "conversations are held in Python",
    "Tools are": "tools are given in Python or by a client",
    "The tool": "tools are given in Python or by a client",
    "The call x of a tool": "tools are given in Python or by a client",
    "tools": "tools are given in Python or by a client",
    "What belongs to the": "tools and edits of a state are given in Python or by a client",
    "A message of the type": "conversations are held in Python",
    "x has ratings of another comparison": "the file is named",
    "x is not as x saves it": "the file is named",
    "x of the x rated pairs": "the file and the questions are named",
    "x mode takes no tools": "tools are given in Python or by a client",
    "x takes no tools": "tools are given in Python or by a client",
    "no_tools": "tools are given in Python or by a client",
    "Message x after the question": "tools are given in Python or by a client",
    "The history": "a history is given in Python or by a client",
    "The x cannot be read from standard input": "it is the shell's",
    "The ballot of x": "ballots are given in Python",
    "The member x has given a ballot": "ballots are given in Python",
    "The tolerance of a repair": "it is given in Python",
    "Turn x of the history": "a history is given in Python or by a client",
}


def sentences() -> Iterator[str]:
    """Every sentence of an InputError that may reach the command line, with x for what it fills in."""
    folders = ("graphs", "nodes", "prompts", "modular_pluralism")
    for path in sorted(path for folder in folders for path in (REPOSITORY / folder).rglob("*.py")):
        if set(path.parts) & set(ELSEWHERE):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "InputError":
                yield as_text(node.args[0])


def as_text(node: ast.expr) -> str:
    match node:
        case ast.Constant():
            return str(node.value)
        case ast.JoinedStr():
            return "".join(as_text(part) if isinstance(part, ast.Constant) else "x" for part in node.values)
    return ast.unparse(node)


def filled_in(sentence: str) -> str:
    """With words where the sentence goes on in another way for each."""
    for gap, word in {
        "Option x": "Option 2",
        "is no x x;": "is no mode x;",
        "no x; leave": "no options; leave",
    }.items():
        sentence = sentence.replace(gap, word)
    return sentence.replace("to x with", "to judge with")


@pytest.mark.parametrize("sentence", dict.fromkeys(sentences()))
def test_every_error_in_a_call_names_a_flag_or_has_none(sentence: str) -> None:
    named = re.search(r"(?<!\w)--[a-z]+|`pluralism ", with_flag(filled_in(sentence)))
    assert named or any(sentence.startswith(begins) for begins in NO_FLAG)


def flags(command: Any) -> set[str]:
    """Those of a command and of all below it."""
    own = {flag for parameter in command.params for flag in parameter.opts}
    return own.union(*map(flags, getattr(command, "commands", {}).values()))


def test_a_flag_that_is_named_is_there() -> None:
    said = " ".join(with_flag(filled_in(sentence)) for sentence in sentences() if "--" not in sentence)
    named = set(re.findall(r"--[a-z]+", said))
    assert {"--attribute", "--option"} <= named
    assert named <= flags(typer.main.get_command(app))


@pytest.mark.parametrize(
    ("mode", "parts", "ends"),
    [
        ("steerable", {}, "Give it with --attribute."),
        ("steerable", {"attribute": " "}, "Give it with --attribute."),
        ("overton", {"attribute": "age"}, "See --attribute and --mode."),
        ("overton", {"options": ["Yes", "No"]}, "See --option and --mode."),
        ("distributional", {"options": ["Yes"]}, "Give each with --option."),
        ("distributional", {"options": ["Yes", ""]}, "See --option."),
        ("distributional", {"options": ["Yes", "No"], "seed": -1}, "See --seed."),
        ("overton", {"voice": "vote"}, "See --voice and --mode."),
    ],
)
def test_what_a_question_lacks_is_told_with_its_flag(mode: Mode, parts: dict[str, object], ends: str) -> None:
    with pytest.raises(InputError) as caught:
        Request.model_validate({"question": "Why?", "mode": mode, **parts})
    assert "--" not in str(caught.value), "in Python there are no flags"
    assert with_flag(str(caught.value)).endswith(ends)


def test_the_command_says_it() -> None:
    done = pluralism("ask", "Why?", "--mode", "steerable")
    assert done.returncode == 2
    assert done.stderr.strip().endswith('such as "the right to privacy". Give it with --attribute.')


def test_a_message_that_names_a_flag_is_left_as_it_is() -> None:
    assert with_flag("--store is empty; give a file.") == "--store is empty; give a file."
    assert with_flag("Something else is wrong.") == "Something else is wrong."
