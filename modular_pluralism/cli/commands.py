"""Commands and groups of commands as Typer knows them, with our help; and a group that imports what is called only."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from importlib import import_module
from importlib.abc import InspectLoader
from importlib.util import find_spec
from types import CodeType, FunctionType
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from modular_pluralism.cli.help_text import Row, first_paragraph, help_text
from modular_pluralism.cli.output import show_help


class Command(TyperCommand):
    """A command with our help."""

    def get_help(self, ctx: Any) -> str:
        """As text, with a terminal's codes for colours."""
        return help_text(self, ctx)


class Group(TyperGroup):
    """Commands with our help."""

    def get_help(self, ctx: Any) -> str:
        """As text, with a terminal's codes for colours."""
        return help_text(self, ctx, [Row(name, first_paragraph(said)) for name, said in self.summaries().items()])

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Called without anything, it shows its help; Typer would import Rich for that."""
        if not args and self.no_args_is_help and not ctx.resilient_parsing:
            show_help(self.get_help(ctx))
            ctx.exit(2)
        return super().parse_args(ctx, args)

    def summaries(self) -> dict[str, str]:
        """What is said of each command."""
        return {name: command.help or "" for name, command in self.commands.items()}


class App(typer.Typer):
    """A group of commands; `settings` are those of `typer.Typer`."""

    def __init__(self, *, cls: type[Group] = Group, **settings: Any) -> None:
        super().__init__(
            cls=cls, rich_markup_mode="markdown", pretty_exceptions_enable=False, add_completion=False, **settings
        )

    def command(self, name: str | None = None, **settings: Any) -> Callable[[Any], Any]:
        """As `typer.Typer.command`."""
        return super().command(name, cls=Command, **settings)


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
