"""Steerable: the base LLM answers, conditioned on the selected comment (section 3)."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from modular_pluralism.models.calls import Call, Outcome
from modular_pluralism.models.pool_models import PoolModels
from modular_pluralism.nodes import ask
from modular_pluralism.nodes.read_options import read_by_label, read_by_text
from modular_pluralism.nodes.render import one_line, option_lines
from modular_pluralism.nodes.step import State, Step, Steps, derive_seed
from modular_pluralism.prompts import PromptSet
from modular_pluralism.types import OptionDistribution, Scoring


def respond(models: PoolModels, prompts: PromptSet, *, max_tokens: int, scoring: Scoring, samples: int) -> Step:
    """Step that writes the answer: a text in `answer`, or, where the question has options, the likeliest one in
    `choice` and all their probabilities in `distribution`."""

    def step(state: State) -> Steps:
        comment = one_line(state["comments"][state["selected"]["community"]]["text"])
        known = {"question": state["question"], "attribute": state["attribute"], "comment": comment}
        if state.get("options"):
            read = yield from _choose(models, prompts, known, state, scoring, samples)
            best = max(range(len(state["options"])), key=read["probabilities"].__getitem__)
            return {"choice": state["options"][best], "answer": state["options"][best], "distribution": read}
        model = models.base()
        outcome = yield ask.text(
            model,
            prompts["respond"].render(**known),
            max_tokens=max_tokens,
            seed=derive_seed(state.get("seed") or 0, "respond"),
        )
        reply = ask.reply(outcome, model.place)
        return {"answer": reply["text"], "usage": ask.usage(reply)}

    return step


def _choose(
    models: PoolModels, prompts: PromptSet, known: dict[str, str], state: State, scoring: Scoring, samples: int
) -> Generator[Call[Any], Outcome[Any], OptionDistribution]:
    model, options = models.base(), state["options"]
    if scoring == "text":
        return (yield from read_by_text(model, options, prompts["respond"].render(**known)))
    return (
        yield from read_by_label(
            model,
            options,
            lambda order: prompts["respond_options"].render(**known, options=option_lines(prompts, order)),
            rotate=scoring == "rotate",
            samples=samples,
            seed=derive_seed(state.get("seed") or 0, "respond"),
        )
    )
