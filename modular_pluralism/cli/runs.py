"""`pluralism runs`: the runs that are kept."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from modular_pluralism.cli.call_options import JsonOption, StoreOption, examples
from modular_pluralism.cli.commands import App
from modular_pluralism.cli.output import print_json, safe, say, stoppable, tell

if TYPE_CHECKING:
    from modular_pluralism.runs.contents import Contents
    from modular_pluralism.runs.run_store import RunStore
    from modular_pluralism.runs.run_table import ListedRun
    from modular_pluralism.runs.setup import Setup

T = TypeVar("T")

app = App(
    epilog=examples("""
pluralism runs
pluralism runs show wages --json
pluralism runs remove wages
"""),
)

RunArgument = Annotated[str, typer.Argument(metavar="ID", help="The run's name.", show_default=False)]


@app.callback(invoke_without_command=True)
def list_runs(context: typer.Context, as_json: JsonOption = False, store: StoreOption = None) -> None:
    """List the runs that are kept, the newest first; show or remove one."""
    if context.invoked_subcommand is not None:
        return
    from modular_pluralism.runs.location import find_location
    from modular_pluralism.runs.run_table import RunTable

    place = find_location(store)
    absent = place.path is not None and not place.path.exists()
    kept = [] if absent else _in_store(store, lambda opened: RunTable(opened).all())
    if as_json:
        print_json({"runs": [_row(run) for run in kept]})
    elif kept:
        _print_table(kept)
    else:
        tell(f"No run is kept in {place.shown}; `pluralism ask QUESTION --thread NAME` keeps one.")


@app.command("show", epilog=examples("pluralism runs show wages"))
def show(run: RunArgument, as_json: JsonOption = False, store: StoreOption = None) -> None:
    """Show what is kept of a run: its state, every comment so far, who is missing, and its steps."""
    from modular_pluralism.runs.contents import read_contents
    from modular_pluralism.runs.run_table import RunTable

    async def read(opened: RunStore) -> tuple[ListedRun, Setup, Contents]:
        table = RunTable(opened)
        listed, setup = await table.get(run), await table.setup(run)
        return listed, setup, await read_contents(opened, run, setup.mode)

    listed, setup, contents = _in_store(store, read)
    if as_json:
        print_json(_whole(listed, setup, contents))
    else:
        _print_whole(listed, setup, contents)


@app.command("remove", epilog=examples("pluralism runs remove wages"))
def remove(run: RunArgument, store: StoreOption = None) -> None:
    """Remove a run with everything that is kept of it."""
    from modular_pluralism.runs.run_table import RunTable

    async def forget(opened: RunStore) -> None:
        table = RunTable(opened)
        await table.get(run)
        async with opened.claim(run):
            await table.remove(run)

    _in_store(store, forget)
    tell(f"Removed {run}.")


def _in_store(place: str | None, work: Callable[[RunStore], Coroutine[Any, Any, T]]) -> T:
    from modular_pluralism.runs.opening import open_kept

    async def opened() -> T:
        async with open_kept(place) as store:
            return await work(store)

    with stoppable():
        return asyncio.run(opened())


def _row(run: ListedRun) -> dict[str, Any]:
    started = datetime.fromtimestamp(run.created, UTC).isoformat(timespec="seconds")
    return {"started": started} | {key: value for key, value in vars(run).items() if key != "created"}


def _whole(run: ListedRun, setup: Setup, contents: Contents) -> dict[str, Any]:
    comments = contents.state.get("comments") or {}
    return {
        **_row(run),
        "pool": setup.pool,
        "prompts": setup.prompts,
        "scoring": setup.scoring,
        "voice": setup.voice,
        "comments": {name: comments[name] for name in setup.communities if name in comments},
        "missing": _missing(setup, contents),
        "result": {key: value for key, value in contents.state.items() if key not in ("comments", "missing")},
        "steps": [vars(step) for step in contents.steps],
    }


def _missing(setup: Setup, contents: Contents) -> list[str]:
    """Communities that have not answered: those that failed, and while the run is unfinished those not done yet."""
    comments = contents.state.get("comments") or {}
    return [name for name in setup.communities if name not in comments or comments[name]["error"] is not None]


def _described(run: ListedRun) -> str:
    done = f"{run.answered} of {run.communities} communities"
    states = {
        "finished": "finished",
        "running": f"running, {done} done",
        "failed": f"failed after {done}: {run.error}",
        "stopped": f"stopped after {done}",
    }
    return states[run.state]


def _print_table(kept: list[ListedRun]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, padding=(0, 2, 0, 0), expand=True)
    for heading in ("id", "started", "mode"):
        table.add_column(heading, no_wrap=True)
    table.add_column("question", no_wrap=True, overflow="ellipsis", ratio=1, min_width=12)
    table.add_column("state", overflow="fold", max_width=40)
    for run in kept:
        state = _shortened(_described(run), 100)
        table.add_row(safe(run.id), _local(run.created), run.mode, safe(_shortened(run.question, 60)), safe(state))
    Console(highlight=False).print(table)


def _print_whole(run: ListedRun, setup: Setup, contents: Contents) -> None:
    from modular_pluralism.cli.terminal_view import TerminalView
    from modular_pluralism.modes import find_mode

    say(f"{run.id}: {run.mode}, pool {setup.pool}, started {_local(run.created)}", prose=True)
    say(f"Question: {run.question}", prose=True)
    say(f"State: {_described(run)}", prose=True)
    view = TerminalView(setup.communities)
    for comment in _whole(run, setup, contents)["comments"].values():
        view.said(comment)
    if contents.finished:
        mode = find_mode(setup.mode)
        view.result(mode, contents.state)
        if mode.takes.choose:
            say(f"The minutes as a page: pluralism minutes {run.id}", prose=True)
    else:
        say(f"Missing: {', '.join(_missing(setup, contents)) or 'the answer'}.", prose=True)
        say(f"Go on with: pluralism resume {run.id}", prose=True)
    for step in contents.steps:
        say(f"Step {step.step}, {step.at}: {', '.join(step.wrote) or 'nothing written'}", "dim", prose=True)


def _local(seconds: float) -> str:
    return datetime.fromtimestamp(seconds).astimezone().strftime("%Y-%m-%d %H:%M")


def _shortened(text: str, most: int) -> str:
    line = " ".join(text.split())
    return line if len(line) <= most else f"{line[: most - 1]}…"
