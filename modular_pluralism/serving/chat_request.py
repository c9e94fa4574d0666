"""What /v1/chat/completions is sent."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage
from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator

from modular_pluralism.serving.api_error import ApiError
from modular_pluralism.serving.fields import Body, Count, Seed, Stops, StreamOptions, Temperature, TopP
from modular_pluralism.serving.limits import Limits

_PART = {
    "type": "object",
    "required": ["type", "text"],
    "properties": {"type": {"const": "text"}, "text": {"type": "string"}},
}


def _text_of_parts(value: Any) -> Any:
    """OpenAI takes a text, or a list of parts, of which only texts mean something here."""
    if value is None:
        return ""
    if not isinstance(value, list):
        return value
    texts = []
    for part in value:
        kind = part.get("type") if isinstance(part, dict) else None
        if kind != "text":
            raise ValueError(f"only parts of the type 'text' can be read, not {str(kind)[:40]!r}")
        if not isinstance(part.get("text"), str):
            raise ValueError("a part of the type 'text' needs a text")
        texts.append(part["text"])
    return "".join(texts)


Content = Annotated[
    str,
    BeforeValidator(_text_of_parts),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": _PART}]}),
]


class ChatMessage(Body):
    """One turn of the chat. `developer` is OpenAI's newer word for `system`."""

    role: Literal["system", "developer", "user", "assistant"]
    content: Content
    name: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _refuse_what_is_not_text(cls, message: Any) -> Any:
        if isinstance(message, dict):
            for field in ("tool_calls", "function_call", "audio"):
                if message.get(field):
                    raise ValueError(f"a message with {field} cannot be read here; send texts only")
            if message.get("role") == "assistant":
                message = {"content": None, **message}
            elif message.get("role") == "user" and message.get("content", "") is None:
                raise ValueError("a user's message needs content")
        return message


class JsonSchema(Body):
    """The schema that a reply has to follow."""

    name: str | None = None
    description: str | None = None
    strict: bool | None = None
    definition: dict[str, Any] = Field(alias="schema")


class ResponseFormat(Body):
    """How a reply is written; JSON is guaranteed by a grammar, unless the reply is cut off."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchema | None = None

    @model_validator(mode="after")
    def _check(self) -> ResponseFormat:
        if (self.type == "json_schema") != (self.json_schema is not None):
            raise ValueError("json_schema must be there for the type 'json_schema', and for no other")
        return self


class ChatRequest(Body):
    """The fields that are understood; see `fields` for those that are ignored or refused."""

    model: Annotated[str, Field(max_length=256)]
    messages: Annotated[list[ChatMessage], Field(min_length=1)]
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: Count | None = None
    max_completion_tokens: Count | None = None
    temperature: Temperature | None = None
    top_p: TopP | None = None
    n: Count | None = None
    seed: Seed | None = None
    stop: Stops = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0)] | None = None
    response_format: ResponseFormat | None = None
    metadata: dict[str, Any] | None = None

    @property
    def most_tokens(self) -> int | None:
        """The most tokens of an answer."""
        return self.max_completion_tokens if self.max_completion_tokens is not None else self.max_tokens

    @property
    def choices(self) -> int:
        """How many answers are wanted."""
        return self.n or 1

    @property
    def format(self) -> str:
        """How the answer is to be written."""
        return "text" if self.response_format is None else self.response_format.type

    def turns(self) -> list[BaseMessage]:
        """The messages, as LangChain has them."""
        kinds: dict[str, type[BaseMessage]] = {
            "system": SystemMessage,
            "developer": SystemMessage,
            "user": HumanMessage,
            "assistant": AIMessage,
        }
        return [kinds[message.role](content=message.content) for message in self.messages]


def check_chat(request: ChatRequest, limits: Limits) -> None:
    """Raise ApiError where a request asks for more than the server's limits."""
    check_limits(request.most_tokens, request.choices, request.stop, request.top_logprobs, limits)
    if request.top_logprobs and not request.logprobs:
        raise ApiError(400, "top_logprobs needs logprobs: true; add it.", param="top_logprobs")


def check_limits(
    tokens: int | None, choices: int, stops: list[str] | None, top_logprobs: int | None, limits: Limits
) -> None:
    """Raise ApiError where one of these is above its limit."""
    for name, value, most in (
        ("max_tokens", tokens, limits.tokens),
        ("n", choices, limits.choices),
        ("top_logprobs", top_logprobs, limits.top_logprobs),
        ("the number of stop strings", len(stops or ()), limits.stops),
        ("the length of a stop string", max(map(len, stops or [""])), limits.stop_length),
    ):
        if value is not None and value > most:
            raise ApiError(
                400, f"{name} is {value}, and this server allows at most {most}.", param=_param(name), code="limit"
            )


def _param(name: str) -> str:
    return "stop" if "stop" in name else name
