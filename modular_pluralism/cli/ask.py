"""`pluralism ask`: one question, in one mode."""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import Awaitable, Callable, Mapping
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
    examples,
    path_option,
)
from modular_pluralism.cli.output import print_json, print_paid, stoppable, tell
from modular_pluralism.cli.streams import piped

if TYPE_CHECKING:
    from langgraph.graph import StateGraph

    from modular_pluralism.cli.terminal_view import TerminalView
    from modular_pluralism.modes import ModeDescription
    from modular_pluralism.nodes.request import Request
    from modular_pluralism.runs.setup import Setup
    from modular_pluralism.types import Cost

EXAMPLES = examples("""
pluralism ask "Should a city ban cars from its centre?"
pluralism ask "Should wages be public?" --mode steerable --attribute "the right to privacy"
pluralism ask "Is it acceptable to lie?" --mode distributional --option Yes --option No --score rotate --json
pluralism ask "Is it acceptable to lie?" --mode distributional --option Yes --option No --voice vote
echo "What makes a good school?" | pluralism ask - --pool culture --quiet
pluralism ask "Should wages be public?" --mode assembly --choose maximin
pluralism ask "Should wages be public?" --mode assembly --contract docs/example_contract.toml --rounds 2
pluralism ask "Should wages be public?" --thread wages
pluralism ask "Is it acceptable to lie?" --mode distributional --option Yes --option No --dry-run
""")


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
    choose: Annotated[
        str | None,
        typer.Option(
            metavar="RULE",
            help="Assembly mode: how an answer is chosen: utilitarian, nash (the default), maximin, leximin, borda, "
            "schulze or slate.",
            show_default=False,
        ),
    ] = None,
    normalise: Annotated[
        str | None,
        typer.Option(
            metavar="[none|range|rank]",
            help="Assembly mode: what is made of each community's scores before that.",
            show_default=False,
        ),
    ] = None,
    contract: Annotated[
        Path | None,
        path_option(
            "--contract", metavar="FILE", help="Assembly mode: a TOML file of rules for the answer.", show_default=False
        ),
    ] = None,
    rounds: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Assembly mode: how often an answer that breaks the contract is mended (default 2).",
            show_default=False,
        ),
    ] = None,
    pool: PoolOption = "perspective",
    prompts: PromptsOption = None,
    seed: SeedOption = 0,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
    thread: Annotated[
        str | None,
        typer.Option(
            metavar="ID",
            help="Keep the run under this new name, so that `pluralism resume ID` can go on with it.",
            show_default=False,
        ),
    ] = None,
    store: StoreOption = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print what it would cost, in calls and tokens, and ask no model.")
    ] = False,
) -> None:
    """Ask the communities of a pool one question.

    In overton mode all comment and the base LLM merges the comments; in steerable mode the comment that fits
    an attribute is selected and the base LLM answers with it; in distributional mode the probability of every
    option is read from each comment and pooled. With `--voice vote`, the communities' own probabilities are pooled
    instead, and nobody comments. In assembly mode several answers are drafted, every community judges them all, and a
    rule chooses one, whose minutes are printed with it; with `--contract`, an answer that breaks a must is mended.
    """
    from modular_pluralism.errors import InputError
    from modular_pluralism.nodes.request import Request
    from modular_pluralism.societal.contract import Contract

    text = piped("question") if question == "-" else question
    chosen: dict[str, Any] = {"choose": choose, "normalise": normalise}  # names, which the request checks
    request = Request(
        question=text,
        mode=mode,
        attribute=attribute,
        options=option,
        scoring=score,
        voice=voice,
        **chosen,
        contract=None if contract is None else Contract.load(contract).data,
        rounds=rounds,
        seed=seed,
    )
    if store is not None and thread is None:
        raise InputError("--store says where --thread keeps a run; add --thread with a name for it, or leave it out.")
    if dry_run and thread is not None:
        raise InputError("--dry-run asks nobody, so that there is no run for --thread to keep; leave one of them out.")
    if dry_run:
        _print_estimate(request, pool, prompts, as_json=as_json)
        return
    run(request, pool, prompts, as_json=as_json, quiet=quiet, thread=thread, store=store)


def _print_estimate(request: Request, pool_name: str, prompts_folder: Path | None, *, as_json: bool) -> None:
    """What a question would cost."""
    from modular_pluralism.cli.output import print_table, say
    from modular_pluralism.estimates import estimate
    from modular_pluralism.pool import Pool
    from modular_pluralism.prompts import PromptSet

    asked = {name: value for name, value in request.model_dump(exclude={"seed"}).items() if value is not None}
    cost = estimate(pool=Pool.load(pool_name), prompts=PromptSet.load(prompts_folder), **asked)
    if as_json:
        print_json(cost)
        return

    def row(role: str, model: str, cost: Cost, about: str) -> list[str]:
        return [role, model, str(cost["calls"]), f"{about}{cost['prompt_tokens']}", str(cost["completion_tokens"])]

    about = {each["role"]: "~" if each["tokens"] == "estimated" else "" for each in cost["roles"]}
    guessed = max(about.values(), default="")
    rows = [row(each["role"], each["model"], each, about[each["role"]]) for each in cost["roles"]]
    rows.append(row("all", "", cost["total"], guessed))
    if cost["sampled"]:
        rows.append(row("all, where options are sampled", "", cost["sampled"], guessed))
    numbers = ["calls", "prompt tokens", "reply tokens at most"]
    print_table(["role", "model", *numbers], rows, right=numbers)
    if guessed:
        say("~ is estimated from the length of the prompts, since the tokenizer of that model is not here.", prose=True)
    if cost["sampled"]:
        say("Options are sampled where a model reports no log-probabilities: score_samples in [run] times.", prose=True)
    say("No model was asked.")


def run(
    request: Request,
    pool_name: str,
    prompts_folder: Path | None = None,
    *,
    as_json: bool = False,
    quiet: bool = False,
    thread: str | None = None,
    store: str | None = None,
) -> None:
    """Ask a question and print what came out; Ctrl-C ends it cleanly, with exit code 130.

    With a `thread` the run is kept under that name, in `store`.
    """
    from modular_pluralism.cli.run_graph import open_models, run_graph
    from modular_pluralism.modes import find_mode
    from modular_pluralism.pool import Pool
    from modular_pluralism.prompts import PromptSet
    from modular_pluralism.runs.setup import Setup

    pool, prompts = Pool.load(pool_name), PromptSet.load(prompts_folder)
    mode, scoring, voice, asked = request.mode, request.scoring, request.voice, request.asked()
    graph = find_mode(mode).graph(pool, scoring=scoring, voice=voice, prompts=prompts, models=open_models(pool, voice))
    result = find_mode(mode).result
    if not quiet:
        _hint_at_samples(graph, asked, reads=bool(asked.get("options")) or find_mode(mode).takes.choose)
    setup = Setup.of(mode, scoring, asked, (pool_name, pool), (prompts_folder, prompts), voice=voice)

    async def running(view: TerminalView) -> dict[str, Any]:
        if thread is None:
            return await run_graph(graph, asked, view, result)
        from modular_pluralism.runs.location import find_location, find_timeout
        from modular_pluralism.runs.opening import open_run_store
        from modular_pluralism.runs.run_table import RunTable, check_id, keep

        check_id(thread)
        async with open_run_store(find_location(store), find_timeout()) as opened, opened.claim(thread):
            await RunTable(opened).add(thread, setup.with_model_files(pool))
            return await keep(opened, thread, run_graph(graph, asked, view, result, saver=opened.saver, thread=thread))

    with stoppable(stopped(thread, store)):
        asyncio.run(show(running, setup, thread, as_json=as_json, quiet=quiet))


_MANY_CALLS = 50


def _hint_at_samples(graph: StateGraph[Any, Any, Any, Any], asked: dict[str, Any], *, reads: bool) -> None:
    """Tell, before it is paid for, that a question for which probabilities are read may take many calls."""
    from modular_pluralism.estimates import most_calls

    if not reads:
        return
    read, sampled = most_calls(graph, asked)
    if sampled > max(read, _MANY_CALLS):
        tell(
            f"Where a model reports no log-probabilities, options are read from sampled replies: that is {sampled} "
            f"calls for this question, instead of {read}. --dry-run tells their tokens; score_samples in the pool's "
            "[run] table makes them fewer.",
            err=True,
        )


async def show(
    running: Callable[[TerminalView], Awaitable[dict[str, Any]]],
    setup: Setup,
    thread: str | None,
    *,
    as_json: bool,
    quiet: bool,
) -> None:
    """Run something that tells a view what happens and returns a final state, and print both; `thread` is the name of a
    run that is kept."""
    from modular_pluralism.cli.terminal_view import TerminalView
    from modular_pluralism.errors import UnkeptError
    from modular_pluralism.modes import find_mode

    mode, view = find_mode(setup.mode), TerminalView(setup.communities, quiet=as_json or quiet)
    unkept: UnkeptError | None = None
    with view.live:
        try:
            state = await running(view)
        except UnkeptError as error:  # what was paid for is shown all the same
            state, unkept = error.state, error
    if as_json:
        print_json(_whole(state, setup, thread))
    elif quiet:
        print_paid(_answer(mode, state))
    else:
        view.result(mode, state)
        if view.moved:
            raise typer.Exit(1)
    if unkept is not None:
        raise unkept


def stopped(thread: str | None, store: str | None) -> str:
    """What is said after Ctrl-C, with how to go on where the run is kept; an address' password is not repeated."""
    from modular_pluralism.runs.location import find_location

    if thread is None:
        return "Stopped."
    where = "" if store is None else f" --store {shlex.quote(find_location(store).shown)}"
    return f"Stopped. Go on with: pluralism resume {thread}{where}"


def _whole(state: Mapping[str, Any], setup: Setup, thread: str | None) -> dict[str, Any]:
    """The whole run as one JSON object; communities stand in the pool's order."""
    from modular_pluralism.graphs.state import in_pool_order

    result: dict[str, Any] = {"mode": setup.mode, "pool": setup.pool_name}
    if thread is not None:
        result["thread"] = thread
    if "options" in state:
        result["scoring"] = setup.scoring
    if setup.voice != "comment":
        result["voice"] = setup.voice
    return result | in_pool_order(state, setup.communities)


def _answer(mode: ModeDescription, state: Mapping[str, Any]) -> str:
    """The outcome alone, as plain text."""
    if mode.result == "answer":
        from modular_pluralism.modes import shown_answer

        return shown_answer(state)
    shares = zip(state["options"], state["distribution"], strict=True)
    return "\n".join(f"{share:.4f}  {option}" for option, share in shares)
