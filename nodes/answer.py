"""The base LLM answers: in its own words, or by choosing one of the question's options."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from typing import Any

from modular_pluralism.models.calls import Call, Outcome
from modular_pluralism.models.pool_models import PoolModels
from modular_pluralism.nodes import ask
from modular_pluralism.nodes.read_options import read_by_label, read_by_text
from modular_pluralism.nodes.render import option_lines
from modular_pluralism.nodes.step import State, Step, Steps, derive_seed
from modular_pluralism.option_math import most_likely
from modular_pluralism.prompts import PromptSet
from modular_pluralism.types import OptionDistribution, Scoring

Known = Callable[[State], Mapping[str, str]]
"""What a prompt is filled with, beside the options."""


def answer(
    models: PoolModels,
    prompts: PromptSet,
    prompt: str,
    *,
    known: Known,
    max_tokens: int,
    scoring: Scoring,
    samples: int,
) -> Step:
    """Step that writes the answer: a text in `answer`, or, where the question has options, the likeliest one in
    `choice` and all their probabilities in `distribution`.

    `prompt` names the prompt for a text; that for a choice is called the same with `_options` after it.
    """

    def step(state: State) -> Steps:
        model, seed = models.base(), derive_seed(state.get("seed") or 0, prompt)
        if state.get("options"):
            read = yield from _choose(state, seed)
            best = most_likely(read["probabilities"])
            return {"choice": state["options"][best], "answer": state["options"][best], "distribution": read}
        outcome = yield ask.text(model, prompts[prompt].render(**known(state)), max_tokens=max_tokens, seed=seed)
        reply = ask.reply(outcome, model.place)
        return {"answer": reply["text"], "usage": ask.usage(reply)}

    def _choose(state: State, seed: int) -> Generator[Call[Any], Outcome[Any], OptionDistribution]:
        model, options, values = models.base(), state["options"], known(state)
        if scoring == "text":
            return (yield from read_by_text(model, options, prompts[prompt].render(**values)))
        return (
            yield from read_by_label(
                model,
                options,
                lambda order: prompts[f"{prompt}_options"].render(**values, options=option_lines(prompts, order)),
                rotate=scoring == "rotate",
                samples=samples,
                seed=seed,
            )
        )

    return step
