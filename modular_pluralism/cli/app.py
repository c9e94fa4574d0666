"""The `pluralism` command: which subcommands there are, and how they end."""

from __future__ import annotations

import logging
import sys
import warnings
from typing import Annotated, Any

import typer

import modular_pluralism
from modular_pluralism.cli.commands import App, Group, ModuleCommands
from modular_pluralism.cli.flags import with_flag
from modular_pluralism.cli.output import SafeFormatter, drop_output, show_whatever_comes, shown, tell
from modular_pluralism.cli.streams import check_output
from modular_pluralism.cli.typed import typed_words
from modular_pluralism.errors import PluralismError

_LONGEST_NAME = 100

_COMMANDS = {
    "ask": "ask",
    "debug": "debug",
    "demo": "demo",
    "doctor": "doctor",
    "eval": "evaluate",
    "minutes": "minutes",
    "patch": "patch",
    "resume": "resume",
    "score": "score",
    "graph": "graph",
    "serve": "serve",
    "communities": "list_communities",
    "community": "community",
    "contract": "list_verifiers",
    "models": "list_models",
    "priors": "priors",
    "prompts": "list_prompts",
    "runs": "list_runs",
}
"""The subcommands, each a module of this package, with the function whose docstring is the help."""


class _Root(Group):
    """The subcommands, none of which is imported before it is called."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self._found = ModuleCommands("modular_pluralism.cli", _COMMANDS)
        self.commands = self._found  # type: ignore[assignment]  # Typer only reads them

    def list_commands(self, ctx: Any) -> list[str]:
        """Their names."""
        return list(self._found)

    def summaries(self) -> dict[str, str]:
        """What is said of each."""
        return self._found.summaries


app = App(
    cls=_Root,
    name="pluralism",
    help="Answers that reflect more than one community's view: Modular Pluralism on an embedded model.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        tell(f"pluralism {modular_pluralism.__version__}")
        raise typer.Exit


@app.callback(epilog="Start with: pluralism demo")
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and stop.")
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run the command. Exit code 0; 1 where the run failed; 2 where the call was wrong; 130 after Ctrl-C."""
    show_whatever_comes()
    # Every command says itself who is missing, and why; a traceback is for applications.
    logging.getLogger("modular_pluralism.nodes").addHandler(logging.NullHandler())
    logging.getLogger("modular_pluralism.nodes").propagate = False
    if logging.lastResort:  # writes what nobody else has asked for
        logging.lastResort.setFormatter(SafeFormatter())
    # langchain-openai writes out what came of a stream before anybody can look at it, blocks of reasoning included.
    warnings.filterwarnings("ignore", "Pydantic serializer warnings", UserWarning)
    try:
        check_output()
        try:
            app(args=typed_words())
        finally:
            sys.stdout.flush()
    except PluralismError as error:
        # It may quote what a model, an endpoint or a file says.
        tell(f"Error: {shown(with_flag(str(error)))}", err=True)
        sys.exit(error.exit_code)
    except BrokenPipeError:  # the reader of our output has gone, as in `pluralism … | head`
        drop_output()
        sys.exit(1)
    except OSError as error:
        if error.filename is None:
            drop_output()
            told = f"The output cannot be written ({error.strerror}); make room, or send it elsewhere."
        else:
            told = f"{str(error.filename)[:_LONGEST_NAME]} cannot be used ({error.strerror}); name another file."
        tell(f"Error: {shown(told)}", err=True)
        sys.exit(1)
