"""A chat model behind one endpoint, which takes nothing for a reply that is none."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

from langchain_core.messages import AIMessageChunk
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_openai import ChatOpenAI
from pydantic import PrivateAttr

from modular_pluralism.errors import ModelCallError, NoRoomError
from modular_pluralism.llama.thinking import ThoughtSplitter
from modular_pluralism.models.calls import ODD_REPLY
from modular_pluralism.models.redaction import KeylessChunks, keyless, redact
from modular_pluralism.models.refusals import reason, shortened
from modular_pluralism.models.remote_terms import Terms, TermsOf
from modular_pluralism.models.reply_parts import (
    TokenCounts,
    checked_usage,
    mended,
    reasoning_of,
    split_thoughts,
    without_thoughts,
)

LONGEST_TOKEN = 64
"""Characters; the longest tokens of real vocabularies are runs of spaces of about this length."""


MOST_PARTS = 2**14
"""Parts of a stream, besides four a token that was asked for: LangChain keeps each, which takes some KB."""


SHORT_REPLY = 64
"""Tokens; replies up to this limit are labels and numbers, for which nobody sets a budget."""


class ReplyError(Exception):
    """An error that came in the place of a reply, under a status that promised one."""

    def __init__(self, body: object) -> None:
        self.body = body
        code = body.get("code") if isinstance(body, dict) else None
        self.status_code = code if isinstance(code, int) and 400 <= code < 600 else None
        super().__init__(reason(body) or "it sent an error without a reason")


class RemoteChat(ChatOpenAI):
    """ChatOpenAI, whose replies are checked as they come. `place` is what messages call the model.

    What the endpoint refuses is learnt (see TermsOf), and the call goes on in other terms. Reasoning is kept apart from
    the text, as `additional_kwargs["reasoning_content"]`; `reasoning_tokens` are added to every limit for it. Half a
    character (a lone surrogate, which JSON can hold and UTF-8 cannot) is replaced by U+FFFD, since nobody could print,
    save or send it on.

    Raises (at a call, besides what ChatOpenAI raises):
        ConnectionError: the reply broke off before its end.
        ModelCallError: the reply is no chat completion, a refusal, a call of a tool that it was not given, reasoning
            only, or far longer than `max_tokens`.
        ReplyError: the endpoint sent an error in the place of a reply.
    """

    _place: str = PrivateAttr(default="the endpoint")
    _reasoning_tokens: int = PrivateAttr(default=0)
    _terms: TermsOf = PrivateAttr()

    def __init__(self, *, place: str, reasoning_tokens: int = 0, **settings: Any) -> None:
        super().__init__(**settings)
        # Set once more, since for some names langchain-openai leaves it out without a word.
        self.temperature = settings.get("temperature")
        self._place = place
        self._reasoning_tokens = reasoning_tokens
        self._terms = TermsOf(place, self.openai_api_base, self.model_name)

    def pluralism_identity(self) -> list[Any]:
        """See HasIdentity."""
        same = ["openai", self.openai_api_base, self.model_name, self.temperature, self.top_p]
        further = (self.reasoning_effort, self.extra_body, self._reasoning_tokens)
        return [*same, *further] if any(further) else same  # as it was before there was more

    def takes_logprobs(self) -> bool:
        """Whether the model has not refused to report log-probabilities so far."""
        return self._terms.now().logprobs > 0

    def _should_stream(self, **how: Any) -> bool:
        # Whoever listens to a run makes LangChain stream every call. Not every endpoint reports probabilities in a
        # stream, and one token is not worth one.
        return not (how.get("logprobs") and how.get("max_tokens") == 1) and super()._should_stream(**how)

    def _get_request_payload(self, *args: Any, **settings: Any) -> dict[str, Any]:
        payload = super()._get_request_payload(*args, **settings)
        for name in ("max_completion_tokens", "max_tokens"):
            if isinstance(payload.get(name), int) and not payload.get("logprobs"):
                payload[name] += self._reasoning_tokens
        return self._terms.now().applied(payload)

    def _generate(self, *args: Any, **settings: Any) -> ChatResult:
        while True:
            before = self._terms.now()
            try:
                with self._border():
                    result = super()._generate(*args, **settings)
                return self._checked(result, settings)
            except Exception as error:
                if not self._again(error, before, settings):
                    raise

    async def _agenerate(self, *args: Any, **settings: Any) -> ChatResult:
        while True:
            before = self._terms.now()
            try:
                with self._border():
                    result = await super()._agenerate(*args, **settings)
                return self._checked(result, settings)
            except Exception as error:
                if not self._again(error, before, settings):
                    raise

    def _stream(self, *args: Any, **settings: Any) -> Iterator[ChatGenerationChunk]:
        said = False
        while True:
            before = self._terms.now()
            check = self._check(settings)
            try:
                chunks = super()._stream(*args, **settings)
                while True:
                    with self._border():
                        made = next(chunks, None)
                    if made is None:
                        break
                    chunk = check.passed(made)
                    said = said or _says_something(chunk)
                    yield chunk
                yield from check.rest()
                check.ended()
                return
            except Exception as error:
                if said or not self._again(error, before, settings):
                    raise

    async def _astream(self, *args: Any, **settings: Any) -> AsyncIterator[ChatGenerationChunk]:
        said = False
        while True:
            before = self._terms.now()
            check = self._check(settings)
            try:
                chunks = super()._astream(*args, **settings)
                while True:
                    with self._border():
                        made = await anext(chunks, None)
                    if made is None:
                        break
                    chunk = check.passed(made)
                    said = said or _says_something(chunk)
                    yield chunk
                for last in check.rest():
                    yield last
                check.ended()
                return
            except Exception as error:
                if said or not self._again(error, before, settings):
                    raise

    @contextmanager
    def _border(self) -> Iterator[None]:
        """What the clients' own code says of a reply that it takes for something else is said in our words: it is the
        endpoint's mistake."""
        try:
            yield
        except ODD_REPLY as error:
            raise self._unreadable(f"{type(error).__name__}: {shortened(redact(str(error)))}") from error

    def _unreadable(self, why: str) -> ModelCallError:
        return ModelCallError(
            f"{self._place} sent a reply that could not be read ({why}); check that base_url is the address of an "
            "OpenAI-compatible endpoint."
        )

    def _again(self, error: Exception, before: Terms, settings: dict[str, Any]) -> bool:
        """Whether to send the request once more, in other terms."""
        if isinstance(error, NoRoomError):
            if before.room or (settings.get("max_tokens") or 0) > SHORT_REPLY:
                return False
            self._terms.give_room(before)
            return True
        return self._terms.learn(error, before)

    def _check(self, settings: dict[str, Any]) -> _StreamCheck:
        asked = settings.get("max_tokens")
        room = self._reasoning_tokens + self._terms.now().room
        logprobs, tools = bool(settings.get("logprobs")), bool(settings.get("tools"))
        return _StreamCheck(self._terms, asked, room, logprobs=logprobs, tools=tools)

    def _checked(self, result: ChatResult, settings: dict[str, Any]) -> ChatResult:
        if not result.generations:
            raise self._unreadable("it holds no choices")
        for generation in result.generations:
            self._check(settings).whole(generation)
        return result

    def _create_chat_result(self, response: Any, generation_info: dict[str, Any] | None = None) -> ChatResult:
        data = keyless(response if isinstance(response, dict | str) else response.model_dump(warnings=False))
        if isinstance(data, str):
            raise self._unreadable(f"no chat completion, but {_short(reason(data)) or 'nothing'}")
        if data.get("error"):
            raise ReplyError(data["error"])
        choices = data.get("choices")
        if not isinstance(choices, list) or not all(
            isinstance(each, dict) and isinstance(each.get("message"), dict) for each in choices
        ):
            raise self._unreadable(f"it holds no choices{': ' * bool(reason(data))}{_short(reason(data))}")
        thoughts = []
        for choice in choices:
            message = choice["message"] = {**choice["message"], "role": "assistant"}
            _check_calls(message)
            thought, content = reasoning_of(message), _text_of(message.get("content"))
            if content:
                inside, content = split_thoughts(content)
                thought = thought or inside
            message["content"] = content
            thoughts.append(thought)
            # The body has come whole: an endpoint that does not say why it ends has ended all the same.
            choice["finish_reason"] = _finish(choice.get("finish_reason")) or "stop"
        result = super()._create_chat_result({**data, "usage": checked_usage(data.get("usage"))}, generation_info)
        for generation, thought, choice in zip(result.generations, thoughts, choices, strict=True):
            extra = generation.message.additional_kwargs
            if choice["message"].get("refusal"):
                extra["refusal"] = choice["message"]["refusal"]
            if thought:
                extra["reasoning_content"] = mended(thought)
        return result

    def _convert_chunk_to_generation_chunk(
        self, chunk: dict[str, Any], default_chunk_class: type, base_generation_info: dict[str, Any] | None
    ) -> ChatGenerationChunk | None:
        chunk = keyless(chunk)
        choices = chunk.get("choices")
        if not isinstance(choices, list):
            raise ReplyError(chunk.get("error") or chunk)
        usage = checked_usage(chunk.get("usage"))
        thought = ""
        if choices:
            if not isinstance(choices[0], dict) or not isinstance(choices[0].get("delta") or {}, dict):
                raise LookupError("a part of it holds no choices")
            choice = dict(choices[0])
            delta = choice["delta"] = {**(choice.get("delta") or {}), "role": "assistant"}
            _check_calls(delta)
            thought, delta["content"] = reasoning_of(delta), _text_of(delta.get("content"))
            choice["finish_reason"] = _finish(choice.get("finish_reason"))
            choices = [choice]
        made = super()._convert_chunk_to_generation_chunk(
            {**chunk, "choices": choices, "usage": usage}, default_chunk_class, base_generation_info
        )
        if made is not None and choices and choices[0]["delta"].get("refusal"):
            made.message.additional_kwargs["refusal"] = choices[0]["delta"]["refusal"]
        if made is not None and thought:
            made.message.additional_kwargs["reasoning_content"] = mended(thought)
        return made


def _says_something(chunk: ChatGenerationChunk) -> bool:
    return bool(chunk.message.text or getattr(chunk.message, "tool_call_chunks", None))


def _finish(reason: object) -> str | None:
    return reason if isinstance(reason, str) and reason else None


def _text_of(content: object) -> str | None:
    """The text of a message or a delta, which some endpoints send in blocks. (LangChain takes blocks in a stream for
    the parts of one list.)"""
    content = without_thoughts(content)
    if isinstance(content, list):
        said = (block.get("text") if isinstance(block, dict) else block for block in content)
        return "".join(text for text in said if isinstance(text, str))
    if content is None or isinstance(content, str):
        return content
    raise LookupError("what stands for its text is none")


def _check_calls(message: dict[str, Any]) -> None:
    calls = message.get("tool_calls")
    if calls and not (
        isinstance(calls, list)
        and all(isinstance(each, dict) and isinstance(each.get("function"), dict) for each in calls)
    ):
        raise LookupError("it calls a tool, in a form that is not OpenAI's")


class _StreamCheck:
    """Checks one reply, chunk by chunk or whole."""

    def __init__(self, terms: TermsOf, max_tokens: int | None, room: int, *, logprobs: bool, tools: bool) -> None:
        self._terms = terms
        self._place = terms.place
        self._asked = max_tokens
        self._given = None if max_tokens is None else max_tokens + room
        self._most = None if self._given is None else self._given * LONGEST_TOKEN
        self._logprobs = logprobs
        self._tools = tools
        self._most_parts = MOST_PARTS + 4 * (self._given or 0)
        self._parts = 0
        self._length = 0
        self._finish = ""
        self._called_tool = False
        self._reasoned = False
        self._refusal = ""
        self._splitter = ThoughtSplitter()
        self._keyless = KeylessChunks()
        self._spent = 0

    def whole(self, generation: ChatGeneration) -> None:
        self._splitter = ThoughtSplitter()
        self._note(generation)
        self.ended()

    def passed(self, chunk: ChatGenerationChunk) -> ChatGenerationChunk:
        """The chunk, without reasoning in its text, and without keys."""
        self._parts += 1
        if self._parts > self._most_parts:
            raise ModelCallError(
                f"{self._place} sent a reply in more than {self._most_parts} parts; check that it obeys max_tokens."
            )
        if isinstance(chunk.message.content, str) and chunk.message.content:
            thought, text = self._splitter.passed(chunk.message.content)
            _set_parts(chunk, thought, text)
        if isinstance(chunk.message, AIMessageChunk):
            chunk.message = self._keyless.passed(chunk.message)
            chunk.text = str(chunk.message.text)
        self._note(chunk)
        return chunk

    def rest(self) -> Iterator[ChatGenerationChunk]:
        """What was held back of a stream that has ended."""
        thought, text = self._splitter.ended()
        if thought or text:
            chunk = ChatGenerationChunk(message=AIMessageChunk(content=""))
            _set_parts(chunk, thought, text)
            yield self.passed(chunk)
        if (message := self._keyless.rest()) is not None:
            chunk = ChatGenerationChunk(message=message)
            self._note(chunk)
            yield chunk

    def _note(self, generation: Any) -> None:
        message = generation.message
        self._finish = str((generation.generation_info or {}).get("finish_reason") or self._finish)
        self._called_tool = self._called_tool or bool(
            getattr(message, "tool_call_chunks", None)
            or getattr(message, "tool_calls", None)
            or getattr(message, "invalid_tool_calls", None)
            or message.additional_kwargs.get("function_call")
        )
        self._refusal += str(message.additional_kwargs.get("refusal") or "")
        counts = TokenCounts.of(message)
        if counts.completion is not None:
            self._spent = max(self._spent, counts.completion)
            # Its count comes after all else of a stream: some endpoints say nothing more of the end.
            self._finish = self._finish or ("" if message.content else "stop")
        self._reasoned = self._reasoned or bool(message.additional_kwargs.get("reasoning_content") or counts.reasoning)
        _mend(generation)
        self._length += len(str(message.text))
        if self._most is not None and self._length > self._most:
            raise ModelCallError(
                f"{self._place} sent more than {self._most} characters, where it was asked for at most "
                f"{self._most // LONGEST_TOKEN} tokens; check that it obeys max_tokens."
            )

    def ended(self) -> None:
        if not self._finish:
            raise ConnectionError("the reply broke off before its end")
        if self._given is not None:
            self._terms.note_length(self._spent, self._given)
        if self._length or self._logprobs:
            return
        if self._refusal:
            raise ModelCallError(f"{self._place} refused to answer: {_short(self._refusal)}.")
        if self._called_tool and self._tools:
            return
        if self._called_tool:
            raise ModelCallError(
                f"{self._place} called a tool instead of answering, though it was given none; use another model."
            )
        if self._reasoned:
            spent = f"all {self._spent or self._asked or ''} tokens".replace("  ", " ")
            raise NoRoomError(
                f"{self._place} spent {spent} on reasoning and wrote no text; set reasoning_tokens in its [models.*] "
                "table (tokens for reasoning besides those of the text), or a lower reasoning_effort."
            )


def _set_parts(chunk: ChatGenerationChunk, thought: str, text: str) -> None:
    chunk.message.content = chunk.text = text
    if thought:
        extra = chunk.message.additional_kwargs
        extra["reasoning_content"] = str(extra.get("reasoning_content") or "") + thought


def _mend(generation: Any) -> None:
    content = generation.message.content
    if (whole := mended(content)) != content:
        generation.message.content = generation.text = whole


def _short(text: str) -> str:
    return shortened(redact(text))
