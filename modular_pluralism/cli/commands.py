"""Groups of commands, of which a module is imported when it is called."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from importlib import import_module
from importlib.abc import InspectLoader
from importlib.util import find_spec
from types import CodeType, FunctionType
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from modular_pluralism.cli.output import encodable


class Command(TyperCommand):
    """A command whose help can be shown on every output."""

    def get_help(self, ctx: Any) -> str:
        """As Typer writes it."""
        return encodable(super().get_help(ctx), sys.stdout)


class Group(TyperGroup):
    """Commands, of which the help says their first paragraph, however long it is."""

    def get_help(self, ctx: Any) -> str:
        """As Typer writes it, for every output."""
        return encodable(super().get_help(ctx), sys.stdout)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """As Typer does it, which would import every command to ask it, and cut off what it says."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, first_paragraph(said)) for name, said in self.summaries().items()])

    def summaries(self) -> dict[str, str]:
        """What is said of each command."""
        return {name: command.help or "" for name, command in self.commands.items()}


class App(typer.Typer):
    """A group of commands with plain help, since importing Rich takes longer than all else that `--help` does.

    `settings` are those of `typer.Typer`.
    """

    def __init__(self, *, cls: type[Group] = Group, **settings: Any) -> None:
        super().__init__(
            cls=cls, rich_markup_mode=None, pretty_exceptions_enable=False, add_completion=False, **settings
        )

    def command(self, name: str | None = None, **settings: Any) -> Callable[[Any], Any]:
        """As `typer.Typer.command`."""
        return super().command(name, cls=Command, **settings)


def first_paragraph(text: str) -> str:
    """What a group says of one of its commands."""
    return " ".join(inspect.cleandoc(text).partition("\n\n")[0].split())


class ModuleCommands(Mapping[str, Any]):
    """Typer's commands by name, each in the module of its name in `package`, which is imported when it is asked for.

    `functions` names the function of each whose docstring is the help. A module that makes commands of its own has them
    in `app`; another one has the examples that stand beneath the help in `EXAMPLES`.
    """

    def __init__(self, package: str, functions: Mapping[str, str]) -> None:
        self._package = package
        self._functions = functions
        self._made: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._made:
            self._made[name] = self._make(name, self._functions[name])
        return self._made[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._functions)

    def __len__(self) -> int:
        return len(self._functions)

    @cached_property
    def summaries(self) -> dict[str, str]:
        """The docstring of each command, read from the compiled module without running it."""
        return {name: self._docstring(name, function) for name, function in self._functions.items()}

    def _make(self, name: str, function: str) -> Any:
        module = import_module(f"{self._package}.{name}")
        app = getattr(module, "app", None)
        if app is None:
            app = App()
            app.command(name, epilog=module.EXAMPLES)(getattr(module, function))
        made = typer.main.get_command(app)
        made.name = name
        return made

    def _docstring(self, name: str, function: str) -> str:
        spec = find_spec(f"{self._package}.{name}")
        assert spec is not None
        assert isinstance(spec.loader, InspectLoader)
        module = spec.loader.get_code(spec.name)
        assert module is not None
        code = next(each for each in module.co_consts if isinstance(each, CodeType) and each.co_name == function)
        return FunctionType(code, {}).__doc__ or ""
