"""The base LLM answers: in its own words, or by choosing one of the question's options."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Any

from modular_pluralism.models.calls import Call, Outcome
from modular_pluralism.models.pool_models import PoolModels
from modular_pluralism.nodes import ask
from modular_pluralism.nodes.read_options import read_by_label, read_by_text
from modular_pluralism.nodes.render import option_lines
from modular_pluralism.nodes.step import Body, QuestionParts, State, Steps, derive_seed, step_maker
from modular_pluralism.option_math import most_likely
from modular_pluralism.prompts import PromptSet
from modular_pluralism.types import OptionDistribution, Scoring

Known = Callable[[State], Mapping[str, str]]
"""What a prompt is filled with, beside the options."""


def _prompts(question: QuestionParts, arguments: Mapping[str, Any]) -> Sequence[str]:
    name = _prompt(question.attribute, arguments["prompt"], arguments["group_prompt"])
    return [f"{name}_options", "option"] if question.options and arguments["scoring"] != "text" else [name]


def _prompt(attribute: bool, prompt: str, group_prompt: str | None) -> str:
    return group_prompt if group_prompt is not None and attribute else prompt


@step_maker(prompts=_prompts)
def answer(
    models: PoolModels,
    prompts: PromptSet,
    prompt: str,
    *,
    known: Known,
    max_tokens: int,
    scoring: Scoring,
    samples: int,
    group_prompt: str | None = None,
) -> Body:
    """Step that writes the answer: a text in `answer`, or, where the question has options, the likeliest one in
    `choice` and all their probabilities in `distribution`.

    `prompt` names the prompt for a text; that for a choice is called the same with `_options` after it.
    `group_prompt` takes its place where the question has an attribute.
    """

    def step(state: State) -> Steps:
        model, name = models.base(), _prompt(bool(state.get("attribute")), prompt, group_prompt)
        seed, options = derive_seed(state.get("seed") or 0, name), state.get("options")
        if options:
            read = yield from _choose(options, known(state), name, seed)
            best = most_likely(read["probabilities"])
            return {"choice": options[best], "answer": options[best], "distribution": read}
        outcome = yield ask.text(model, prompts[name].render(**known(state)), max_tokens=max_tokens, seed=seed)
        reply = ask.reply(outcome, model.place)
        return {"answer": reply["text"], "usage": ask.usage(reply)}

    def _choose(
        options: Sequence[str], values: Mapping[str, str], name: str, seed: int
    ) -> Generator[Call[Any], Outcome[Any], OptionDistribution]:
        model = models.base()
        if scoring == "text":
            return (yield from read_by_text(model, options, prompts[name].render(**values)))
        return (
            yield from read_by_label(
                model,
                options,
                lambda order: prompts[f"{name}_options"].render(**values, options=option_lines(prompts, order)),
                rotate=scoring == "rotate",
                samples=samples,
                seed=seed,
            )
        )

    return step
