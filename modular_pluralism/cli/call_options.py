"""What several subcommands share: options, and how examples stand beneath a help text."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, get_type_hints

import typer

from modular_pluralism.cli.typed import typed_name_or_path, typed_path
from modular_pluralism.errors import PoolError
from modular_pluralism.pools import BUILT_IN_POOLS, POOL_VARIABLE
from modular_pluralism.types import ItemScoring, Scoring, Style

path_option = functools.partial(typer.Option, parser=typed_path)
path_argument = functools.partial(typer.Argument, parser=typed_path)
name_or_path_option = functools.partial(typer.Option, parser=typed_name_or_path)
name_or_path_argument = functools.partial(typer.Argument, parser=typed_name_or_path)


def _known_mode(name: str) -> str:
    from modular_pluralism.modes import find_mode  # modes are looked up when they are needed: LangGraph takes a second

    return find_mode(name).name


def _checked_variable(context: typer.Context, option: typer.CallbackParam, pool: str) -> str:
    """The pool's name; where it comes from the variable, a pool that cannot be read is told with the variable."""
    source = context.get_parameter_source(str(option.name))
    if source is not None and source.name == "ENVIRONMENT":
        from modular_pluralism.pool import Pool

        try:
            Pool.load(pool)
        except PoolError as error:
            raise PoolError(f"{POOL_VARIABLE}: {error}") from error
    return pool


ModeOption = Annotated[
    str,
    typer.Option(
        "--mode",
        "-m",
        parser=_known_mode,
        metavar="[overton|steerable|distributional|assembly|…]",
        help="How the communities collaborate.",
    ),
]
PoolOption = Annotated[
    str,
    name_or_path_option(
        "--pool",
        "-p",
        metavar="NAME|FILE",
        envvar=POOL_VARIABLE,
        callback=_checked_variable,
        help=f"A built-in pool ({', '.join(BUILT_IN_POOLS)}) or a TOML file.",
    ),
]
PromptsOption = Annotated[
    Path | None,
    path_option("--prompts", metavar="DIR", help="A folder laid over the built-in prompts, file by file."),
]
PortOption = Annotated[int, typer.Option("--port", min=0, max=65535, help="0 takes a free one.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else on standard output.")]
ScoringOption = Annotated[
    Scoring, typer.Option("--score", help="How option probabilities are read; rotate removes letter preference.")
]
VoiceOption = Annotated[
    str,
    typer.Option(
        "--voice",
        metavar="VOICES",
        help="Distributional mode: how communities are heard: comment, vote, record, or several with commas between.",
    ),
]
CommentTokensOption = Annotated[
    int | None, typer.Option(min=1, help="Longest comment, in place of the pool's setting.")
]
AnswerTokensOption = Annotated[int | None, typer.Option(min=1, help="Longest answer, in place of the pool's setting.")]
AnswersOption = Annotated[
    Path | None,
    path_option("--answers", metavar="FILE", help="Answered questions; the nearest of them are a baseline."),
]
KindOption = Annotated[
    Literal["distributional", "steerable-opinion"] | None,
    typer.Option("--kind", help="What a file with options asks, where its attributes do not tell.", show_default=False),
]
SeedOption = Annotated[int, typer.Option("--seed", min=0, help="Seeds every draw of the run; reported in --json.")]
StoreOption = Annotated[
    str | None,
    name_or_path_option(
        "--store",
        metavar="PLACE",
        help="Where runs are kept: a file or a postgresql:// address. [default: MODULAR_PLURALISM_STORE, else a file "
        "of yours]",
        show_default=False,
    ),
]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="Print the answer only.")]

# Of commands that work on a task file.
TaskFileArgument = Annotated[Path, path_argument(metavar="TASKFILE", help="A task file, as a JSON list.")]
RealTaskFileArgument = Annotated[Path, path_argument(metavar="TASKFILE", help="A task file with real distributions.")]
StyleOption = Annotated[Style, typer.Option("--style", help="Chat template, or plain text as in the paper's release.")]
NliOption = Annotated[
    str | None,
    name_or_path_option(
        "--nli",
        metavar="MODEL",
        help="Overton: what value coverage is measured with: a classifier's id or folder, llm, or llm:MODEL.",
    ),
]


@dataclass(frozen=True, kw_only=True)
class BenchOptions:
    """How the items of a task file are answered: what every command has of BenchSettings."""

    pool: PoolOption = "perspective"
    limit: Annotated[int | None, typer.Option(min=1, help="Take the first items only.")] = None
    seed: SeedOption = 0
    concurrency: Annotated[
        int, typer.Option("--concurrency", "-c", min=1, help="Items that each method works on at once.")
    ] = 8
    scoring: Annotated[
        ItemScoring, typer.Option("--score", help="How options are read; rotate gives label beside it.")
    ] = "rotate"
    comment_tokens: CommentTokensOption = None
    repeatable: Annotated[
        bool,
        typer.Option("--repeatable", help="The same texts whatever runs beside, for weights in Q formats; slower."),
    ] = False


@dataclass(frozen=True, kw_only=True)
class VotingBenchOptions(BenchOptions):
    """The same where communities are heard in distributional mode."""

    voice: VoiceOption = "comment"


@dataclass(frozen=True, kw_only=True)
class AnsweringBenchOptions(BenchOptions):
    """The same where texts are answered, too."""

    nli: NliOption = None
    answer_tokens: AnswerTokensOption = None


def examples(calls: str) -> str:
    """Calls of a command, one a line, as they stand beneath its help text."""
    shown = calls.strip().splitlines()
    return "\n".join(["\b", "Example:" if len(shown) == 1 else "Examples:", *(f"  {call}" for call in shown)])


def expand_groups(command: Callable[..., None]) -> Callable[..., None]:
    """The command as Typer reads it: each parameter whose type is a dataclass of options stands for these options."""
    signature = inspect.signature(command, eval_str=True)
    groups: dict[str, Any] = {
        parameter.name: parameter.annotation
        for parameter in signature.parameters.values()
        if is_dataclass(parameter.annotation)
    }

    @functools.wraps(command)
    def called(**values: Any) -> None:
        for name, group in groups.items():
            values[name] = group(**{option.name: values.pop(option.name) for option in fields(group)})
        command(**values)

    parameters = [
        option.replace(kind=inspect.Parameter.KEYWORD_ONLY)
        for name, parameter in signature.parameters.items()
        for option in (_options(groups[name]) if name in groups else [parameter])
    ]
    called.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    return called


def _options(group: Any) -> list[inspect.Parameter]:
    types = get_type_hints(group, include_extras=True)
    return [
        inspect.Parameter(
            option.name, inspect.Parameter.KEYWORD_ONLY, default=option.default, annotation=types[option.name]
        )
        for option in fields(group)
    ]
