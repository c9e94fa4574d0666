"""What `--help` shows, and that the root command says of each command what the command says itself."""

from __future__ import annotations

import io
import re
import sys
from typing import Annotated, Any

import pytest
import typer
from typer.testing import CliRunner

from modular_pluralism.cli.app import app
from modular_pluralism.cli.commands import App, ModuleCommands
from modular_pluralism.cli.help_text import first_paragraph

ROOT: Any = typer.main.get_command(app)
TRY = App()


@TRY.command("try", epilog="**Examples**\n\n`pluralism try --width 7`")
def try_it(
    what: Annotated[str, typer.Argument(help="What is tried.")],
    width: Annotated[int, typer.Option("--width", "-w", min=1, help="How wide `it` is.")] = 3,
    much: Annotated[int, typer.Option(rich_help_panel="Limits", help="How much of it.")] = 5,
    secret: Annotated[bool, typer.Option("--secret", hidden=True)] = False,
) -> None:
    """Try it.

    In **one** way or `another`,
    which takes time.
    """


def shown(*arguments: str, columns: int = 60, **environment: str) -> str:
    done = CliRunner().invoke(TRY, ["--help", *arguments], env={"COLUMNS": str(columns), **environment}, color=True)
    assert done.exit_code == 0
    return done.output


def plain(text: str) -> str:
    return re.sub(r"\x1b\[[\d;]*m", "", text)


def test_the_parts_of_a_help_text() -> None:
    assert plain(shown()).splitlines() == [
        "",
        " Usage: try [OPTIONS] {what}",
        "",
        " Try it.",
        "",
        " In one way or another, which takes time.",
        "",
        "╭─ Arguments ──────────────────────────────────────────────╮",
        "│ what <str>  What is tried. [required]                    │",
        "╰──────────────────────────────────────────────────────────╯",
        "╭─ Options ────────────────────────────────────────────────╮",
        "│ -w, --width <int range>  How wide it is. [default: 3;    │",
        "│                          x>=1]                           │",
        "│ --help                   Show this message and exit.     │",
        "╰──────────────────────────────────────────────────────────╯",
        "╭─ Limits ─────────────────────────────────────────────────╮",
        "│ --much <int>  How much of it. [default: 5]               │",
        "╰──────────────────────────────────────────────────────────╯",
        "",
        " Examples",
        "",
        " pluralism try --width 7",
        "",
    ]


def test_a_name_too_long_for_its_column_stands_alone() -> None:
    lines = plain(shown(columns=48)).splitlines()
    at = next(number for number, line in enumerate(lines) if "--width" in line)
    assert "How" not in lines[at]
    assert "How wide it is" in lines[at + 1]
    assert {len(line) for line in lines if line.startswith("│")} == {48}


def test_colours_are_for_those_who_want_them() -> None:
    assert "\x1b[1mone\x1b[0m" in shown()
    assert "\x1b[36mpluralism\x1b[0m" in shown()
    assert "\x1b" not in shown(NO_COLOR="1")
    assert "\x1b" not in shown(TERM="dumb")
    assert "\x1b" not in CliRunner().invoke(TRY, ["--help"]).output, "where there is no terminal"


def test_frames_are_drawn_with_what_the_output_can_show(monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(out, encoding="latin-1", write_through=True))
    with pytest.raises(SystemExit):
        TRY(["--help"])
    assert b"+- Options --" in out.getvalue()


@pytest.mark.parametrize("name", ROOT.commands)
def test_a_command_is_told_as_it_tells_itself(name: str) -> None:
    said = ROOT.commands.summaries[name]
    command = ROOT.commands[name]
    assert first_paragraph(said) == first_paragraph(command.help) != ""
    assert command.name == name
    assert "pluralism " in command.epilog
    listed = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "400"}).output
    assert re.search(rf"│ {name} +{re.escape(first_paragraph(said).replace('`', ''))} ", listed)


def test_every_command_and_option_is_in_the_help() -> None:
    def check(command: Any, path: list[str]) -> None:
        output = CliRunner().invoke(app, [*path, "--help"], env={"COLUMNS": "200"}).output
        for parameter in command.params:
            named = parameter.opts if parameter.param_type_name == "option" else []
            assert parameter.hidden or all(flag in output for flag in named), (path, parameter.opts)
            assert not parameter.help or parameter.help.split()[0].strip("`*") in output
        for name, each in getattr(command, "commands", {}).items():
            assert f"│ {name} " in output
            check(each, [*path, name])

    check(ROOT, [])


def test_nothing_but_what_is_called_is_imported() -> None:
    commands = ModuleCommands("modular_pluralism.cli", {"nowhere": "nothing"})
    assert list(commands) == ["nowhere"]
    with pytest.raises(ModuleNotFoundError):
        commands["nowhere"]


def test_a_mistyped_command_is_told_with_the_one_that_is_meant() -> None:
    done = CliRunner().invoke(app, ["aks"])
    assert done.exit_code == 2
    assert "Did you mean 'ask'?" in done.output


@pytest.mark.parametrize("arguments", [[], ["community"], ["priors"]])
def test_a_group_called_alone_shows_its_help(arguments: list[str]) -> None:
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 2
    assert "─ Commands ─" in done.stdout
