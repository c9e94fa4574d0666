"""`pluralism ask`: one question, in one mode."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from modular_pluralism.cli.call_options import (
    JsonOption,
    ModeName,
    PoolOption,
    PromptsOption,
    ScoringName,
    SeedOption,
)

if TYPE_CHECKING:
    from langgraph.graph import StateGraph

    from modular_pluralism.pool import Pool

EXAMPLES = """
**Examples**

`pluralism ask "Should a city ban cars from its centre?"`

`pluralism ask "Should wages be public?" --mode steerable --attribute "the right to privacy"`

`pluralism ask "Is it acceptable to lie?" --mode distributional --option Yes --option No --score rotate --json`

`echo "What makes a good school?" | pluralism ask - --pool culture --quiet`
"""


def ask(
    question: Annotated[str, typer.Argument(help="The question; - reads it from standard input.", show_default=False)],
    mode: Annotated[ModeName, typer.Option("--mode", "-m", help="How the communities collaborate.")] = ModeName.overton,
    attribute: Annotated[
        str | None,
        typer.Option(
            "--attribute",
            "-a",
            metavar="TEXT",
            help="The value, demographic or culture to reflect; in distributional mode, whose distribution it is.",
        ),
    ] = None,
    option: Annotated[
        list[str] | None, typer.Option("--option", "-o", metavar="TEXT", help="An answer option; repeat it for each.")
    ] = None,
    score: Annotated[
        ScoringName,
        typer.Option("--score", help="How option probabilities are read; rotate removes letter preference."),
    ] = ScoringName.rotate,
    pool: PoolOption = "perspective",
    prompts: PromptsOption = None,
    seed: SeedOption = 0,
    as_json: JsonOption = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print the answer only.")] = False,
) -> None:
    """Ask the communities of a pool one question.

    In **overton** mode all comment and the base LLM merges the comments; in **steerable** mode the comment that fits
    an attribute is selected and the base LLM answers with it; in **distributional** mode the probability of every
    option is read from each comment and pooled.
    """
    from modular_pluralism.errors import InputError
    from modular_pluralism.nodes.check import check_attribute, check_options, check_question

    asked: dict[str, Any] = {"question": sys.stdin.read().strip() if question == "-" else question, "seed": seed}
    check_question(asked["question"])
    if mode is ModeName.steerable or (mode is ModeName.distributional and attribute is not None):
        check_attribute(attribute)
        asked["attribute"] = attribute
    elif attribute is not None:
        raise InputError(
            f"--attribute is not for {mode} mode; leave it out, or say --mode steerable or --mode distributional."
        )
    if mode is ModeName.distributional or (mode is ModeName.steerable and option):
        check_options(option, distinct=True)
        asked["options"] = option
    elif option:
        raise InputError("--option is for distributional and steerable mode; leave it out, or choose one of those.")
    run(asked, mode, score, pool, prompts, as_json=as_json, quiet=quiet)


def run(
    asked: dict[str, Any],
    mode: ModeName,
    score: ScoringName,
    pool_name: str,
    prompts_folder: Path | None,
    *,
    as_json: bool = False,
    quiet: bool = False,
) -> None:
    """Run a checked question and print what came out; Ctrl-C ends it cleanly, with exit code 130."""
    from rich.console import Console

    from modular_pluralism.cli.run_graph import NoView, open_models, run_graph
    from modular_pluralism.cli.terminal_view import TerminalView
    from modular_pluralism.pool import Pool
    from modular_pluralism.prompts import PromptSet

    pool = Pool.load(pool_name)
    prompts = PromptSet.load(prompts_folder)
    graph = _build(mode, score, pool, prompts, open_models(pool))
    try:
        if as_json or quiet:
            state = asyncio.run(run_graph(graph, asked, NoView()))
            typer.echo(_json(state, mode, score, pool) if as_json else _answer(state))
            return
        with TerminalView(Console(highlight=False), pool.communities) as view:
            state = asyncio.run(run_graph(graph, asked, view))
        view.result(state, pool.communities)
    except KeyboardInterrupt:
        typer.echo("Stopped.", err=True)
        raise typer.Exit(130) from None


def _build(mode: ModeName, score: ScoringName, pool: Pool, prompts: Any, models: Any) -> StateGraph[Any, Any, Any, Any]:
    from modular_pluralism.graphs import build_distributional, build_overton, build_steerable

    match mode:
        case ModeName.overton:
            return build_overton(pool, prompts=prompts, models=models)
        case ModeName.steerable:
            return build_steerable(pool, scoring=score.value, prompts=prompts, models=models)
        case ModeName.distributional:
            return build_distributional(pool, scoring=score.value, prompts=prompts, models=models)


def _json(state: Mapping[str, Any], mode: ModeName, score: ScoringName, pool: Pool) -> str:
    """The whole run as one JSON object; communities stand in the pool's order."""
    result: dict[str, Any] = {"mode": mode.value, "pool": pool.name}
    if "options" in state:
        result["scoring"] = score.value
    for key, value in state.items():
        by_community = key in ("comments", "distributions")
        result[key] = {name: value[name] for name in pool.communities if name in value} if by_community else value
    return json.dumps(result, ensure_ascii=False, indent=2)


def _answer(state: Mapping[str, Any]) -> str:
    """The outcome alone, as plain text."""
    if "answer" in state:
        return str(state["answer"])
    shares = zip(state["options"], state["distribution"], strict=True)
    return "\n".join(f"{share:.4f}  {option}" for option, share in shares)
