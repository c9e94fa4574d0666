"""`pluralism communities`: what a pool holds, and whether all of it works."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import typer

from modular_pluralism.cli.call_options import JsonOption, PoolOption, examples
from modular_pluralism.cli.commands import App
from modular_pluralism.cli.output import print_json, print_table, shown, tell
from modular_pluralism.errors import PluralismError

if TYPE_CHECKING:
    from modular_pluralism.models.pool_models import PoolModel
    from modular_pluralism.pool import Pool
    from modular_pluralism.prompts import PromptSet

app = App(
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

    loaded = Pool.load(pool)
    headings = ("name", "model", "adapter", "persona", "record", "prior", "description")
    rows = [
        (name, one.model, one.lora, loaded.persona_source(name), one.answers, one.prior, one.description)
        for name, one in loaded.communities.items()
    ]
    if as_json:
        print_json({"communities": [dict(zip(headings, row, strict=True)) for row in rows]})
    else:
        cells = [
            (name, model, *(each or "none" for each in (lora, persona, record)), f"{prior:g}", _cut(description))
            for name, model, lora, persona, record, prior, description in rows
        ]
        # A terminal is narrow: what no community has is no column.
        some = [place for place, column in enumerate(zip(*cells, strict=True)) if set(column) != {"none"}]
        print_table(
            [headings[place] for place in some], [[row[place] for place in some] for row in cells], right=["prior"]
        )


def _cut(description: str) -> str:
    """The beginning of a description, in the table; --json has all of it."""
    return description if len(description) <= _LONGEST else f"{description[: _LONGEST - 1].rstrip()}…"


_LONGEST = 120
"""Characters of a description in the table."""


@app.command("check", epilog=examples("pluralism communities check --pool my-pool.toml"))
def check(pool: PoolOption = "perspective") -> None:
    """Load every model, adapter and record, ask each model as a run does, and print one line each."""
    from modular_pluralism.graphs.every_graph import check_names
    from modular_pluralism.models.pool_models import PoolModels
    from modular_pluralism.pool import Pool
    from modular_pluralism.prompts import PromptSet

    loaded = Pool.load(pool)
    check_names(loaded.model_copy(update={"name": pool}))
    models, texts = PoolModels(loaded), PromptSet.load()
    works = True
    for name in [None, *loaded.communities]:
        try:
            if name is None:
                said = _try(models.base(), loaded, _BASE_PROMPTS)
            else:
                said = _try(models.community(name), loaded, _prompts(loaded.persona_text(name, texts), texts))
                said += f"; persona: {loaded.persona_source(name) or 'none'}"
                if loaded.answers_file(name) is not None:
                    said += f"; record: {models.record(name).answers:,} answers"
            mark, note = "ok    ", said
        except PluralismError as error:
            works, mark, note = False, "FAILED", str(error)
        tell(f"{mark}  {name or 'base LLM'}: {shown(note)}")
    if not works:
        raise typer.Exit(1)


_QUESTION = {"question": "Is it good to be kind?", "options": ["Yes", "No"]}
_BASE_PROMPTS = [[("system", "Answer in a word."), ("user", _QUESTION["question"])]]


def _prompts(persona: str | None, texts: PromptSet) -> list[Any]:
    """What a run asks a community: below its persona, without options and with them."""
    from modular_pluralism.nodes.comment import comment_prompt

    plain = {"question": _QUESTION["question"]}
    return [comment_prompt(persona, texts, plain), comment_prompt(persona, texts, _QUESTION)]


def _try(model: PoolModel, pool: Pool, prompts: Sequence[Any]) -> str:
    """Have the model say one token to each prompt, and tell how long that took."""
    from langchain_core.messages import convert_to_messages

    from modular_pluralism.llama import ChatLlama
    from modular_pluralism.models.calls import Caller
    from modular_pluralism.nodes import ask

    caller = Caller(attempts=pool.run.attempts, deadline=pool.run.deadline)
    calls = [ask.text(model, convert_to_messages(prompt), max_tokens=1, seed=0) for prompt in prompts]
    seconds = sum(caller.call(call, {}).seconds for call in calls)
    # Which file an embedded model runs from: the one that the pool names, or one prepared from it.
    file = f", from {model.chat.file.name}" if isinstance(model.chat, ChatLlama) else ""
    return f"{model.place} answers, {seconds:.1f} s{file}"
