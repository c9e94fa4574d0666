"""Watching a run's model calls through LangChain's callbacks, without a change to what is asked."""

from __future__ import annotations

import asyncio
import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from itertools import groupby
from typing import Any
from uuid import UUID

from langchain_core.callbacks import AsyncCallbackHandler
from langchain_core.messages import BaseMessage
from langchain_core.outputs import ChatGeneration, LLMResult

from modular_pluralism.debugger.build import node_id
from modular_pluralism.debugger.events import CallMade, Event, NodeRetried
from modular_pluralism.debugger.records import CallKind, CallRecord, SentMessage, SentPrompt
from modular_pluralism.errors import PluralismError
from modular_pluralism.llama.chat_model import ChatLlama
from modular_pluralism.models.calls import describe
from modular_pluralism.models.pool_models import PoolModel, PoolModels
from modular_pluralism.models.redaction import redact

_READINGS: tuple[CallKind, ...] = ("label_probabilities", "text_logprobs")
_OF_LLAMA = ("temperature", "top_p", "top_k", "min_p", "context", "repeatable", "stop")
_OF_ANY = ("temperature", "top_p", "stop", "logprobs", "top_logprobs")
_OF_CALL = ("max_tokens", "max_completion_tokens", "seed", "temperature")
NO_TEMPLATE = "What the model reads is not known: a chat template is applied where the model runs."
_STOPPED = "It was stopped before it ended: by somebody, or by the deadline."
_ROLES = {"human": "user", "ai": "assistant"}


class CallWatcher(AsyncCallbackHandler):
    """Makes a record of every model call of a run, and tells `emit` of it. Calls are numbered from 1 as they end."""

    run_inline = True  # in the order in which things happen

    def __init__(self, run: str, models: PoolModels, emit: Callable[[Event], None]) -> None:
        self._run = run
        self._models = models
        self._emit = emit
        self._open: dict[UUID, _Open] = {}
        self._failed: dict[str, _Open] = {}
        self._readings: dict[UUID, _Open] = {}
        self._count = 0

    async def on_chat_model_start(
        self,
        serialized: dict[str, Any],
        messages: list[list[BaseMessage]],
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        tags: list[str] | None = None,
        metadata: dict[str, Any] | None = None,
        **more: Any,
    ) -> None:
        """See LangChain."""
        if parent_run_id in self._readings:  # how an endpoint's probabilities are read: one call for each order
            self._readings[run_id] = self._readings[parent_run_id]
            return
        given = {"prompts": messages, "settings": more.get("invocation_params") or {}}
        await self._begin(run_id, parent_run_id, "chat", metadata or {}, given)

    async def on_chain_start(
        self,
        serialized: dict[str, Any] | None,
        inputs: Any,
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        tags: list[str] | None = None,
        metadata: dict[str, Any] | None = None,
        **more: Any,
    ) -> None:
        """See LangChain."""
        kind = more.get("name")
        if kind not in _READINGS or not isinstance(inputs, dict):
            return
        prompts = inputs["prompts"] if "prompts" in inputs else [inputs["prompt"]]
        given = {"prompts": prompts, "labels": inputs.get("labels"), "texts": inputs.get("texts")}
        self._readings[run_id] = await self._begin(run_id, parent_run_id, kind, metadata or {}, given)

    async def on_llm_end(self, response: LLMResult, *, run_id: UUID, **more: Any) -> None:
        """See LangChain."""
        message = _message(response)
        if run_id in self._readings:
            self._readings.pop(run_id).add_tokens(message)
        elif opened := self._open.pop(run_id, None):
            opened.answered(message)
            self._end(opened)

    async def on_chain_end(self, outputs: Any, *, run_id: UUID, **more: Any) -> None:
        """See LangChain."""
        if opened := self._open.pop(run_id, None):
            self._readings.pop(run_id, None)
            opened.read(outputs)
            self._end(opened)
        self._give_up(str(run_id))

    async def on_llm_error(self, error: BaseException, *, run_id: UUID, **more: Any) -> None:
        """See LangChain."""
        self._readings.pop(run_id, None)
        self._fail(run_id, error)

    async def on_chain_error(self, error: BaseException, *, run_id: UUID, **more: Any) -> None:
        """See LangChain."""
        self._readings.pop(run_id, None)
        self._fail(run_id, error)
        self._give_up(str(run_id))

    def close(self) -> None:
        """Tell of the calls that never ended: the run has."""
        for opened in [*self._failed.values(), *self._open.values()]:
            if not opened.record["errors"]:
                opened.record["errors"].append(_STOPPED)
            self._end(opened)
        self._failed.clear()
        self._open.clear()

    async def _begin(
        self, run_id: UUID, parent: UUID | None, kind: CallKind, metadata: dict[str, Any], given: dict[str, Any]
    ) -> _Open:
        community, role = metadata.get("community"), str(metadata.get("role") or "")
        node = node_id(metadata["langgraph_node"], metadata["langgraph_checkpoint_ns"])
        same = f"{parent} {node} {kind} {_text(given)}"
        again = self._failed.pop(same, None)
        if again is not None:
            again.record["attempts"] += 1
            self._emit(NodeRetried(node, again.record["attempts"], again.record["errors"][-1]))
            self._open[run_id] = again
            return again
        speaks = role in ("comment", "vote")
        model = self._models.community(community) if speaks and community else self._models.base()
        loaded = await _load(model)
        record = new_record(self._run, node, community, role, kind, model, given["prompts"], loaded=loaded)
        record["settings"] = _settings(model, given.get("settings") or {}) if kind == "chat" else _file(model)
        record["labels"], record["texts"] = given.get("labels"), given.get("texts")
        opened = self._open[run_id] = _Open(record, same)
        return opened

    def _fail(self, run_id: UUID, error: BaseException) -> None:
        opened = self._open.pop(run_id, None)
        if opened is None:
            return
        opened.record["errors"].append(_reason(error))
        self._failed[opened.same] = opened  # it may be tried again

    def _give_up(self, run_id: str) -> None:
        """A node has ended: what failed in it is not tried again."""
        for same in [same for same in self._failed if same.startswith(f"{run_id} ")]:
            self._end(self._failed.pop(same))

    def _end(self, opened: _Open) -> None:
        self._count += 1
        record = opened.record
        record["number"] = self._count
        record["seconds"] = round(time.monotonic() - opened.began, 4)
        self._emit(CallMade(record["node"], record))


class _Open:
    """A call that has begun; `same` is equal for another try of it."""

    def __init__(self, record: CallRecord, same: str) -> None:
        self.record = record
        self.same = same
        self.began = time.monotonic()

    def answered(self, message: BaseMessage) -> None:
        self.record["reply"] = without_keys(str(message.text))
        info = message.response_metadata
        self.record["finish_reason"] = info.get("finish_reason")
        if info.get("seed") is not None:
            self.record["settings"]["seed"] = info["seed"]
        self.add_tokens(message)

    def add_tokens(self, message: BaseMessage) -> None:
        usage: Any = getattr(message, "usage_metadata", None) or {}
        record = self.record
        if usage:
            cached = (usage.get("input_token_details") or {}).get("cache_read") or 0
            record["prompt_tokens"] = (record["prompt_tokens"] or 0) + usage["input_tokens"]
            record["completion_tokens"] = (record["completion_tokens"] or 0) + usage["output_tokens"]
            record["cached_tokens"] = (record["cached_tokens"] or 0) + cached
        tokens = (message.response_metadata.get("logprobs") or {}).get("content")
        if tokens:
            record["token_logprobs"] = [*(record["token_logprobs"] or []), *tokens]

    def read(self, outputs: Any) -> None:
        if self.record["kind"] == "label_probabilities":
            self.record["raw"] = [list(reading.probabilities) for reading in outputs]
        else:
            self.record["logprobs"] = [[each if math.isfinite(each) else None for each in row] for row in outputs]


def new_record(
    run: str,
    node: str,
    community: str | None,
    role: str,
    kind: CallKind,
    model: PoolModel | None,
    prompts: Sequence[Sequence[BaseMessage]],
    *,
    loaded: bool = True,
) -> CallRecord:
    """The record of a call of which nothing is known yet but what is asked. An embedded model that is not `loaded` is
    left alone."""
    sent, problem = ([], None) if model is None else _sent(prompts, model, loaded)
    return CallRecord(
        run=run,
        number=0,
        node=node,
        community=community,
        role=role,
        kind=kind,
        model="" if model is None else without_keys(model.place),
        prompts=sent,
        note=problem,
        settings={},
        reply=None,
        finish_reason=None,
        labels=None,
        raw=None,
        texts=None,
        logprobs=None,
        token_logprobs=None,
        prompt_tokens=None,
        completion_tokens=None,
        cached_tokens=None,
        seconds=None,
        attempts=1,
        errors=[],
        rebuilt=False,
    )


def _reason(error: BaseException) -> str:
    if isinstance(error, asyncio.CancelledError):
        return _STOPPED
    return without_keys(str(error) if isinstance(error, PluralismError) else describe(error))


def without_keys(text: str) -> str:
    """The text without any known key, and otherwise as it is: raw output stays raw."""
    if text.isprintable():
        return redact(text)
    return "".join(
        redact(part) if printable else part
        for printable, chars in groupby(text, str.isprintable)
        for part in ["".join(chars)]
    )


async def _load(model: PoolModel) -> bool:
    """Have the weights loaded, which the chat template comes with, without holding up the event loop. Returns whether
    that was not broken off."""
    try:
        if isinstance(model.chat, ChatLlama):
            with suppress(PluralismError):  # the call itself will say so
                await model.chat.aload()
    except asyncio.CancelledError:
        # LangChain forgets its other callbacks where this one raises: the end comes at what is awaited next.
        task = asyncio.current_task()
        assert task is not None
        task.uncancel()
        task.cancel()
        return False
    return True


def _sent(
    prompts: Sequence[Sequence[BaseMessage]], model: PoolModel, loaded: bool
) -> tuple[list[SentPrompt], str | None]:
    """The prompts, and why it is not known what the model reads, where it is not."""
    sent = [
        SentPrompt(
            messages=[
                SentMessage(role=_ROLES.get(each.type, each.type), content=without_keys(str(each.text)))
                for each in prompt
            ],
            text=None,
        )
        for prompt in prompts
    ]
    if not isinstance(model.chat, ChatLlama):
        return sent, NO_TEMPLATE
    if not loaded:
        return sent, "What the model would read is not known: it was not loaded yet."
    try:
        for each, prompt in zip(sent, prompts, strict=True):
            each["text"] = without_keys(model.chat.prompt_text(prompt))
    except PluralismError as error:
        return sent, f"What the model would read is not known: {error}"
    return sent, None


def _settings(model: PoolModel, called_with: Mapping[str, Any]) -> dict[str, Any]:
    """The sampling of a call: the model's own, and over it what the call was given."""
    if isinstance(model.chat, ChatLlama):
        own = {key: getattr(model.chat, key) for key in _OF_LLAMA}
    else:
        own = {key: called_with[key] for key in _OF_ANY if called_with.get(key) is not None}
    given = {key: called_with[key] for key in _OF_CALL if called_with.get(key) is not None}
    return {**_file(model), **own, **given}


def _file(model: PoolModel) -> dict[str, Any]:
    if not isinstance(model.chat, ChatLlama):
        return {}
    adapter = model.chat.adapter
    with_adapter = {} if adapter is None else {"adapter": adapter.path.name, "adapter_scale": adapter.scale}
    return {"file": model.chat.gguf.name, **with_adapter}


def _message(response: LLMResult) -> BaseMessage:
    generation = response.generations[0][0]
    assert isinstance(generation, ChatGeneration)
    return generation.message


def _text(given: Mapping[str, Any]) -> str:
    prompts = [[(each.type, each.content) for each in prompt] for prompt in given["prompts"]]
    settings = {key: value for key, value in (given.get("settings") or {}).items() if key in _OF_CALL}
    return json.dumps([prompts, settings], sort_keys=True, default=repr)
