"""Command-line options that several subcommands share."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class ModeName(StrEnum):
    """The modes, as the command line knows them."""

    overton = "overton"
    steerable = "steerable"
    distributional = "distributional"


class ScoringName(StrEnum):
    """The ways to read option probabilities, as the command line knows them."""

    label = "label"
    rotate = "rotate"
    text = "text"


class VoiceName(StrEnum):
    """How communities are heard in distributional mode, as the command line knows it."""

    comment = "comment"
    vote = "vote"
    both = "both"


class KindName(StrEnum):
    """The kinds of task file that have the same fields, as the command line knows them."""

    distributional = "distributional"
    steerable_opinion = "steerable-opinion"


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
VoiceOption = Annotated[
    VoiceName,
    typer.Option(
        "--voice",
        help="Distributional mode: whether communities are heard by their comment, their own vote, or both.",
    ),
]
KindOption = Annotated[
    KindName | None,
    typer.Option("--kind", help="What a file with options asks, where its attributes do not tell.", show_default=False),
]
SeedOption = Annotated[int, typer.Option("--seed", min=0, help="Seeds every draw of the run; reported in --json.")]
