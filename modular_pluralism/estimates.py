"""What a question would cost, before any model is asked: the steps of its graph are gone through with empty replies."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from inspect import signature
from pathlib import Path
from typing import Any, Literal

from langchain_core.messages import AIMessage, BaseMessage
from langgraph.graph import StateGraph

from modular_pluralism.checked import checked
from modular_pluralism.errors import NoLogProbabilitiesError
from modular_pluralism.graphs.parts import Models
from modular_pluralism.graphs.shape import GraphNode, graph_nodes
from modular_pluralism.llama.chat_model import ChatLlama, turns
from modular_pluralism.llama.chat_template import ChatTemplate
from modular_pluralism.llama.model_file import ModelFile
from modular_pluralism.models.answerer import OwnPart
from modular_pluralism.models.calls import CallResult
from modular_pluralism.models.option_reader import LabelReading
from modular_pluralism.models.pool_models import PoolModels
from modular_pluralism.modes import find_mode
from modular_pluralism.nodes.ask import ModelCall
from modular_pluralism.nodes.request import Request
from modular_pluralism.pool import Pool
from modular_pluralism.prompts import PromptSet
from modular_pluralism.types import Cost, Estimate, Mode, RoleEstimate, Scoring, Voices

_CHARACTERS = 4
"""Of English a token, where the tokenizer is not here; and a message's frame is about as many tokens."""


@checked
def estimate(
    question: str,
    pool: Pool | str | Path = "perspective",
    *,
    mode: Mode = "overton",
    attribute: str | None = None,
    options: Sequence[str] | None = None,
    scoring: Scoring = "rotate",
    voice: Voices = "comment",
    prompts: PromptSet | None = None,
    models: Models = None,
    **more: Any,
) -> Estimate:
    """What a question costs at most if every community answers at its first try. No model is asked, and no weights are
    loaded, but those of an embedding model that a pool's records are searched by.

    Args:
        question: The question.
        pool: A pool, the name of a built-in one, or the path of a TOML file.
        mode: The mode that it is asked in.
        attribute: The value, demographic or culture that is asked for.
        options: The possible answers, 2 to 26.
        scoring: How option probabilities are read: "label", "rotate" or "text"; see `Scoring`.
        voice: How a community is heard in distributional mode: by its "comment", its "vote", its "record", or by
            several, as in "vote,record".
        prompts: Prompts in the place of the built-in ones.
        models: Your own LangChain chat models in the place of the pool's [models.*], by name.
        more: What else the mode's builder takes and changes its calls, such as `communities`, `comments` and stages of
            your own. A stage counts as one call, of which it is not known what it asks itself.

    Returns:
        Calls and tokens, for every role of every model and in all.

    Raises:
        InputError: A part of the question is missing, unusable, or not for this mode; or its builder has no
            such argument.
        PoolError, PromptError: The pool or a prompt is unusable.
        ModelLoadError: A model's file is not on this machine, or the variable with its API key is not set.
        NoLogProbabilitiesError: The scoring needs log-probabilities that the model cannot report.

    Example:
        ```python
        from langchain_core.language_models import FakeListChatModel

        from modular_pluralism import estimate

        mine = FakeListChatModel(responses=["any LangChain chat model"])
        cost = estimate("Is it right to lie?", "culture", mode="distributional", options=["Yes", "No"],
                        models={"smollm2": mine})
        print(cost["total"]["calls"], cost["sampled"])
        ```
    """
    given = None if options is None else list(options)
    request = Request(question=question, mode=mode, attribute=attribute, options=given, scoring=scoring, voice=voice)
    opened = pool if isinstance(pool, Pool) else Pool.load(pool)
    of_pool = models if isinstance(models, PoolModels) else PoolModels(opened, models, download=False)
    described = find_mode(mode)
    beside = [*signature(estimate).parameters, "answer_schema"]  # as many calls as without, if the first reply follows
    described.check_settings(more, beside=beside, what="estimate")
    graph = described.graph(opened, scoring=scoring, voice=voice, prompts=prompts, models=of_pool, **more)
    return estimate_graph(graph, request.asked(), mode=mode, pool=opened.name)


def estimate_graph(
    graph: StateGraph[Any, Any, Any, Any], asked: Mapping[str, Any], *, mode: str, pool: str
) -> Estimate:
    """The same of a graph of this package that is not compiled, for its input. Errors are those of `estimate`."""
    with closing(_Tokens()) as tokens:
        read, sampled = (_costs(_calls(graph, asked, sampling=sampling), tokens) for sampling in (False, True))
    rows = [
        RoleEstimate(
            role=role,
            model=model,
            **cost,
            tokens=tokens.known(role, model),
            sampled=sampled[role, model] if sampled[role, model] != cost else None,
        )
        for (role, model), cost in read.items()
    ]
    total, all_sampled = _sum(read.values()), _sum(sampled.values())
    return Estimate(
        mode=mode, pool=pool, roles=rows, total=total, sampled=all_sampled if all_sampled != total else None
    )


def most_calls(graph: StateGraph[Any, Any, Any, Any], asked: Mapping[str, Any]) -> tuple[int, int]:
    """How many calls a question takes where the models report log-probabilities, and where those that are not embedded
    report none."""
    read, sampled = (sum(map(len, _prompts(_calls(graph, asked, sampling=each)))) for each in (False, True))
    return read, sampled


@dataclass(frozen=True)
class _Asked:
    """One call: prompts, each of which is sent by itself, the tokens of the longest reply to each, and what is read
    after it."""

    role: str
    call: ModelCall[Any]
    prompts: Sequence[Sequence[BaseMessage]]
    most: int
    read: Sequence[str] = ()

    @property
    def at_once(self) -> bool:
        return "settings" not in self.call.given


def _prompts(calls: Iterable[_Asked]) -> Iterator[Sequence[Sequence[BaseMessage]]]:
    return (each.prompts for each in calls)


def _calls(graph: StateGraph[Any, Any, Any, Any], asked: Mapping[str, Any], *, sampling: bool) -> list[_Asked]:
    """Every call of a run; where `sampling`, models that are not embedded report no log-probabilities."""
    state: dict[str, Any] = dict(asked)
    found: list[_Asked] = []
    for node in graph_nodes(graph):
        update = _walk(node, state, found, sampling=sampling)
        for key, value in update.items():
            old = state.get(key)
            state[key] = {**old, **value} if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return found


def _walk(node: GraphNode, state: Mapping[str, Any], found: list[_Asked], *, sampling: bool) -> Mapping[str, Any]:
    """Go through a node's step, and note what it asks; returns what it would write."""
    if node.key is None:
        return {}
    begun, label = node.key.step.begin(state), None
    while (call := begun.call) is not None:
        given = call.given
        if "labels" in given and sampling and not _is_embedded(call):
            label = given["labels"][0]
            begun.failed(NoLogProbabilitiesError(f"{call.model.place} does not offer log-probabilities."))
        elif "texts" in given and not _is_embedded(call):
            begun.failed(NoLogProbabilitiesError(f"{call.model.place} cannot score given texts."))
        else:
            found.append(_noted(node.role, call))
            begun.answered(CallResult(_reply(call, label), 0.0, 1))
    return begun.update


def _is_embedded(call: ModelCall[Any]) -> bool:
    return isinstance(call.model.runnable, ChatLlama)


def _noted(role: str, call: ModelCall[Any]) -> _Asked:
    given = call.given
    if "labels" in given:
        return _Asked(role, call, given["prompts"], 0 if _is_embedded(call) else 1)
    if "texts" in given:
        return _Asked(role, call, [given["prompt"]], 0, given["texts"])
    if "settings" in given:
        most = int(given["settings"].get("max_tokens") or 0)
        return _Asked(role, call, [given["messages"]], most + _reasoning(call.model.runnable))
    return _Asked(role, call, [[]], 0)  # of the application's own, see _Tokens


def _reasoning(chat: Any) -> int:
    """Tokens that a reply may take besides those of its text."""
    thinking = getattr(chat, "thinking", None)
    return thinking if isinstance(thinking, int) else int(getattr(chat, "_reasoning_tokens", 0))


def _reply(call: ModelCall[Any], label: str | None) -> Any:
    """A reply as long as may be, or one that names the label."""
    given = call.given
    if "labels" in given:
        share = 1 / len(given["labels"])
        return [LabelReading((share,) * len(given["labels"])) for _ in given["prompts"]]
    if "texts" in given:
        return [[-1.0] for _ in given["texts"]]
    if isinstance(call.model, OwnPart) and call.stage:
        return _of_stage(given)
    most = int(given.get("settings", {}).get("max_tokens") or 1)
    return AIMessage(label or " ".join(["word"] * most))


def _of_stage(given: Mapping[str, Any]) -> Any:
    """What a stage of the application's own could say, whichever it is."""
    if "distributions" in given:
        return next(iter(given["distributions"].values()))
    if "comment" in given:
        return None  # it stays
    if "selected" in given:
        return (given["options"] or ["word"])[0]
    return given["comments"][0]["community"]  # a selection, and as a merge a text


def _costs(calls: Iterable[_Asked], tokens: _Tokens) -> dict[tuple[str, str], Cost]:
    costs: dict[tuple[str, str], Cost] = {}
    for each in calls:
        key = (each.role, each.call.model.place)
        cost = Cost(
            calls=len(each.prompts),
            prompt_tokens=sum(tokens.of(key, each, prompt) for prompt in each.prompts),
            completion_tokens=each.most * len(each.prompts),
        )
        costs[key] = _sum([costs[key], cost]) if key in costs else cost
    return costs


def _sum(costs: Iterable[Cost]) -> Cost:
    listed = list(costs)
    return Cost(
        calls=sum(each["calls"] for each in listed),
        prompt_tokens=sum(each["prompt_tokens"] for each in listed),
        completion_tokens=sum(each["completion_tokens"] for each in listed),
    )


class _Tokens:
    """Counts tokens with the tokenizer of embedded models, for which their vocabularies are read, and guesses those of
    others, and of what the application brings it knows none. `_counted` are the roles and models of which the counts
    are no guess, and `_own` those of the application."""

    def __init__(self) -> None:
        self._counted: set[tuple[str, str]] = set()
        self._own: set[tuple[str, str]] = set()
        self._templates: dict[int, ChatTemplate] = {}
        self._files: dict[Path, ModelFile] = {}

    def close(self) -> None:
        for file in self._files.values():
            file.close()

    def known(self, role: str, model: str) -> Literal["counted", "estimated", "unknown"]:
        if (role, model) in self._own:
            return "unknown"
        return "counted" if (role, model) in self._counted else "estimated"

    def of(self, key: tuple[str, str], asked: _Asked, prompt: Sequence[BaseMessage]) -> int:
        chat = asked.call.model.runnable
        if isinstance(asked.call.model, OwnPart):
            self._own.add(key)
        if not isinstance(chat, ChatLlama):
            return sum(math.ceil(len(str(message.text)) / _CHARACTERS) + _CHARACTERS for message in prompt)
        self._counted.add(key)
        template, file = self._template(chat)
        replies = sum(len(file.tokenize(text, parse_special=False)) for text in asked.read)
        return len(template.tokens(turns(prompt), answered_at_once=asked.at_once)) + replies

    def _template(self, chat: ChatLlama) -> tuple[ChatTemplate, ModelFile]:
        path = chat.engine_settings.gguf
        if path not in self._files:
            self._files[path] = ModelFile(path, vocabulary_only=True)
        file, key = self._files[path], id(chat)
        if key not in self._templates:
            self._templates[key] = ChatTemplate(
                file,
                raw=not chat.template,
                template=chat.template_text,
                variables=chat.template_kwargs,
                thinking=chat.thinking != "off",
            )
        return self._templates[key], file
