"""`pluralism communities`: what a pool holds, and whether all of it works."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from modular_pluralism.cli.call_options import JsonOption, PoolOption, examples
from modular_pluralism.cli.output import print_json, print_table, safe
from modular_pluralism.errors import PluralismError

if TYPE_CHECKING:
    from modular_pluralism.models.pool_models import PoolModel
    from modular_pluralism.pool import Pool

app = typer.Typer(
    epilog=examples("""
pluralism communities
pluralism communities --pool culture --json
pluralism communities check --pool my-pool.toml
"""),
)


@app.callback(invoke_without_command=True)
def list_communities(context: typer.Context, pool: PoolOption = "perspective", as_json: JsonOption = False) -> None:
    """List the communities of a pool, or check that all of them work."""
    if context.invoked_subcommand is not None:
        return
    from modular_pluralism.pool import Pool

    headings = ("name", "model", "adapter", "prior", "description")
    rows = [
        (name, community.model, community.lora, community.prior, community.description)
        for name, community in Pool.load(pool).communities.items()
    ]
    if as_json:
        print_json([dict(zip(headings, row, strict=True)) for row in rows])
    else:
        cells = [
            (name, model, lora or "none", f"{prior:g}", description) for name, model, lora, prior, description in rows
        ]
        print_table(headings, cells, right=["prior"])


@app.command("check", epilog=examples("pluralism communities check --pool my-pool.toml"))
def check(pool: PoolOption = "perspective") -> None:
    """Load every model and adapter, have each say something, and print one line each."""
    from modular_pluralism.graphs.every_graph import check_names
    from modular_pluralism.models.pool_models import PoolModels
    from modular_pluralism.pool import Pool

    loaded = Pool.load(pool)
    check_names(loaded.model_copy(update={"name": pool}))
    models = PoolModels(loaded)
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
