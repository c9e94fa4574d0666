"""Chats with a mode: each answer is a run of its graph."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from functools import lru_cache
from typing import Any

from modular_pluralism.errors import ContextOverflowError, InputError, ModelCallError
from modular_pluralism.graphs.state import in_pool_order
from modular_pluralism.llama import ChatLlama
from modular_pluralism.models.pool_models import PoolModel, PoolModels
from modular_pluralism.models.redaction import KeylessText
from modular_pluralism.modes import ModeDescription, written_texts
from modular_pluralism.nodes.comment import RECORD_ERRORS, comment_prompt
from modular_pluralism.nodes.evidence import evidence_for
from modular_pluralism.nodes.quorum import attendance
from modular_pluralism.pool import Pool
from modular_pluralism.prompts import PromptSet
from modular_pluralism.serving.answers import Delta, End, Event, Facts, Known, Tokens
from modular_pluralism.serving.api_error import ApiError
from modular_pluralism.serving.mode_question import question_of
from modular_pluralism.serving.schemas import ChatRequest, Effort
from modular_pluralism.types import Scoring, Voices


class ModeTalk:
    """Implements Talker for one mode of a pool."""

    def __init__(
        self,
        mode: ModeDescription,
        pool: Pool,
        models: PoolModels,
        prompts: PromptSet,
        scoring: Scoring,
        voice: Voices = "comment",
    ) -> None:
        self._mode = mode
        self._facts = [key for key in mode.results if key not in ("answer", "tool_calls", "usage")]
        self._pool = pool
        self._models = models
        self._prompts = prompts
        self._scoring = scoring
        self._voice: Voices = voice if mode.takes.voice else "comment"
        # Few: whoever asks for ever new settings only costs themselves the building of a graph.
        self._graph = lru_cache(maxsize=32)(self._built)
        self._graph(None, None, None, None, None)  # finds what is wrong with the pool before anybody asks

    async def events(self, request: ChatRequest) -> AsyncIterator[Event]:
        """See Talker. Of a stream, a text comes as it is written; a choice or a distribution comes whole."""
        asked, graph = await asyncio.to_thread(self._asked, request)  # which may take seconds
        state: dict[str, Any] = {}
        written = Written()
        kinds = ["messages", "values"] if request.stream else ["values"]
        parts: Any = graph.astream(asked, stream_mode=kinds, subgraphs=True)
        async for namespace, kind, data in parts:
            if kind == "values" and not namespace:
                state = data
            elif kind == "messages" and data[1]["langgraph_node"] == self._mode.writer:
                text = written.add(data[0].id, str(data[0].text))
                if text and written.text == text:
                    yield Known(self._known(state, asked["seed"]))
                if text:
                    yield Delta(0, text)
        text, facts = self._outcome(state, asked["seed"])
        calls = [{"index": at, **call} for at, call in enumerate(state.get("tool_calls") or ())]
        if not written.text:
            yield Known(facts)
        if not written.text and (text or not calls):
            yield Delta(0, text)
        elif not text.startswith(written.text):
            raise ModelCallError("The answer's parts do not make up the answer; ask again without streaming.")
        elif rest := text[len(written.text) :]:  # what was held back of its end
            yield Delta(0, rest)
        if calls:
            yield Delta(0, "", calls=calls)
        yield End(0, _finish_reason(state), _tokens(state), facts)

    def _asked(self, request: ChatRequest) -> tuple[dict[str, Any], Any]:
        """The graph's input, and the graph with the request's settings."""
        _refuse_what_a_run_has_not(self._mode, request)
        asked = question_of(self._mode, request, request.first_seed())
        schema = _schema(request, options=bool(asked.get("options")))
        self._check_length(asked)
        sampling = (request.temperature, request.engine_top_p, request.reasoning_effort)
        if schema is not None and (asked.get("tools") or asked.get("tool_messages")):
            raise ApiError(
                400, "response_format is not for an answer that may call tools; leave one of them out.", param="tools"
            )
        try:
            return asked, self._graph(request.most_tokens, *sampling, schema)
        except InputError as error:
            raise ApiError(400, str(error), param="response_format.json_schema.schema") from None

    def _built(
        self,
        answer_tokens: int | None,
        temperature: float | None,
        top_p: float | None,
        effort: Effort | None,
        schema: str | None,
    ) -> Any:
        """Temperature, top_p and effort hold for every text of the run, the communities' too."""
        given = {"temperature": temperature, "top_p": top_p}
        sampling = {name: value for name, value in given.items() if value is not None}
        run = self._pool.run.model_copy(update={} if answer_tokens is None else {"answer_tokens": answer_tokens})
        pool = self._pool.model_copy(update={"run": run})
        settings: dict[str, Any] = {
            "models": self._models.sampled(pool, sampling, effort) if sampling or effort else self._models,
            "prompts": self._prompts,
            **({} if schema is None else {"answer_schema": json.loads(schema)}),
        }
        return self._mode.graph(pool, scoring=self._scoring, voice=self._voice, **settings).compile()

    def _check_length(self, asked: Mapping[str, Any]) -> None:
        """In a run a community that cannot read the question is missing, and the run fails for want of a quorum; but
        a question that is too long is the client's to mend."""
        for name in self._pool.communities:
            model = self._models.answerer(name)
            if not isinstance(model, PoolModel) or not isinstance(chat := model.chat, ChatLlama):
                continue
            evidence = None
            with suppress(*RECORD_ERRORS):  # the run tells of it
                evidence = evidence_for(name, self._models, asked, self._pool.evidence_of(name))
            prompt = comment_prompt(self._pool.persona_text(name, self._prompts), self._prompts, asked, evidence)
            tokens = len(chat.prompt_tokens(prompt)) + 1
            if tokens > chat.engine.context:
                raise ContextOverflowError(
                    f"The prompt needs {tokens} tokens for {name} and its context holds {chat.engine.context}; shorten "
                    "the question."
                )

    def _known(self, state: Mapping[str, Any], seed: int) -> Facts:
        """The facts of a run whose communities have been heard."""
        missing = attendance(state, list(self._pool.communities), 0).missing if "comments" in state else []
        selected = {"selected": state["selected"]} if state.get("selected") else {}
        return {"mode": self._mode.name, "pool": self._pool.name, "seed": seed, "missing": missing, **selected}

    def _outcome(self, state: Mapping[str, Any], seed: int) -> tuple[str, Facts]:
        """The message's content, and the facts of the run."""
        if not state or self._mode.result not in state:
            raise ModelCallError(f"The run of pluralism/{self._mode.name} ended without a result.")
        facts: Facts = {"mode": self._mode.name, "pool": self._pool.name, "seed": seed, "samples": _samples(state)}
        facts |= {key: state[key] for key in self._facts if state.get(key) is not None}
        facts = in_pool_order(facts, list(self._pool.communities))
        if self._mode.result == "answer":
            return str(state["answer"]), facts
        told = {
            "distribution": dict(zip(state["options"], state["distribution"], strict=True)),
            **{key: state.get(key) for key in ("label_mass", "disagreement", "missing")},
            "samples": facts["samples"],
        }
        return json.dumps(told, ensure_ascii=False), facts


class Written:
    """The parts of an answer. They are stripped as a whole answer is, hold no keys, and must come from one reply."""

    def __init__(self) -> None:
        self.text = ""
        self._held = ""
        self._keyless = KeylessText()
        self._reply: str | None = None

    def add(self, reply: str | None, text: str) -> str:
        """What of the answer has become certain.

        Raises:
            ModelCallError: the model was asked once more, after parts of its first reply were told.
        """
        if self.text and reply != self._reply:
            raise ModelCallError("The model's reply broke off and was begun anew; ask again.")
        if reply != self._reply:
            self._reply, self._held, self._keyless = reply, "", KeylessText()
        whole = self._held + self._keyless.passed(text)
        if not self.text:
            whole = whole.lstrip()
        certain = whole.rstrip()
        self._held = whole[len(certain) :]
        self.text += certain
        return certain


def _schema(request: ChatRequest, *, options: bool) -> str | None:
    """The JSON schema, as text, that the answer has to follow.

    Raises:
        ApiError: 400, the answer is one of the options.
    """
    wanted = request.response_format
    if wanted is None or wanted.type == "text":
        return None
    if options:
        raise ApiError(
            400,
            "response_format is for a written answer, and here it is one of the options; leave one of them out.",
            param="response_format",
        )
    if wanted.json_schema is None:
        return json.dumps({"type": "object"})
    name = wanted.json_schema.name
    return json.dumps({**({"title": name} if name else {}), **wanted.json_schema.definition})


def _refuse_what_a_run_has_not(mode: ModeDescription, request: ChatRequest) -> None:
    for name, asked in (
        ("n", request.choices > 1),
        ("stop", bool(request.stop)),
        ("logprobs", bool(request.logprobs)),
        ("response_format", request.format != "text" and not mode.structured),
        ("parallel_tool_calls", request.parallel_tool_calls is False and bool(request.tool_settings())),
    ):
        if asked:
            raise ApiError(
                400,
                f"{name} is not supported by pluralism/{mode.name}; leave it out, or ask a community or the base LLM.",
                param=name,
                code="unsupported_field",
            )


def _finish_reason(state: Mapping[str, Any]) -> str:
    return str((state.get("usage") or {}).get("finish_reason") or "stop")


def _tokens(state: Mapping[str, Any]) -> Tokens:
    """Of every text that the run wrote; reading probabilities is not counted."""
    calls = written_texts(state)
    costs = (Tokens(call["prompt_tokens"], call["cached_tokens"], call["completion_tokens"]) for call in calls)
    return sum(costs, Tokens())


def _samples(state: Mapping[str, Any]) -> int | None:
    """How many replies stand behind each distribution, where it was estimated from replies."""
    read = state.get("distribution")
    readings = [*(state.get("distributions") or {}).values(), *([read] if isinstance(read, dict) else [])]
    return next((reading["samples"] for reading in readings if reading["samples"] is not None), None)
