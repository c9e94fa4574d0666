"""`pluralism resume`: going on with a run that is kept."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated, Any

import typer

from modular_pluralism.cli.ask import show, stopped
from modular_pluralism.cli.call_options import JsonOption, QuietOption, StoreOption, examples
from modular_pluralism.cli.output import stoppable, tell

if TYPE_CHECKING:
    from modular_pluralism.cli.terminal_view import TerminalView

EXAMPLES = examples("""
pluralism resume wages
pluralism resume wages --json
""")


def resume(
    run: Annotated[str, typer.Argument(metavar="ID", help="The run's name, as `pluralism runs` lists it.")],
    anyway: Annotated[
        bool, typer.Option("--anyway", help="Go on even if the pool, the prompts or a model file have changed since.")
    ] = False,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
    store: StoreOption = None,
) -> None:
    """Go on with a run that was kept and has stopped or failed, and print it as `ask` does.

    Communities that have spoken are not asked again; those that have failed are, where the quorum cannot be reached
    without them. Of a run that has finished, the result is printed, and no model is asked.
    """
    with stoppable(stopped(run, store)):
        asyncio.run(_resume(run, store, anyway=anyway, as_json=as_json, quiet=quiet))


async def _resume(run: str, place: str | None, *, anyway: bool, as_json: bool, quiet: bool) -> None:
    from modular_pluralism.cli.run_graph import open_models, run_graph
    from modular_pluralism.modes import find_mode
    from modular_pluralism.runs.ask_again import ask_again, out_of_reach
    from modular_pluralism.runs.contents import read_contents
    from modular_pluralism.runs.opening import open_kept
    from modular_pluralism.runs.run_table import RunTable, keep

    async with open_kept(place) as store:
        table = RunTable(store)
        await table.get(run)
        setup = await table.setup(run)

        async def going_on(view: TerminalView) -> dict[str, Any]:
            comments = contents.state.get("comments") or {}
            for name in setup.communities:
                if name in comments and (contents.finished or comments[name]["error"] is None):
                    view.said(comments[name])
            if contents.finished:
                await table.finish(run)
                store.forget_claim(run)
                return contents.state
            pool, prompts, known = setup.load(anyway=anyway, remedy=", or say --anyway to go on all the same")
            more: dict[str, Any] = {"prompts": prompts, "models": open_models(pool, setup.voice), "comments": known}
            mode = find_mode(setup.mode)
            graph = mode.graph(pool, scoring=setup.scoring, voice=setup.voice, **more)
            await ask_again(store, run, out_of_reach(comments, pool))
            await table.reopen(run)
            asked = None if contents.begun else setup.asked
            return await keep(store, run, run_graph(graph, asked, view, mode.result, saver=store.saver, thread=run))

        async with store.claim(run):
            contents = await read_contents(store, run, setup.mode)
            if contents.finished:
                tell(f"The run {run} has finished already; this is its result.", err=True)
            await show(going_on, setup, run, as_json=as_json, quiet=quiet)
