"""A chat model behind one endpoint, which takes nothing for a reply that is none."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_openai import ChatOpenAI
from pydantic import PrivateAttr

from modular_pluralism.errors import ModelCallError
from modular_pluralism.models.redaction import redact

LONGEST_TOKEN = 64
"""Characters; the longest tokens of real vocabularies are runs of spaces of about this length."""


class RemoteChat(ChatOpenAI):
    """ChatOpenAI, whose replies are checked as they come. `place` is what messages call the model.

    Half a character (a lone surrogate, which JSON can hold and UTF-8 cannot) is replaced by U+FFFD, since nobody could
    print, save or send it on.

    Raises (at a call, besides what ChatOpenAI raises):
        ConnectionError: the reply broke off before its end.
        LookupError: the reply holds no text at all, not even an empty one.
        ModelCallError: the reply is a refusal, a call of a tool, or far longer than `max_tokens`.
    """

    _place: str = PrivateAttr(default="the endpoint")

    def __init__(self, *, place: str, **settings: Any) -> None:
        super().__init__(**settings)
        self._place = place

    def pluralism_identity(self) -> list[Any]:
        """See HasIdentity."""
        return ["openai", self.openai_api_base, self.model_name, self.temperature, self.top_p]

    def _generate(self, *args: Any, **settings: Any) -> ChatResult:
        return self._checked(super()._generate(*args, **settings), settings)

    async def _agenerate(self, *args: Any, **settings: Any) -> ChatResult:
        return self._checked(await super()._agenerate(*args, **settings), settings)

    def _stream(self, *args: Any, **settings: Any) -> Iterator[ChatGenerationChunk]:
        check = _StreamCheck(self._place, settings.get("max_tokens"))
        for chunk in super()._stream(*args, **settings):
            yield check.passed(chunk)
        check.ended()

    async def _astream(self, *args: Any, **settings: Any) -> AsyncIterator[ChatGenerationChunk]:
        check = _StreamCheck(self._place, settings.get("max_tokens"))
        async for chunk in super()._astream(*args, **settings):
            yield check.passed(chunk)
        check.ended()

    def _checked(self, result: ChatResult, settings: dict[str, Any]) -> ChatResult:
        if not result.generations:
            raise LookupError("it holds no choices")
        for generation in result.generations:
            _StreamCheck(self._place, settings.get("max_tokens")).whole(generation)
        return result


class _StreamCheck:
    """Checks one reply, chunk by chunk or whole."""

    def __init__(self, place: str, max_tokens: int | None) -> None:
        self._place = place
        self._most = None if max_tokens is None else max_tokens * LONGEST_TOKEN
        self._length = 0
        self._finished = False
        self._called_tool = False
        self._refusal = ""

    def whole(self, generation: ChatGeneration) -> None:
        self.passed(generation)
        self.ended()

    def passed(self, generation: Any) -> Any:
        message = generation.message
        self._finished = self._finished or bool((generation.generation_info or {}).get("finish_reason"))
        self._called_tool = self._called_tool or bool(
            getattr(message, "tool_call_chunks", None)
            or getattr(message, "tool_calls", None)
            or getattr(message, "invalid_tool_calls", None)
        )
        self._refusal += str(message.additional_kwargs.get("refusal") or "")
        _mend(generation)
        self._length += len(str(message.text))
        if self._most is not None and self._length > self._most:
            raise ModelCallError(
                f"{self._place} sent more than {self._most} characters, where it was asked for at most "
                f"{self._most // LONGEST_TOKEN} tokens; check that it obeys max_tokens."
            )
        return generation

    def ended(self) -> None:
        if not self._finished:
            raise ConnectionError("the reply broke off before its end")
        if self._length:
            return
        if self._refusal:
            raise ModelCallError(f"{self._place} refused to answer: {_short(self._refusal)}.")
        if self._called_tool:
            raise ModelCallError(
                f"{self._place} called a tool instead of answering, though it was given none; use another model."
            )


def _mend(generation: Any) -> None:
    content = generation.message.content
    if isinstance(content, str) and not _is_unicode(content):
        generation.message.content = generation.text = _mended(content)
    elif isinstance(content, list):
        generation.message.content = [
            {**block, "text": _mended(block["text"])}
            if isinstance(block, dict) and isinstance(block.get("text"), str)
            else block
            for block in content
        ]


def _mended(text: str) -> str:
    return text if _is_unicode(text) else text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _short(text: str) -> str:
    line = " ".join(redact(text).split()).rstrip(" .")
    return line if len(line) <= 300 else f"{line[:297]}..."
