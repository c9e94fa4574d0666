"""`pluralism communities`: what a pool holds, and whether all of it works."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from modular_pluralism.cli.call_options import JsonOption, PoolOption
from modular_pluralism.cli.output import print_json, print_table, safe
from modular_pluralism.errors import PluralismError

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
        print_json(rows)
    else:
        cells = [
            (row["name"], row["model"], row["adapter"] or "none", f"{row['prior']:g}", row["description"])
            for row in rows
        ]
        print_table(("name", "model", "adapter", "prior", "description"), cells, right=["prior"])


@app.command("check", epilog="**Example**: `pluralism communities check --pool my-pool.toml`")
def check(pool: PoolOption = "perspective") -> None:
    """Load every model and adapter, have each say something, and print one line each."""
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
    from langchain_core.messages import HumanMessage

    from modular_pluralism.llama import ChatLlama
    from modular_pluralism.models.calls import Caller
    from modular_pluralism.nodes import ask

    caller = Caller(attempts=pool.run.attempts, deadline=pool.run.deadline)
    outcome = caller.call(ask.text(model, [HumanMessage("Hello")], max_tokens=1, seed=0), {})
    # Which file an embedded model runs from: the one that the pool names, or one prepared from it.
    file = f", from {model.chat.gguf.name}" if isinstance(model.chat, ChatLlama) else ""
    return f"{model.place} answers, {outcome.seconds:.1f} s{file}"


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
