"""What a client can choose for a run: LangGraph's context, with the fields that LangGraph Studio shows.

Which communities there are depends on the pool, so a schema is made for each: it names the nodes that use a prompt.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from difflib import get_close_matches
from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model

from modular_pluralism.assistants.offered import offered_pools, offered_prompts
from modular_pluralism.errors import ContextError, PromptError
from modular_pluralism.pool import Pool
from modular_pluralism.prompts import Prompt, PromptSet
from modular_pluralism.types import Mode, Scoring, Voice

GraphName = Literal["overton", "steerable", "distributional", "pluralism"]

_COMMUNITIES = "communities"
_USED: dict[str, dict[str, str]] = {
    "overton": {"comment": _COMMUNITIES, "merge": "merge"},
    "steerable": {
        "comment": _COMMUNITIES,
        "comment_options": _COMMUNITIES,
        "select": "select",
        "respond": "respond",
        "respond_options": "respond",
    },
    "distributional": {
        "comment_options": _COMMUNITIES,
        "score": _COMMUNITIES,  # each community's branch is one node of the graph
        "score_text": _COMMUNITIES,
        "score_group": _COMMUNITIES,
        "score_group_text": _COMMUNITIES,
        "vote": _COMMUNITIES,
        "vote_text": _COMMUNITIES,
        "vote_group": _COMMUNITIES,
        "vote_group_text": _COMMUNITIES,
    },
}
"""The prompts of each mode, and the node that uses them."""


class RunContext(BaseModel):
    """What a run of any graph can be told, beside its question."""

    model_config = ConfigDict(frozen=True, strict=True)

    pool: str = Field("perspective", description="The community pool, by name.")
    prompts: str | None = Field(None, description="The prompts, by the name of their folder; none: the built-in ones.")
    seed: int | None = Field(None, description="The seed of questions that have none (default 0).")


class ScoredContext(RunContext):
    """The same, where option probabilities are read."""

    scoring: Scoring = Field("rotate", description="How option probabilities are read.")


class DistributionalContext(ScoredContext):
    """The same, where communities may be heard in other ways than by a comment."""

    voice: Voice = Field("comment", description="How communities are heard: by a comment, by their own vote, or both.")


class AnyModeContext(DistributionalContext):
    """The same, where questions may be of any mode."""

    mode: Mode | None = Field(None, description="The mode of questions that name none.")


_CONTEXTS: dict[GraphName, type[RunContext]] = {
    "overton": RunContext,
    "steerable": ScoredContext,
    "distributional": DistributionalContext,
    "pluralism": AnyModeContext,
}


_OF_LANGGRAPH = re.compile(r"__.*|langgraph_.*|x-.*|checkpoint_.*|(thread|run|assistant|graph|user|cron)_id")
"""Keys that LangGraph's server puts beside a client's own."""


def check_keys(graph: GraphName, given: Iterable[str]) -> None:
    """Raise ContextError for a key that the graph's context does not have: passing it over would run something else
    than what was asked for."""
    known = [*_CONTEXTS[graph].model_fields, *map(_field, _nodes_by_prompt(graph, ()))]
    for key in given:
        if key not in known and not _OF_LANGGRAPH.fullmatch(key):
            close = get_close_matches(key[:64], known, n=1)
            hint = f" (did you mean {close[0]!r}?)" if close else ""
            raise ContextError(f"The context of {graph} has no {key[:64]!r}{hint}; use {', '.join(known)}.")


def read_context(graph: GraphName, values: Mapping[str, Any]) -> RunContext:
    """The graph's context from a run's values, of which others' are passed over.

    Raises:
        ContextError: a value is of the wrong kind.
    """
    schema = _CONTEXTS[graph]
    try:
        return schema.model_validate({key: value for key, value in values.items() if key in schema.model_fields})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(map(str, first["loc"]))
        raise ContextError(f"The context's {key} is unusable: {first['msg']}. Correct it or leave it out.") from None


def edited_prompts(graph: GraphName, values: Mapping[str, Any], prompts: PromptSet) -> PromptSet:
    """The prompts, with those texts that the run's values give in the place of the files'.

    Raises:
        ContextError: one of them is no text, or does not use the variables that its prompt has.
    """
    built_in, changed = PromptSet.load(), {}
    for name in _nodes_by_prompt(graph, ()):
        text = values.get(_field(name))
        if text is None or text == built_in[name].text:  # Studio sends the defaults that it was shown
            continue
        if not isinstance(text, str):
            raise ContextError(f"The context's {_field(name)} is no text; write the prompt, or leave it out.")
        try:
            changed[name] = replace(prompts[name], text=text, path=f"the context's {_field(name)}", first_line=1)
            _ = changed[name].sections  # takes the text apart, which finds what is wrong with it
        except PromptError as error:
            raise ContextError(str(error)) from None
    if not changed:
        return prompts
    personas = {
        name: Prompt(name.removesuffix(".md"), "persona", (), 1, prompts.persona(name), name)
        for name in prompts.personas
    }
    return PromptSet({name: prompts[name] for name in prompts} | changed, personas)


def context_schema(graph: GraphName, pool: Pool, prompts: PromptSet) -> type[RunContext]:
    """The schema that a server shows for the graph: what can be chosen, and each prompt with the nodes that use it."""
    base = _CONTEXTS[graph]
    fields: dict[str, Any] = {
        "pool": (str, _offering(base, "pool", sorted(offered_pools()))),
        "prompts": (str | None, _offering(base, "prompts", [None, *sorted(offered_prompts())])),
    }
    for name, nodes in _nodes_by_prompt(graph, pool.communities).items():
        fields[_field(name)] = (
            str | None,
            Field(
                prompts[name].text,
                description=f"The prompt {name!r}; it takes {', '.join(prompts[name].variables)}.",
                json_schema_extra={"langgraph_nodes": nodes, "langgraph_type": "prompt"},
            ),
        )
    schema: type[RunContext] = create_model(f"{graph.capitalize()}Context", __base__=base, **fields)
    return schema


def _offering(base: type[RunContext], name: str, values: list[Any]) -> Any:
    field = base.model_fields[name]
    return Field(field.default, description=field.description, json_schema_extra={"enum": values})


def _nodes_by_prompt(graph: GraphName, communities: Iterable[str]) -> dict[str, list[Any]]:
    """The graph's prompts, and the nodes that use each; in the graph of all modes, those are the modes."""
    if graph == "pluralism":
        names = dict.fromkeys(name for mode in get_args(Mode) for name in _USED[mode])
        return {name: [mode for mode in get_args(Mode) if name in _USED[mode]] for name in names}
    return {name: list(communities) if node == _COMMUNITIES else [node] for name, node in _USED[graph].items()}


def _field(prompt: str) -> str:
    return f"{prompt}_prompt"
