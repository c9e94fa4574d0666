"""Command-line options that several subcommands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from modular_pluralism.types import ItemScoring, MethodName, Scoring, Style, Voice


def _known_mode(name: str) -> str:
    from modular_pluralism.modes import find_mode  # modes are looked up when they are needed: LangGraph takes a second

    return find_mode(name).name


ModeOption = Annotated[
    str,
    typer.Option(
        "--mode",
        "-m",
        parser=_known_mode,
        metavar="[overton|steerable|distributional|…]",
        help="How the communities collaborate.",
    ),
]
PoolOption = Annotated[
    str,
    typer.Option(
        "--pool", "-p", metavar="NAME|FILE", help="A built-in pool (perspective, culture, mixed) or a TOML file."
    ),
]
PromptsOption = Annotated[
    Path | None,
    typer.Option("--prompts", metavar="DIR", help="A folder laid over the built-in prompts, file by file."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else on standard output.")]
ScoringOption = Annotated[
    Scoring, typer.Option("--score", help="How option probabilities are read; rotate removes letter preference.")
]
VoiceOption = Annotated[
    Voice,
    typer.Option(
        "--voice",
        help="Distributional mode: whether communities are heard by their comment, their own vote, or both.",
    ),
]
KindOption = Annotated[
    Literal["distributional", "steerable-opinion"] | None,
    typer.Option("--kind", help="What a file with options asks, where its attributes do not tell.", show_default=False),
]
SeedOption = Annotated[int, typer.Option("--seed", min=0, help="Seeds every draw of the run; reported in --json.")]
StoreOption = Annotated[
    str | None,
    typer.Option(
        "--store",
        metavar="PLACE",
        help="Where runs are kept: a file or a postgresql:// address. [default: MODULAR_PLURALISM_STORE, else a file "
        "of yours]",
        show_default=False,
    ),
]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="Print the answer only.")]

# Of commands that work on a task file.
TaskFileArgument = Annotated[Path, typer.Argument(metavar="TASKFILE", help="A task file, as a JSON list.")]
RealTaskFileArgument = Annotated[Path, typer.Argument(metavar="TASKFILE", help="A task file with real distributions.")]
LimitOption = Annotated[int | None, typer.Option("--limit", min=1, help="Take the first items only.")]
ConcurrencyOption = Annotated[
    int, typer.Option("--concurrency", "-c", min=1, help="Items that each method works on at once.")
]
MethodOption = Annotated[MethodName, typer.Option("--method", "-m", help="The method that answers the items.")]
ItemScoringOption = Annotated[
    ItemScoring, typer.Option("--score", help="How options are read; rotate gives label beside it.")
]
StyleOption = Annotated[Style, typer.Option("--style", help="Chat template, or plain text as in the paper's release.")]
NliOption = Annotated[
    str | None,
    typer.Option(
        "--nli",
        metavar="MODEL",
        help="Overton: what value coverage is measured with: a classifier's id or folder, llm, or llm:MODEL.",
    ),
]
CommentTokensOption = Annotated[
    int | None, typer.Option("--comment-tokens", min=1, help="Longest comment, in place of the pool's setting.")
]
AnswerTokensOption = Annotated[
    int | None, typer.Option("--answer-tokens", min=1, help="Longest answer, in place of the pool's setting.")
]
RepeatableOption = Annotated[
    bool, typer.Option("--repeatable", help="The same texts whatever runs beside, for weights in Q formats; slower.")
]
