"""One chat model behind several endpoints: each call goes to one of them, and a retry to another."""

from __future__ import annotations

import math
import re
from collections.abc import AsyncIterator, Hashable, Iterator, Mapping
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models.base import LangSmithParams
from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import BaseMessage
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from pydantic import PrivateAttr

from modular_pluralism.errors import PluralismError
from modular_pluralism.models.calls import describe
from modular_pluralism.models.endpoints import Endpoints, Taken, Verdict
from modular_pluralism.models.remote_chat import RemoteChat

_SECONDS = re.compile(r"[0-9]{1,9}(\.[0-9]*)?")
_LONGEST_REST = 60.0


class EndpointError(ConnectionError):
    """A try at one of several endpoints failed. The message names the endpoint.

    `status_code` is the HTTP status or None, and `response.headers` says after how many seconds a retry has somewhere
    to go, where that is known: `Caller` reads both.
    """

    def __init__(self, address: str, error: Exception, pause: int | None) -> None:
        status = getattr(error, "status_code", None)
        mend = "" if isinstance(status, int) else "; check that the server runs there"
        super().__init__(f"{address}: {describe(error)}{mend}")
        self.status_code = status if isinstance(status, int) else None
        self.response = SimpleNamespace(headers={} if pause is None else {"retry-after": str(pause)})


class SpreadChat(BaseChatModel):
    """Delegates each call to one of `chats`, by their addresses, as `endpoints` chooses.

    To tracers and callbacks it looks like the chat model behind it.

    Raises (at a call):
        EndpointError: the try failed at the endpoint that the message names; trying again goes to another one.
        ModelCallError: the reply is none; see RemoteChat.
    """

    model: str
    addresses: tuple[str, ...]
    _chats: Mapping[str, RemoteChat] = PrivateAttr()
    _endpoints: Endpoints = PrivateAttr()

    def __init__(self, *, model: str, chats: Mapping[str, RemoteChat], endpoints: Endpoints) -> None:
        super().__init__(model=model, addresses=tuple(chats))  # type: ignore[call-arg]
        self._chats = chats
        self._endpoints = endpoints

    @property
    def _llm_type(self) -> str:
        return self._any._llm_type

    def pluralism_identity(self) -> list[Any]:
        """See HasIdentity."""
        return ["openai", self.addresses, self._identifying_params]

    @property
    def _identifying_params(self) -> dict[str, Any]:
        return self._any._identifying_params

    def _get_invocation_params(self, stop: list[str] | None = None, **kwargs: Any) -> dict[str, Any]:
        return self._any._get_invocation_params(stop, **kwargs)

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> LangSmithParams:
        return self._any._get_ls_params(stop, **kwargs)

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        with self._turn(messages, kwargs) as chat:
            return chat._generate(messages, stop, run_manager, **kwargs)

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        with self._turn(messages, kwargs) as chat:
            return await chat._agenerate(messages, stop, run_manager, **kwargs)

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        with self._turn(messages, kwargs) as chat:
            yield from chat._stream(messages, stop, run_manager, **kwargs)

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        with self._turn(messages, kwargs) as chat:
            async for chunk in chat._astream(messages, stop, run_manager, **kwargs):
                yield chunk

    @property
    def _any(self) -> RemoteChat:
        """For questions that all of them answer alike."""
        return self._chats[self.addresses[0]]

    @contextmanager
    def _turn(self, messages: list[BaseMessage], settings: dict[str, Any]) -> Iterator[RemoteChat]:
        """The chat model whose turn it is; what becomes of the call is told to `endpoints`."""
        taken = self._endpoints.take(self.addresses, _request(self.model, messages, settings))
        try:
            yield self._chats[taken.address]
        except PluralismError:  # there was a reply, only not a fit one
            self._endpoints.give_back(taken, "alive", failed=True)
            raise
        except Exception as error:
            raise self._failed(taken, error) from error
        except BaseException:
            self._endpoints.give_back(taken, "unknown", failed=False)
            raise
        self._endpoints.give_back(taken, "alive", failed=False)

    def _failed(self, taken: Taken, error: Exception) -> EndpointError:
        asked = _asked_pause(error)
        rest = 1.0 if asked is None and getattr(error, "status_code", None) == 429 else asked or 0.0
        self._endpoints.give_back(taken, _verdict(error), failed=True, rest=rest)
        wait = self._endpoints.wait(self.addresses)
        # Somewhere else at once; else the back-off that is usual, unless an endpoint has named its time.
        pause = None if asked is None and (wait or not rest) else math.ceil(wait)
        return EndpointError(taken.address, error, pause)


def _request(model: str, messages: list[BaseMessage], settings: dict[str, Any]) -> Hashable:
    """What makes a retry of a request recognisable: the same messages with the same settings."""
    return hash((model, tuple((each.type, str(each.content)) for each in messages), repr(sorted(settings.items()))))


def _verdict(error: Exception) -> Verdict:
    """What a failure tells of its endpoint. One that refuses a request or a key, or is busy, is alive."""
    status = getattr(error, "status_code", None)
    if isinstance(status, int):
        return "shaky" if status == 408 or status >= 500 else "alive"
    return "dead" if _classes(error) & _GONE else "shaky"


_GONE = {"APITimeoutError", "TimeoutException", "TimeoutError", "ConnectError"}


def _classes(error: BaseException) -> set[str]:
    """Names of the classes of an error and of what it was raised from: httpx and openai share no base class."""
    names: set[str] = set()
    cause: BaseException | None = error
    for _ in range(10):
        if cause is None:
            break
        names |= {each.__name__ for each in type(cause).__mro__}
        cause = cause.__cause__ or cause.__context__
    return names


def _asked_pause(error: Exception) -> float | None:
    """Seconds for which the endpoint wants to be left alone, if it said so."""
    asked = str(getattr(getattr(error, "response", None), "headers", {}).get("retry-after", ""))
    return min(float(asked), _LONGEST_REST) if _SECONDS.fullmatch(asked) else None
