"""The `pluralism` command: which subcommands there are, and how they end."""

from __future__ import annotations

import logging
import sys
import warnings
from typing import Annotated

import typer

import modular_pluralism
from modular_pluralism.cli import (
    ask,
    communities,
    community,
    debug,
    demo,
    doctor,
    graph,
    models,
    patch,
    priors,
    prompts,
    resume,
    runs,
    score,
    serve,
)
from modular_pluralism.cli import eval as evaluate
from modular_pluralism.cli.flags import with_flag
from modular_pluralism.cli.output import SafeFormatter, drop_output, safe, show_whatever_comes, tell
from modular_pluralism.cli.streams import check_output
from modular_pluralism.cli.typed import typed_words
from modular_pluralism.errors import PluralismError

_LONGEST_NAME = 100

app = typer.Typer(
    name="pluralism",
    help="Answers that reflect more than one community's view: Modular Pluralism on an embedded model.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("ask", epilog=ask.EXAMPLES)(ask.ask)
app.command("debug", epilog=debug.EXAMPLES)(debug.debug)
app.command("demo", epilog=demo.EXAMPLES)(demo.demo)
app.command("doctor", epilog=doctor.EXAMPLES)(doctor.doctor)
app.command("eval", epilog=evaluate.EXAMPLES)(evaluate.evaluate)
app.command("patch", epilog=patch.EXAMPLES)(patch.patch)
app.command("resume", epilog=resume.EXAMPLES)(resume.resume)
app.command("score", epilog=score.EXAMPLES)(score.score)
app.command("graph", epilog=graph.EXAMPLES)(graph.graph)
app.command("serve", epilog=serve.EXAMPLES)(serve.serve)
app.add_typer(communities.app, name="communities")
app.add_typer(community.app, name="community")
app.add_typer(models.app, name="models")
app.add_typer(priors.app, name="priors")
app.add_typer(prompts.app, name="prompts")
app.add_typer(runs.app, name="runs")


def _print_version(wanted: bool) -> None:
    if wanted:
        tell(f"pluralism {modular_pluralism.__version__}")
        raise typer.Exit


@app.callback(epilog="Start with: `pluralism demo`")
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
        tell(f"Error: {safe(with_flag(str(error)))}", err=True)
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
        tell(f"Error: {safe(told)}", err=True)
        sys.exit(1)
