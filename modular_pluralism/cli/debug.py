"""`pluralism debug`: a local page on which graphs run, are looked at, and are forked."""

from __future__ import annotations

import signal
from typing import Annotated

import typer

from modular_pluralism.cli.call_options import PoolOption, PortOption, PromptsOption, StoreOption, examples
from modular_pluralism.cli.output import tell, tell_of_tracing
from modular_pluralism.optional import optional

EXAMPLES = examples("""
pluralism debug
pluralism debug --pool my-pool.toml --store my-runs.sqlite
pluralism debug --port 0 --no-open
""")


def debug(
    pool: PoolOption = "perspective",
    prompts: PromptsOption = None,
    store: StoreOption = None,
    host: Annotated[
        str, typer.Option(help="Where to listen; anything but this machine needs --let-others-in.")
    ] = "127.0.0.1",
    port: PortOption = 8090,
    open_it: Annotated[bool, typer.Option("--open/--no-open", help="Open the page in the browser.")] = True,
    others: Annotated[
        bool,
        typer.Option(
            "--let-others-in",
            help="Allow a --host that others can reach. There is no login: they can read your runs and ask your "
            "models.",
        ),
    ] = False,
) -> None:
    """Open a local page to run the graphs, look into them, go back in time, and edit prompts.

    The page is for this machine only and needs no network: nothing that you type or that a model says is sent anywhere
    but to the models of your pool, and to LangSmith where its variables say so. Ctrl-C ends it; runs are kept in the
    store.
    """
    optional("nicegui", "debug", "`pluralism debug`")
    from modular_pluralism.debugger.page.live_runs import LiveRuns
    from modular_pluralism.debugger.page.server import end_process, serve_page
    from modular_pluralism.pool import Pool
    from modular_pluralism.prompts import PromptSet
    from modular_pluralism.runs.location import find_location, find_timeout

    tell_of_tracing()
    Pool.load(pool)
    PromptSet.load(prompts)
    runs = LiveRuns(pool, prompts, find_location(store), find_timeout())
    ended_by = serve_page(runs, host, port, lambda url: _ready(url, open_it), others=others)
    if ended_by == signal.SIGINT:
        tell("Stopped.", err=True)
    end_process(130 if ended_by == signal.SIGINT else 0)


def _ready(url: str, open_it: bool) -> None:
    tell(f"The debugger is at {url} (Ctrl-C ends it)")
    if open_it:
        import webbrowser

        webbrowser.open(url)
