"""`pluralism minutes`: the minutes of a kept assembly, as a page or as JSON."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from modular_pluralism.cli.call_options import JsonOption, StoreOption, examples, path_option
from modular_pluralism.cli.output import print_json, stoppable, tell

if TYPE_CHECKING:
    from modular_pluralism.debugger.minutes import Minutes

EXAMPLES = examples("""
pluralism minutes wages
pluralism minutes wages --out wages.html
pluralism minutes wages --json
""")


def minutes(
    run: Annotated[str, typer.Argument(metavar="ID", help="The run's name.", show_default=False)],
    out: Annotated[
        Path | None,
        path_option(
            "--out", "-o", metavar="FILE", help="The page's file [default: minutes_ID.html]", show_default=False
        ),
    ] = None,
    as_json: JsonOption = False,
    store: StoreOption = None,
) -> None:
    """Write the minutes of a kept assembly as a page, in which weights and rules can be tried out.

    The page is one file that needs no network. It has the answer, every member's scores, who wins under which rule,
    dissent word for word, and how sure all of it is. With --json the minutes are printed, and a page is written only
    where --out names it.
    """
    from modular_pluralism.debugger.minutes_page import minutes_as_html
    from modular_pluralism.evaluation.report.folder import write_text

    read = _read(run, store)
    if out is not None or not as_json:
        page = out or Path(f"minutes_{run}.html")
        write_text(page, minutes_as_html(read))
        if not as_json:
            tell(f"Minutes: {page}")
    if as_json:
        print_json(read)


def _read(run: str, place: str | None) -> Minutes:
    from modular_pluralism.debugger.minutes import read_minutes
    from modular_pluralism.runs.opening import open_kept

    async def opened() -> Minutes:
        async with open_kept(place) as store:
            return await read_minutes(store, run)

    with stoppable():
        return asyncio.run(opened())
