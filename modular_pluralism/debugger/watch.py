"""Watching a run's model calls through LangChain's callbacks, without a change to what is asked."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
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
from modular_pluralism.models.answerer import Answerer
from modular_pluralism.models.calls import describe
from modular_pluralism.models.pool_models import PoolModel, PoolModels
from modular_pluralism.models.redaction import without_keys
from modular_pluralism.models.reply_parts import TokenCounts, logprobs_of
from modular_pluralism.nodes.ask import OWN_PART
from modular_pluralism.nodes.tools import shown_message

_READINGS: tuple[CallKind, ...] = ("label_probabilities", "text_logprobs")
_OF_LLAMA = ("temperature", "top_p", "top_k", "min_p", "context", "repeatable", "stop")
_OF_ANY = ("temperature", "top_p", "stop", "logprobs", "top_logprobs")
_OF_CALL = ("max_tokens", "max_completion_tokens", "seed", "temperature", "tools", "tool_choice")
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
        self._open: dict[UUID, _OpenCall] = {}
        self._failed: dict[UUID | None, _OpenCall] = {}
        self._readings: dict[UUID, _OpenCall] = {}
        self._count = 0

    async def on_chat_model_start(
        self,
        serialized: dict[str, Any],
        messages: list[list[BaseMessage]],
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        metadata: dict[str, Any] | None = None,
        **more: Any,
    ) -> None:
        """See LangChain."""
        if parent_run_id in self._readings:  # how an endpoint's probabilities are read: one call for each order
            self._readings[run_id] = self._readings[parent_run_id]
            return
        call = self._call("chat", metadata or {}, messages)
        call.record.settings = _settings(call.model, more.get("invocation_params") or {})
        self._begin(run_id, parent_run_id, call)

    async def on_chain_start(
        self,
        serialized: dict[str, Any] | None,
        inputs: Any,
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        metadata: dict[str, Any] | None = None,
        **more: Any,
    ) -> None:
        """See LangChain."""
        kind = more.get("name")
        if kind not in _READINGS or not isinstance(inputs, dict):
            return
        prompts = inputs["prompts"] if "prompts" in inputs else [inputs["prompt"]]
        call = self._call(kind, metadata or {}, prompts)
        call.record.settings = _file(call.model)
        call.record.labels, call.record.texts = inputs.get("labels"), inputs.get("texts")
        self._readings[run_id] = self._begin(run_id, parent_run_id, call)

    async def on_llm_end(self, response: LLMResult, *, run_id: UUID, **more: Any) -> None:
        """See LangChain."""
        generation = response.generations[0][0]
        assert isinstance(generation, ChatGeneration)
        message = generation.message
        if run_id in self._readings:
            self._readings.pop(run_id).add_tokens(message)
        elif call := self._open.pop(run_id, None):
            call.answered(message)
            self._end(call)

    async def on_chain_end(self, outputs: Any, *, run_id: UUID, **more: Any) -> None:
        """See LangChain."""
        if call := self._open.pop(run_id, None):
            self._readings.pop(run_id, None)
            call.read(outputs)
            self._end(call)
        self._give_up(run_id)

    async def on_llm_error(self, error: BaseException, *, run_id: UUID, **more: Any) -> None:
        """See LangChain."""
        self._readings.pop(run_id, None)
        if call := self._open.pop(run_id, None):
            call.record.errors.append(_reason(error))
            self._failed[call.parent] = call  # it may be tried again

    async def on_chain_error(self, error: BaseException, *, run_id: UUID, **more: Any) -> None:
        """See LangChain."""
        await self.on_llm_error(error, run_id=run_id)
        self._give_up(run_id)

    def close(self) -> None:
        """Tell of the calls that never ended: the run has."""
        for call in [*self._failed.values(), *self._open.values()]:
            if not call.record.errors:
                call.record.errors.append(_STOPPED)
            self._end(call)
        self._failed.clear()
        self._open.clear()

    def _call(self, kind: CallKind, metadata: dict[str, Any], prompts: Sequence[Sequence[BaseMessage]]) -> _OpenCall:
        community, role = metadata.get("community"), str(metadata.get("role") or "")
        model = None if OWN_PART in metadata else self._model(role, community)
        node = node_id(metadata["langgraph_node"], metadata["langgraph_checkpoint_ns"])
        place = without_keys(model.place if model else str(metadata.get("ls_model_name") or metadata[OWN_PART]))
        record = CallRecord(run=self._run, node=node, community=community, role=role, kind=kind, model=place)
        return _OpenCall(record, model, prompts)

    def _model(self, role: str, community: str | None) -> Answerer:
        speaks = role in ("comment", "vote")
        return self._models.answerer(community) if speaks and community else self._models.base()

    def _begin(self, run_id: UUID, parent: UUID | None, call: _OpenCall) -> _OpenCall:
        """A node makes one call after the other, so the one that has failed in it is either made again or over."""
        failed = self._failed.get(parent)
        if failed is not None and failed.asks_as(call):
            del self._failed[parent]
            failed.record.attempts += 1
            self._emit(NodeRetried(failed.record.node, failed.record.attempts, failed.record.errors[-1]))
            call = failed
        else:
            self._give_up(parent)
        call.parent = parent
        self._open[run_id] = call
        return call

    def _give_up(self, node: UUID | None) -> None:
        """What has failed in a node is not tried again."""
        if failed := self._failed.pop(node, None):
            self._end(failed)

    def _end(self, call: _OpenCall) -> None:
        self._count += 1
        record = call.record
        record.number = self._count
        record.seconds = round(time.monotonic() - call.began, 4)
        # Now that the call is over, an embedded model is loaded, and its chat template with it.
        record.prompts, record.note = sent_prompts(call.prompts, call.model, record.settings, load=False)
        self._emit(CallMade(record.node, record))


@dataclass
class _OpenCall:
    """A call that has begun, in the node whose run is `parent`; `model` is None of one that a part of the application's
    own has made, which is no model of the pool."""

    record: CallRecord
    model: Answerer | None
    prompts: Sequence[Sequence[BaseMessage]]
    parent: UUID | None = None
    began: float = field(default_factory=time.monotonic)

    def asks_as(self, other: _OpenCall) -> bool:
        """Whether the other asks the same once more."""
        one, two = self.record, other.record
        same = (one.kind, one.settings, one.labels, one.texts) == (two.kind, two.settings, two.labels, two.texts)
        return same and self.prompts == other.prompts

    def answered(self, message: BaseMessage) -> None:
        self.record.reply = without_keys(shown_message(message))
        if reasoning := message.additional_kwargs.get("reasoning_content"):
            self.record.reasoning = without_keys(str(reasoning))
        info = message.response_metadata
        self.record.finish_reason = info.get("finish_reason")
        if info.get("seed") is not None:
            self.record.settings["seed"] = info["seed"]
        self.add_tokens(message)

    def add_tokens(self, message: BaseMessage) -> None:
        counts, record = TokenCounts.of(message), self.record
        if counts.prompt is not None:
            record.prompt_tokens = (record.prompt_tokens or 0) + counts.prompt
            record.cached_tokens = (record.cached_tokens or 0) + (counts.cached or 0)
        if counts.completion is not None:
            record.completion_tokens = (record.completion_tokens or 0) + counts.completion
        if tokens := logprobs_of(message):
            record.token_logprobs = [*(record.token_logprobs or []), *tokens]

    def read(self, outputs: Any) -> None:
        if self.record.kind == "label_probabilities":
            self.record.raw = [list(reading.probabilities) for reading in outputs]
        else:
            self.record.logprobs = [[each if math.isfinite(each) else None for each in row] for row in outputs]


def _reason(error: BaseException) -> str:
    if isinstance(error, asyncio.CancelledError):
        return _STOPPED
    return without_keys(str(error) if isinstance(error, PluralismError) else describe(error))


def sent_prompts(
    prompts: Sequence[Sequence[BaseMessage]], model: Answerer | None, settings: Mapping[str, Any], *, load: bool
) -> tuple[list[SentPrompt], str | None]:
    """The prompts, and why it is not known what the model reads, where it is not: an embedded model that is not loaded
    is left alone, unless `load`. `settings` are those of the call.
    """
    sent = [
        SentPrompt(
            messages=[
                SentMessage(role=_ROLES.get(message.type, message.type), content=without_keys(shown_message(message)))
                for message in prompt
            ],
            text=None,
        )
        for prompt in prompts
    ]
    chat = _embedded(model)
    if chat is None:
        return sent, NO_TEMPLATE
    if not load and not chat.loaded:
        return sent, "What the model would read is not known: it was not loaded yet."
    try:
        for each, prompt in zip(sent, prompts, strict=True):
            each["text"] = without_keys(chat.prompt_text(prompt, tools=settings.get("tools") or ()))
    except PluralismError as error:
        return sent, f"What the model would read is not known: {error}"
    return sent, None


def _embedded(model: Answerer | None) -> ChatLlama | None:
    return model.chat if isinstance(model, PoolModel) and isinstance(model.chat, ChatLlama) else None


def _settings(model: Answerer | None, called_with: Mapping[str, Any]) -> dict[str, Any]:
    """The sampling of a call: the model's own, and over it what the call was given."""
    if (chat := _embedded(model)) is not None:
        own = {key: getattr(chat, key) for key in _OF_LLAMA}
    else:
        own = {key: called_with[key] for key in _OF_ANY if called_with.get(key) is not None}
    given = {key: called_with[key] for key in _OF_CALL if called_with.get(key) is not None}
    return {**_file(model), **own, **given}


def _file(model: Answerer | None) -> dict[str, Any]:
    if (chat := _embedded(model)) is None:
        return {}
    adapter = chat.adapter
    with_adapter = {} if adapter is None else {"adapter": adapter.path.name, "adapter_scale": adapter.scale}
    return {"file": chat.file.name, **with_adapter}
