"""`pluralism demo`: one real question in every mode of the paper."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from modular_pluralism.cli.call_options import PoolOption, SeedOption, examples
from modular_pluralism.cli.output import safe, say, stoppable

if TYPE_CHECKING:
    from modular_pluralism.pool import Pool

QUESTION = "Should cafés be open until late at night?"
ATTRIBUTE = "a quiet night"
OPTIONS = ["Agree", "Disagree", "Pass"]
POOL = "town"

EXAMPLES = examples("""
pluralism demo
pluralism demo "Should wages be public?" --attribute "the right to privacy" --pool culture --option Yes --option No
""")


def demo(
    question: Annotated[str, typer.Argument(help="The question.")] = QUESTION,
    attribute: Annotated[str, typer.Option("--attribute", "-a", help="What steerable mode shall reflect.")] = ATTRIBUTE,
    option: Annotated[list[str], typer.Option("--option", "-o", help="Options for distributional mode.")] = OPTIONS,
    pool: PoolOption = POOL,
    seed: SeedOption = 0,
) -> None:
    """Ask one question in every mode of the paper, on the demo model unless the pool says otherwise.

    Assembly mode is left out, which takes several times as long: `pluralism ask QUESTION --mode assembly`. In
    distributional mode, communities that have a record answer from it; in the others, they are told its nearest
    answers before they comment.
    """
    from rich.console import Console
    from rich.text import Text

    from modular_pluralism.cli.ask import run
    from modular_pluralism.modes import modes
    from modular_pluralism.nodes.request import Request
    from modular_pluralism.pool import Pool

    loaded = Pool.load(pool)
    recorded = all(loaded.answers_file(name) is not None for name in loaded.communities)
    given: dict[str, Any] = {"attribute": attribute, "options": option}
    shown = [mode for mode in modes().values() if not mode.takes.choose]
    requests = [
        Request(
            question=question,
            mode=mode.name,
            seed=seed,
            voice="record" if recorded and mode.takes.voice else "comment",
            **{part: given[part] for part in mode.takes.required},
        )
        for mode in shown
    ]
    console = Console(highlight=False)
    _prepare(loaded)
    console.print(Text("Question: ", style="bold").append_text(safe(question)))
    for mode, request in zip(shown, requests, strict=True):
        console.print()
        console.rule(Text(mode.title, style="bold"))
        say(f"{mode.title} mode: {_RECORDED if request.voice == 'record' else mode.work}.", prose=True)
        if request.attribute is not None:
            say(f"Attribute: {request.attribute}", prose=True)
        run(request, pool)
    say()
    say(_MADE_UP if pool == POOL else _PERSONAS, "dim", prose=True)


_RECORDED = (
    "every community answers from its record, what its people have said to questions like this one (--voice record) → "
    "the distributions are pooled with the communities' priors; nobody comments, and no model is asked"
)
_PERSONAS = (
    "The communities of the built-in pools are personas on one very small model: a demonstration of the method, not an "
    "opinion poll."
)
_MADE_UP = (
    "The communities are the opinion groups of a conversation that we made up, on one very small model: they show the "
    "method and are not an opinion poll. `pluralism community from-polis` makes such a pool of a real conversation."
)


def _prepare(loaded: Pool) -> None:
    """On first use, rewrite the demo's model for this machine, where that is known to make it much faster."""
    from modular_pluralism.llama import ChatLlama, close_engines
    from modular_pluralism.models.pool_models import PoolModels
    from modular_pluralism.pool import EmbeddedModel
    from modular_pluralism.prepared.first_use import prepare_on_first_use

    config = loaded.models[loaded.base]
    alone = all(community.model == loaded.base for community in loaded.communities.values())
    # What is tried here does not repeat exactly.
    if not (alone and isinstance(config, EmbeddedModel) and config.prepared) or config.repeatable:
        return
    chat = PoolModels(loaded).base().chat
    assert isinstance(chat, ChatLlama)
    with stoppable():
        done = prepare_on_first_use(chat.file, chat.engine)
    if done is not None:
        say(done.line, "dim", prose=True)
        say()
    if done is not None and done.prepared:
        close_engines()  # of the original, so that only the prepared one takes memory
