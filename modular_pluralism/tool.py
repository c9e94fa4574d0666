"""The modes as tools that an agent's chat model can call."""

from __future__ import annotations

from collections.abc import Mapping
from inspect import signature
from pathlib import Path
from typing import Any

from langchain_core.runnables import RunnableConfig
from langchain_core.tools import BaseTool, StructuredTool, ToolException
from pydantic import BaseModel, Field, create_model

from modular_pluralism.checked import checked
from modular_pluralism.errors import PluralismError
from modular_pluralism.graphs.parts import Models, Parts
from modular_pluralism.modes import ModeDescription, find_mode, shown_answer
from modular_pluralism.pool import Pool
from modular_pluralism.prompts import PromptSet
from modular_pluralism.societal.account import chosen_in_words, notes_on_ballots
from modular_pluralism.types import Comment, Mode, Scoring, Voices

Told = tuple[str, dict[str, Any]]
"""What a tool returns: the text for the agent's model, and the question with the graph's result as the artifact."""


@checked
def pluralism_tool(
    pool: Pool | str | Path = "perspective",
    *,
    mode: Mode = "overton",
    scoring: Scoring = "rotate",
    voice: Voices = "comment",
    prompts: PromptSet | None = None,
    models: Models = None,
    seed: int | None = None,
    name: str | None = None,
    description: str | None = None,
    **settings: Any,
) -> BaseTool:
    """A mode as a tool for an agent; its arguments are the question and what else the mode needs.

    It returns a short text for the agent's model, and the question with the graph's result as the message's `artifact`.
    Tokens, callbacks and metadata reach the application that calls it. A run that fails raises ToolException with the
    reason; set `tool.handle_tool_error = True` to have the agent's model told it as an error instead.

    Args:
        pool: A pool, the name of a built-in one, or the path of a TOML file.
        mode: What the tool does.
        scoring: How option probabilities are read: "label", "rotate" or "text"; see `Scoring`.
        voice: How a community is heard in distributional mode: by its "comment", its "vote", its "record", or by
            several, as in "vote,record".
        prompts: Prompts in the place of the built-in ones.
        models: Your own LangChain chat models in the place of the pool's [models.*], by name.
        seed: Seeds every run of the tool (default 0).
        name: What the agent's model calls the tool (default: pluralism_MODE).
        description: What the agent's model is told of it (default: what the mode does, and whom it asks).
        settings: Whatever else the mode's builder takes, such as its `comments`.

    Returns:
        A LangChain tool.

    Raises:
        PoolError, PromptError: The pool or a prompt is unusable.
        ModelLoadError: `models` has a name that the pool has not. (The pool's models are opened by the first run.)
        InputError: There is no such mode, scoring or voice, the mode has no choice of voices, or its
            builder has no such argument.

    Example:
        ```python
        from langchain_core.language_models import FakeListChatModel

        from modular_pluralism import pluralism_tool

        mine = FakeListChatModel(responses=["any LangChain chat model"])
        tool = pluralism_tool("culture", mode="overton", models={"smollm2": mine})
        print(tool.name, tool.invoke({"question": "Should wages be public?"}))
        ```
    """
    described = find_mode(mode)
    described.check_settings(settings, beside=signature(pluralism_tool).parameters, what="pluralism_tool")
    parts = Parts(pool, prompts, models)
    given: dict[str, Any] = {"prompts": parts.prompts, "models": parts.models, "seed": seed, **settings}
    described_as = parts.descriptions
    asked = [described_as[name] for name in settings.get("communities") or described_as if name in described_as]
    graph = described.graph(parts.pool, scoring=scoring, voice=voice, **given)
    # A call of a tool is one step of the agent, not to be taken up in its middle.
    compiled = graph.compile(checkpointer=False, name=name or f"pluralism_{mode}")

    def call(question: str, config: RunnableConfig, **more: Any) -> Told:
        asked = {"question": question, **more}
        try:
            state = _whole({**asked, **compiled.invoke(asked, config)})
        except PluralismError as error:
            raise ToolException(str(error)) from error
        return _text(described, state), state

    async def acall(question: str, config: RunnableConfig, **more: Any) -> Told:
        asked = {"question": question, **more}
        try:
            state = _whole({**asked, **await compiled.ainvoke(asked, config)})
        except PluralismError as error:
            raise ToolException(str(error)) from error
        return _text(described, state), state

    return StructuredTool.from_function(
        call,
        acall,
        name=name or f"pluralism_{mode}",
        description=description or f"{described.tool} Asks {'; '.join(asked)}.",
        args_schema=_arguments(described),
        response_format="content_and_artifact",
    )


def _whole(state: dict[str, Any]) -> dict[str, Any]:
    """The state of a run that has come to its end.

    Raises:
        ToolException: a community or a stage has interrupted it, and there is nothing to resume it from.
    """
    if "__interrupt__" in state:
        raise ToolException("The run waits for a person's answer; give the agent a checkpointer, and resume it.")
    return state


_WHOSE = "The value, demographic or culture whose view it shall be."
_SCOPE = "What the question is about, where the contract has rules for that alone."


def _arguments(mode: ModeDescription) -> type[BaseModel]:
    """What the tool is called with: the question, and what else the mode takes."""
    said = {
        "attribute": (str, _SCOPE if mode.takes.choose else _WHOSE),
        "options": (list[str], "The possible answers, 2 to 26."),
    }
    fields: dict[str, Any] = {"question": (str, Field(description="The question, complete in itself."))}
    for part, (kind, description) in said.items():
        need = getattr(mode.takes, part)
        if need == "required":
            fields[part] = (kind, Field(description=description))
        elif need == "optional":
            fields[part] = (kind | None, Field(None, description=f"{description} Leave it out where there is none."))
    schema: type[BaseModel] = create_model(f"{mode.title}Arguments", **fields)
    return schema


def _text(mode: ModeDescription, state: dict[str, Any]) -> str:
    """The result in words, with what is to be known of its reliability."""
    lines = _distribution(state) if mode.result == "distribution" else [shown_answer(state)]
    if state.get("candidates"):
        lines += chosen_in_words(state)
    lines += _shortcomings(state)
    selected = state.get("selected")
    if selected:
        sure = "" if selected["probability"] is None else f" (probability {selected['probability']:.2f})"
        lines.append(f"In the light of what {selected['community']} said{sure}.")
    if state.get("missing"):
        lines.append(f"Without an answer from {', '.join(state['missing'])}.")
    return "\n".join(lines)


def _shortcomings(state: dict[str, Any]) -> list[str]:
    """What makes texts and probabilities less than they seem."""
    lines = []
    if (state.get("usage") or {}).get("finish_reason") == "length":
        lines.append("The answer was cut off by its token limit.")
    comments: Mapping[str, Comment] = state.get("comments") or {}
    cut = sorted(name for name, said in comments.items() if said["finish_reason"] == "length")
    if cut:
        lines.append(f"The comments of {', '.join(cut)} were cut off by their token limit.")
    whole = state.get("distribution")
    read = [whole] if isinstance(whole, Mapping) else list((state.get("distributions") or {}).values())
    lines += notes_on_ballots(state)
    drawn = [each["samples"] for each in read if each["samples"] is not None]
    if drawn:
        lines.append(
            f"Probabilities of options were estimated from {sum(drawn)} sampled replies in all, since a model does not "
            "report them."
        )
    return lines


def _distribution(state: dict[str, Any]) -> list[str]:
    lines = [f"{option}: {share:.1%}" for option, share in zip(state["options"], state["distribution"], strict=True)]
    if state.get("disagreement") is not None:
        lines.append(f"Disagreement between the communities: {state['disagreement']:.3f} nats.")
    mass = state.get("label_mass")
    if mass is not None and all(each["scoring"] == "text" for each in state["distributions"].values()):
        lines.append(f"Probability of the options' own words as the beginning of a reply: {mass:.2g}.")
    elif mass is not None:
        lines.append(f"Probability that the model answered with one of the options at all: {mass:.1%}.")
    return lines
