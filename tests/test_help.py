"""What `--help` shows, and that the root command says of each command what the command says itself."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from modular_pluralism.cli.app import app
from modular_pluralism.cli.commands import ModuleCommands, first_paragraph

ROOT: Any = typer.main.get_command(app)


def help_of(*path: str) -> str:
    done = CliRunner().invoke(app, [*path, "--help"], env={"COLUMNS": "80"})
    assert done.exit_code == 0
    return done.output


@pytest.mark.parametrize("name", ROOT.commands)
def test_a_command_is_told_as_it_tells_itself(name: str) -> None:
    said = ROOT.commands.summaries[name]
    command = ROOT.commands[name]
    assert first_paragraph(said) == first_paragraph(command.help) != ""
    assert command.name == name
    assert first_paragraph(said) in " ".join(help_of().split())


def test_every_command_and_option_is_in_the_help_with_its_examples_unbroken() -> None:
    def check(command: Any, path: list[str]) -> None:
        output = help_of(*path)
        for parameter in command.params:
            named = parameter.opts if parameter.param_type_name == "option" else []
            assert parameter.hidden or all(flag in output for flag in named), (path, parameter.opts)
            assert not parameter.help or parameter.help.split()[0] in output
        examples = [line.strip() for line in command.epilog.splitlines()[2:]]
        assert all(f"    {example}\n" in output for example in examples), path
        assert not path or examples
        assert "**" not in output
        for name, each in getattr(command, "commands", {}).items():
            assert f"\n  {name} " in output
            check(each, [*path, name])

    check(ROOT, [])


def test_nothing_but_what_is_called_is_imported() -> None:
    commands = ModuleCommands("modular_pluralism.cli", {"nowhere": "nothing"})
    assert list(commands) == ["nowhere"]
    with pytest.raises(ModuleNotFoundError):
        commands["nowhere"]


@pytest.mark.parametrize("arguments", [["--help"], ["--version"]])
def test_help_imports_nothing_that_takes_long(arguments: list[str]) -> None:
    code = (
        "import sys\nfrom modular_pluralism.cli.app import main\n"
        f"sys.argv = ['pluralism', *{arguments}]\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "print('imported:', *sys.modules)"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    imported = set(told.rpartition("imported:")[2].split())
    assert "modular_pluralism.cli.app" in imported
    slow = {"rich", "asyncio", "pydantic", "numpy", "langgraph", "langchain_core", "llama_cpp", "httpx2"}
    assert not imported & slow
    assert "modular_pluralism.cli.ask" not in imported


def test_a_mistyped_command_is_told_with_the_one_that_is_meant() -> None:
    done = CliRunner().invoke(app, ["aks"])
    assert done.exit_code == 2
    assert "Did you mean 'ask'?" in done.output


@pytest.mark.parametrize("arguments", [[], ["community"], ["priors"]])
def test_a_group_called_alone_shows_its_help(arguments: list[str]) -> None:
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 2
    assert re.search(r"^Commands:$", done.output, re.MULTILINE)
