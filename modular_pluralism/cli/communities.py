"""`pluralism communities`: what a pool holds, and whether all of it works."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import typer

from modular_pluralism.cli.call_options import JsonOption, PoolOption

if TYPE_CHECKING:
    from modular_pluralism.models.pool_models import PoolModel
    from modular_pluralism.pool import Pool

app = typer.Typer(
    help="List the communities of a pool, or check that all of them work.",
    epilog="""
**Examples**

`pluralism communities`

`pluralism communities --pool culture --json`

`pluralism communities check --pool my-pool.toml`
""",
    rich_markup_mode="markdown",
)


@app.callback(invoke_without_command=True)
def list_communities(context: typer.Context, pool: PoolOption = "perspective", as_json: JsonOption = False) -> None:
    """List the communities of a pool, or check that all of them work."""
    if context.invoked_subcommand is not None:
        return
    from modular_pluralism.pool import Pool

    rows = _rows(Pool.load(pool))
    if as_json:
        typer.echo(json.dumps(rows, ensure_ascii=False, indent=2))
    else:
        _print_table(rows)


@app.command("check", epilog="**Example**: `pluralism communities check --pool my-pool.toml`")
def check(pool: PoolOption = "perspective") -> None:
    """Load every model and adapter, have each say something, and print one line each."""
    from modular_pluralism.cli.safe_text import safe
    from modular_pluralism.errors import PluralismError
    from modular_pluralism.graphs import build_pluralism
    from modular_pluralism.models.pool_models import PoolModels
    from modular_pluralism.pool import Pool

    loaded = Pool.load(pool)
    models = PoolModels(loaded)
    build_pluralism(loaded, models=models)  # finds communities that are called as a part of a graph is
    works = True
    for name in [None, *loaded.communities]:
        try:
            said = _try(models.base() if name is None else models.community(name), loaded)
            mark, note = "ok    ", said
        except PluralismError as error:
            works, mark, note = False, "FAILED", str(error)
        typer.echo(f"{mark}  {name or 'base LLM'}: {safe(note).plain}")
    if not works:
        raise typer.Exit(1)


def _try(model: PoolModel, pool: Pool) -> str:
    """Have the model say one token, and tell how long that took."""
    from modular_pluralism.models.calls import Caller
    from modular_pluralism.nodes import ask

    caller = Caller(attempts=pool.run.attempts, deadline=pool.run.deadline)
    outcome = caller.call(ask.text(model, [_hello()], max_tokens=1, seed=0), {})
    return f"{model.place} answers, {outcome.seconds:.1f} s{_file_of(model)}"


def _file_of(model: PoolModel) -> str:
    """Which file an embedded model runs from: the one that the pool names, or one prepared from it."""
    from modular_pluralism.llama import ChatLlama

    return f", from {model.chat.gguf.name}" if isinstance(model.chat, ChatLlama) else ""


def _hello() -> Any:
    from langchain_core.messages import HumanMessage

    return HumanMessage("Hello")


def _rows(pool: Pool) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "model": community.model,
            "adapter": community.lora,
            "prior": community.prior,
            "description": community.description,
        }
        for name, community in pool.communities.items()
    ]


def _print_table(rows: list[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table

    from modular_pluralism.cli.safe_text import safe

    table = Table()
    for heading in ("name", "model", "adapter", "prior", "description"):
        table.add_column(heading, justify="right" if heading == "prior" else "left", overflow="fold")
    for row in rows:
        cells = (row["name"], row["model"], row["adapter"] or "none", f"{row['prior']:g}", row["description"])
        table.add_row(*map(safe, cells))
    Console(highlight=False).print(table)
