"""Chat models for tests of the graphs' logic: scripted, failing or hanging, and remembering what they were asked."""

from __future__ import annotations

import math
import re
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from pydantic import PrivateAttr

from modular_pluralism.pool import Community, Pool, RemoteModel, RunSettings

SEARCH = {"type": "function", "function": {"name": "search", "description": "Look it up.", "parameters": {}}}
"""A tool as OpenAI has it."""
NAMES = ("north", "east", "south", "west", "centre", "abroad")


class Seen(NamedTuple):
    """One request: the whole prompt as text, and the settings that came with it."""

    prompt: str
    settings: dict[str, Any]


class FakeChat(BaseChatModel):
    """Says what `say` returns for a prompt; raises it where it is an error. Words are streamed one by one."""

    say: Callable[[Seen], str | Exception]

    _seen: list[Seen] = PrivateAttr(default_factory=list)
    _lock: Any = PrivateAttr(default_factory=threading.Lock)

    @property
    def seen(self) -> list[Seen]:
        """The requests so far; parallel ones in no certain order."""
        return self._seen

    @property
    def prompts(self) -> list[str]:
        return [each.prompt for each in self._seen]

    @property
    def seeds(self) -> list[Any]:
        return [each.settings.get("seed") for each in self._seen]

    def info(self, seen: Seen) -> dict[str, Any]:
        """What stands in `response_metadata`."""
        return {"finish_reason": "stop"}

    def answer(self, messages: Sequence[BaseMessage], settings: dict[str, Any]) -> AIMessage:
        seen = Seen("\n".join(f"[{each.type}]\n{each.text}" for each in messages), settings)
        with self._lock:
            self._seen.append(seen)
        said = self.say(seen)
        if isinstance(said, Exception):
            raise said
        usage = {"input_tokens": 7, "output_tokens": len(said.split()), "total_tokens": 7 + len(said.split())}
        return AIMessage(said, usage_metadata=usage, response_metadata=self.info(seen))

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        return ChatResult(generations=[ChatGeneration(message=self.answer(messages, kwargs))])

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        for chunk in self._chunks(self.answer(messages, kwargs)):
            if run_manager:
                run_manager.on_llm_new_token(chunk.text, chunk=chunk)
            yield chunk

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        for chunk in self._chunks(self.answer(messages, kwargs)):
            if run_manager:
                await run_manager.on_llm_new_token(chunk.text, chunk=chunk)
            yield chunk

    def _chunks(self, message: AIMessage) -> Iterator[ChatGenerationChunk]:
        for word in re.findall(r"\S+\s*", str(message.text)):
            yield ChatGenerationChunk(message=AIMessageChunk(content=word))
        last = AIMessageChunk(
            content="", response_metadata=message.response_metadata, usage_metadata=message.usage_metadata
        )
        yield ChatGenerationChunk(message=last)

    @property
    def _llm_type(self) -> str:
        return "fake"


class FakeChatWithLogprobs(FakeChat):
    """Reports log-probabilities as OpenAI's API does, where it is asked for them: `prefer` gives those of a prompt's
    next tokens as probabilities."""

    prefer: Callable[[Seen], dict[str, float]]

    def info(self, seen: Seen) -> dict[str, Any]:
        if not seen.settings.get("logprobs"):
            return super().info(seen)
        limit = seen.settings["top_logprobs"]
        tokens = sorted(self.prefer(seen).items(), key=lambda each: -each[1])[:limit]
        assert math.fsum(value for _, value in tokens) < 1.001, "no model gives its next tokens more than 1 together"
        top = [{"token": token, "logprob": math.log(value)} for token, value in tokens]
        return {"finish_reason": "length", "logprobs": {"content": [{**top[0], "top_logprobs": top}]}}


class CallingChat(FakeChat):
    """Calls a tool where it has some and no result yet, beside `text`, and says what it says elsewhere."""

    text: str = ""
    broken: bool = False

    def bind_tools(self, tools: Sequence[Any], *, tool_choice: Any = None, **kwargs: Any) -> Any:
        return self.bind(tools=list(tools), tool_choice=tool_choice)

    def answer(self, messages: Sequence[BaseMessage], settings: dict[str, Any]) -> AIMessage:
        said = super().answer(messages, settings)
        if not settings.get("tools") or isinstance(messages[-1], ToolMessage):
            return said
        broken = [{"name": "search", "args": "{", "id": "1", "error": None}] if self.broken else []
        calls = [{"name": "search", "args": {"words": "wages"}, "id": "call-1"}]
        return said.model_copy(update={"content": self.text, "tool_calls": calls, "invalid_tool_calls": broken})

    _stream = BaseChatModel._stream
    _astream = BaseChatModel._astream


class HangingChat(FakeChat):
    """Blocks its thread until `release` is set; nothing can interrupt it. `asked` is set once it has been asked."""

    _release: threading.Event = PrivateAttr(default_factory=threading.Event)
    _asked: threading.Event = PrivateAttr(default_factory=threading.Event)

    @property
    def release(self) -> threading.Event:
        return self._release

    @property
    def asked(self) -> threading.Event:
        return self._asked

    def answer(self, messages: Sequence[BaseMessage], settings: dict[str, Any]) -> AIMessage:
        self._asked.set()
        self._release.wait(30)
        return super().answer(messages, settings)

    # Without an asynchronous implementation of its own, as with most people's first chat model.
    _astream = BaseChatModel._astream


def scripted(*replies: str | Exception) -> Callable[[Seen], str | Exception]:
    """One reply after another; the last one for ever."""
    left = list(replies)
    lock = threading.Lock()

    def say(seen: Seen) -> str | Exception:
        with lock:
            return left.pop(0) if len(left) > 1 else left[0]

    return say


def always(reply: str | Exception) -> FakeChat:
    """A model that says the same whatever it is asked."""
    return FakeChat(say=lambda seen: reply)


def choosing(prefer: Callable[[Seen], dict[str, float]], text: str = "An answer.") -> FakeChatWithLogprobs:
    """A base LLM with log-probabilities, which says `text` where a text is wanted."""
    return FakeChatWithLogprobs(say=lambda seen: "A" if seen.settings.get("logprobs") else text, prefer=prefer)


def label_of(option: str, prompt: str) -> str:
    """The letter under which an option stands in a prompt."""
    match = re.search(rf"^([A-Z])\. {re.escape(option)}$", prompt, re.MULTILINE)
    assert match, f"{option!r} is no option in:\n{prompt}"
    return match[1]


def fake_pool(names: Sequence[str] = NAMES, *, priors: Sequence[float] | None = None, **run: Any) -> Pool:
    """A pool whose models, `base` and one called as each community, are all to be replaced by fakes."""
    return Pool(
        base="boss",
        models={name: RemoteModel(openai=name, base_url="http://127.0.0.1:9/v1") for name in ("boss", *names)},
        communities={
            name: Community(model=name, description=f"People of the {name}", prior=prior)
            for name, prior in zip(names, priors or [1.0] * len(names), strict=True)
        },
        run=RunSettings(**{"attempts": 1, "deadline": 20.0, **run}),
        folder=Path(),
    )


def fake_models(base: BaseChatModel, names: Sequence[str] = NAMES, **others: Any) -> dict[str, BaseChatModel]:
    """Models for `fake_pool`: communities that say "The view of NAME.", except for `others`."""
    said: dict[str, BaseChatModel] = {name: always(f"The view of {name}.") for name in names}
    return {"boss": base, **said, **others}


def wait_until(condition: Callable[[], bool], seconds: float = 10.0) -> bool:
    """Whether the condition came true in time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.01)
    return condition()
