"""What a client can choose for a run: LangGraph's context, with the fields that LangGraph Studio shows.

Which communities there are depends on the pool, so a schema is made for each: it names the nodes that use a prompt.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model

from modular_pluralism.assistants.offered import offered_pools, offered_prompts, usual_pool
from modular_pluralism.checked import hint
from modular_pluralism.errors import ContextError, PromptError
from modular_pluralism.modes import Takes, every_voices, find_mode, modes
from modular_pluralism.pool import Pool
from modular_pluralism.prompts import PromptSet
from modular_pluralism.types import Scoring

PLURALISM = "pluralism"
"""The graph of all modes, which stands beside the graph of each."""


class RunContext(BaseModel):
    """What a run of any graph can be told, beside its question."""

    model_config = ConfigDict(frozen=True, strict=True)

    pool: str = Field(default_factory=usual_pool, description="The community pool, by name.")
    prompts: str | None = Field(None, description="The prompts, by the name of their folder; none: the built-in ones.")
    seed: int | None = Field(None, description="The seed of questions that have none (default 0).")


def _context(graph: str) -> type[RunContext]:
    """What a run of this graph can be told."""
    takes = Takes(options="optional", voice=True) if graph == PLURALISM else find_mode(graph).takes
    fields: dict[str, Any] = {}
    if takes.scoring:
        fields["scoring"] = (Scoring, Field("rotate", description="How option probabilities are read."))
    if takes.voice:
        said = "How communities are heard: by a comment, their own vote, their record, or several of these."
        fields["voice"] = (Literal[every_voices()], Field("comment", description=said))
    if graph == PLURALISM:
        fields["mode"] = (
            Literal[tuple(modes())] | None,
            Field(None, description="The mode of questions that name none."),
        )
    context: type[RunContext] = create_model(f"{graph.capitalize()}Context", __base__=RunContext, **fields)
    return context


_OF_LANGGRAPH = re.compile(r"__.*|langgraph_.*|x-.*|checkpoint_.*|(thread|run|assistant|graph|user|cron)_id")
"""Keys that LangGraph's server puts beside a client's own."""


def check_keys(graph: str, given: Iterable[str]) -> None:
    """Raise ContextError for a key that the graph's context does not have: passing it over would run something else
    than what was asked for."""
    known = [*_context(graph).model_fields, *map(_field, _nodes_by_prompt(graph))]
    for key in given:
        if key not in known and not _OF_LANGGRAPH.fullmatch(key):
            meant = hint(key, known)
            raise ContextError(f"The context of {graph} has no {key[:64]!r}{meant}; use {', '.join(known)}.")


def read_context(graph: str, values: Mapping[str, Any]) -> RunContext:
    """The graph's context from a run's values, of which others' are passed over.

    Raises:
        ContextError: a value is of the wrong kind.
    """
    schema = _context(graph)
    try:
        return schema.model_validate({key: value for key, value in values.items() if key in schema.model_fields})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(map(str, first["loc"]))
        raise ContextError(f"The context's {key} is unusable: {first['msg']}. Correct it or leave it out.") from None


def edited_prompts(graph: str, values: Mapping[str, Any], prompts: PromptSet) -> PromptSet:
    """The prompts, with those texts that the run's values give in the place of the files'.

    Raises:
        ContextError: one of them is no text, or does not use the variables that its prompt has.
    """
    built_in, changed = PromptSet.load(), {}
    for name in _nodes_by_prompt(graph):
        text = values.get(_field(name))
        if text is None or text == built_in[name].text:  # Studio sends the defaults that it was shown
            continue
        if not isinstance(text, str):
            raise ContextError(f"The context's {_field(name)} is no text; write the prompt, or leave it out.")
        try:
            changed[name] = prompts[name].with_text(text, f"the context's {_field(name)}")
        except PromptError as error:
            raise ContextError(str(error)) from None
    return prompts.with_prompts(changed)


def context_schema(graph: str, pool: Pool, prompts: PromptSet) -> type[RunContext]:
    """The schema that a server shows for the graph: what can be chosen, and each prompt with the nodes that use it."""
    base = _context(graph)
    fields: dict[str, Any] = {
        "pool": (str, _offering(base, "pool", usual_pool(), sorted(offered_pools()))),
        "prompts": (str | None, _offering(base, "prompts", None, [None, *sorted(offered_prompts())])),
    }
    for name, nodes in _nodes_by_prompt(graph, pool.communities).items():
        of_langgraph: dict[str, Any] = {"langgraph_nodes": nodes, "langgraph_type": "prompt"}
        fields[_field(name)] = (
            str | None,
            Field(
                prompts[name].text,
                description=f"The prompt {name!r}; it takes {', '.join(prompts[name].variables)}.",
                json_schema_extra=of_langgraph,
            ),
        )
    schema: type[RunContext] = create_model(f"{graph.capitalize()}Context", __base__=base, **fields)
    return schema


def _offering(base: type[RunContext], name: str, usual: str | None, values: list[Any]) -> Any:
    field = base.model_fields[name]
    return Field(usual, description=field.description, json_schema_extra={"enum": values})


def _nodes_by_prompt(graph: str, communities: Iterable[str] = ()) -> dict[str, list[str]]:
    """The graph's prompts, and the nodes of it that use each, however options are read and communities heard. In the
    graph of all modes, those are the modes."""
    nodes_of: dict[str, dict[str, None]] = {}
    for mode in modes().values() if graph == PLURALISM else [find_mode(graph)]:
        for node in (node for settings in mode.every_setting() for node in mode.nodes(**settings)):
            names = [mode.name] if graph == PLURALISM else list(communities) if node.community else [node.name]
            for prompt in _whole(node.prompts):
                nodes_of.setdefault(prompt, {}).update(dict.fromkeys(names))
    return {prompt: list(names) for prompt, names in nodes_of.items()}


def _whole(names: Iterable[str]) -> list[str]:
    """Those prompts that do not stand inside others. A prompt that a mode brings itself is its own affair."""
    built_in = PromptSet.load()
    return [name for name in names if name in built_in and built_in[name].mode != "fragment"]


def _field(prompt: str) -> str:
    return f"{prompt}_prompt"
