"""`pluralism ask`: one question, in one mode."""

from __future__ import annotations

import asyncio
import shlex
import sys
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from modular_pluralism.cli.call_options import (
    JsonOption,
    ModeOption,
    PoolOption,
    PromptsOption,
    QuietOption,
    ScoringOption,
    SeedOption,
    StoreOption,
    VoiceOption,
)
from modular_pluralism.cli.output import print_json, stoppable

if TYPE_CHECKING:
    from modular_pluralism.cli.run_graph import RunView
    from modular_pluralism.types import Mode, Scoring, Voice

EXAMPLES = """
**Examples**

`pluralism ask "Should a city ban cars from its centre?"`

`pluralism ask "Should wages be public?" --mode steerable --attribute "the right to privacy"`

`pluralism ask "Is it acceptable to lie?" --mode distributional --option Yes --option No --score rotate --json`

`pluralism ask "Is it acceptable to lie?" --mode distributional --option Yes --option No --voice vote`

`echo "What makes a good school?" | pluralism ask - --pool culture --quiet`

`pluralism ask "Should wages be public?" --thread wages`
"""


def ask(
    question: Annotated[str, typer.Argument(help="The question; - reads it from standard input.", show_default=False)],
    mode: ModeOption = "overton",
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
    score: ScoringOption = "rotate",
    voice: VoiceOption = "comment",
    pool: PoolOption = "perspective",
    prompts: PromptsOption = None,
    seed: SeedOption = 0,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
    thread: Annotated[
        str | None,
        typer.Option(
            "--thread",
            metavar="ID",
            help="Keep the run under this new name, so that `pluralism resume ID` can go on with it.",
            show_default=False,
        ),
    ] = None,
    store: StoreOption = None,
) -> None:
    """Ask the communities of a pool one question.

    In **overton** mode all comment and the base LLM merges the comments; in **steerable** mode the comment that fits
    an attribute is selected and the base LLM answers with it; in **distributional** mode the probability of every
    option is read from each comment and pooled. With `--voice vote`, the communities' own probabilities are pooled
    instead, and nobody comments.
    """
    from modular_pluralism.errors import InputError
    from modular_pluralism.nodes.request import Request

    text = sys.stdin.read().strip() if question == "-" else question
    parts: dict[str, Any] = {"attribute": attribute, "options": option or None, "seed": seed}
    asked = Request(question=text, mode=mode, scoring=score, voice=voice, **parts).asked(distinct=True)
    if store is not None and thread is None:
        raise InputError("--store says where --thread keeps a run; add --thread with a name for it, or leave it out.")
    run(asked, mode, score, pool, prompts, voice=voice, as_json=as_json, quiet=quiet, thread=thread, store=store)


def run(
    asked: dict[str, Any],
    mode: Mode,
    score: Scoring,
    pool_name: str,
    prompts_folder: Path | None,
    *,
    voice: Voice = "comment",
    as_json: bool = False,
    quiet: bool = False,
    thread: str | None = None,
    store: str | None = None,
) -> None:
    """Run a checked question and print what came out; Ctrl-C ends it cleanly, with exit code 130.

    With a `thread` the run is kept under that name, in `store`.
    """
    from modular_pluralism.cli.run_graph import open_models, run_graph
    from modular_pluralism.modes import find_mode
    from modular_pluralism.pool import Pool
    from modular_pluralism.prompts import PromptSet

    pool = Pool.load(pool_name)
    prompts = PromptSet.load(prompts_folder)
    described = find_mode(mode)
    graph = described.graph(pool, scoring=score, voice=voice, prompts=prompts, models=open_models(pool))
    shown = Shown(mode, score, pool.name, list(pool.communities), thread, voice)

    async def kept(view: RunView, name: str) -> dict[str, Any]:
        from modular_pluralism.runs.location import find_location, find_timeout
        from modular_pluralism.runs.opening import open_run_store
        from modular_pluralism.runs.run_table import RunTable, check_id, keep
        from modular_pluralism.runs.setup import Setup

        check_id(name)
        setup = Setup.of(mode, score, asked, (pool_name, pool), (prompts_folder, prompts), voice=voice)
        async with open_run_store(find_location(store), find_timeout()) as opened, opened.claim(name):
            await RunTable(opened).add(name, setup)
            return await keep(opened, name, run_graph(graph, asked, view, saver=opened.saver, thread=name))

    def running(view: RunView) -> Coroutine[Any, Any, dict[str, Any]]:
        return run_graph(graph, asked, view) if thread is None else kept(view, thread)

    with stoppable(stopped(thread, store)):
        show(running, shown, as_json=as_json, quiet=quiet)


@dataclass(frozen=True)
class Shown:
    """What is said of a run beside its state; `thread` is its name where it is kept."""

    mode: Mode
    scoring: Scoring
    pool_name: str
    communities: list[str]
    thread: str | None
    voice: Voice = "comment"


def show(
    running: Callable[[RunView], Coroutine[Any, Any, dict[str, Any]]],
    shown: Shown,
    *,
    as_json: bool,
    quiet: bool,
) -> None:
    """Run something that tells a view what happens and returns a final state, and print both."""
    from rich.console import Console

    from modular_pluralism.cli.run_graph import NoView
    from modular_pluralism.cli.terminal_view import TerminalView

    if as_json or quiet:
        state = asyncio.run(running(NoView()))
        if as_json:
            print_json(_whole(state, shown))
        else:
            typer.echo(_answer(state))
        return
    with TerminalView(Console(highlight=False), shown.communities) as view:
        state = asyncio.run(running(view))
    view.result(state, shown.communities)


def stopped(thread: str | None, store: str | None) -> str:
    """What is said after Ctrl-C, with how to go on where the run is kept; an address' password is not repeated."""
    from modular_pluralism.runs.location import find_location

    if thread is None:
        return "Stopped."
    where = "" if store is None else f" --store {shlex.quote(find_location(store).shown)}"
    return f"Stopped. Go on with: pluralism resume {thread}{where}"


def _whole(state: Mapping[str, Any], shown: Shown) -> dict[str, Any]:
    """The whole run as one JSON object; communities stand in the pool's order."""
    result: dict[str, Any] = {"mode": shown.mode, "pool": shown.pool_name}
    if shown.thread is not None:
        result["thread"] = shown.thread
    if "options" in state:
        result["scoring"] = shown.scoring
    if shown.voice != "comment":
        result["voice"] = shown.voice
    for key, value in state.items():
        by_community = key in ("comments", "distributions", "votes", "readings")
        result[key] = {name: value[name] for name in shown.communities if name in value} if by_community else value
    return result


def _answer(state: Mapping[str, Any]) -> str:
    """The outcome alone, as plain text."""
    if "answer" in state:
        return str(state["answer"])
    shares = zip(state["options"], state["distribution"], strict=True)
    return "\n".join(f"{share:.4f}  {option}" for option, share in shares)
