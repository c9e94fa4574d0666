"""What requests hold, in OpenAI's words. FastAPI reads bodies into these, and describes them at /openapi.json.

A ValueError in here is a sentence for the client; `api_error` writes those for pydantic's own findings.
"""

from __future__ import annotations

import json
import secrets
from typing import Annotated, Any, Literal

from langchain_core.messages import BaseMessage, convert_to_messages
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    WithJsonSchema,
    WrapValidator,
    field_validator,
    model_validator,
)
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

USUAL_COMPLETION_TOKENS = 16
"""The longest raw text where a request names no limit: OpenAI's own default."""
MOST_MESSAGES = 2048
"""Messages of a chat; each takes the time of its own that it takes to be read and put into a template."""
_INT64 = 2**63

ModelId = Annotated[str, Field(max_length=256)]
Count = Annotated[int, Field(ge=1, lt=2**31)]
Token = Annotated[int, Field(ge=0, lt=2**31)]
Text = Annotated[str, Field(min_length=1)]
Temperature = Annotated[float, Field(ge=0, le=2, allow_inf_nan=False)]
TopP = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Whole = Annotated[int, Field(ge=-_INT64, lt=_INT64)]
Prompt = str | list[int]
"""A text, or the tokens that a model reads."""


class Body(BaseModel):
    """Values are not converted ("8" is no number), null is the same as nothing, a field that there is not is refused,
    and what was sent is kept out of messages."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", hide_input_in_errors=True)

    @model_validator(mode="before")
    @classmethod
    def _only_what_there_is(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        given = {name: field for name, field in value.items() if field is not None}
        known = {field.alias or name for name, field in cls.model_fields.items()}
        for name in given:
            if name not in known:  # one is told; pydantic would describe each of a hundred thousand
                raise PydanticCustomError("unknown_field", "unknown", {"field": name})
        return given


class NotOffered:
    """A field of OpenAI's that would change the answer and is not offered here: only `values` are taken, which ask for
    nothing."""

    def __init__(self, *values: Any) -> None:
        self._values = values

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """See pydantic."""
        return core_schema.no_info_plain_validator_function(self._check)

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """See pydantic."""
        return {"enum": [*self._values, None]}

    def _check(self, value: Any) -> Any:
        if isinstance(value, bool) or value not in self._values:
            raise PydanticCustomError("unsupported_field", "not supported")
        return value


# -- chats and raw completions -----------------------------------------------------------------------------------------


class StreamOptions(Body):
    """What a stream ends with. Nothing is added to chunks to hide their length, so it can always be left out."""

    include_usage: bool = False
    include_obfuscation: bool | None = None


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


Stops = Annotated[list[Text], Field(fail_fast=True), BeforeValidator(_listed, json_schema_input_type=Text | list[Text])]


class AnyRequest(Body):
    """What all requests for a text have in common."""

    model: ModelId
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    temperature: Temperature | None = None
    top_p: TopP | None = None
    seed: Whole | None = None
    metadata: dict[str, Any] | None = None

    # Fields of OpenAI's that change no answer.
    user: Any = None
    store: Any = None
    service_tier: Any = None
    safety_identifier: Any = None
    prompt_cache_key: Any = None
    prompt_cache_retention: Any = None
    prompt_cache_options: Any = None

    @field_validator("stream_options")
    @classmethod
    def _belong_to_a_stream(cls, options: StreamOptions | None, info: ValidationInfo) -> StreamOptions | None:
        if not info.data.get("stream"):
            raise ValueError("stream_options is only for streams; leave it out or add stream: true.")
        return options


class TextRequest(AnyRequest):
    """What chats and raw completions have in common."""

    n: Count | None = None
    stop: Stops | None = None
    parallel_tool_calls: bool | None = None

    functions: Annotated[Any, NotOffered([])] = None
    function_call: Annotated[Any, NotOffered("none", "auto")] = None
    logit_bias: Annotated[Any, NotOffered({})] = None
    frequency_penalty: Annotated[Any, NotOffered(0)] = None
    presence_penalty: Annotated[Any, NotOffered(0)] = None
    modalities: Annotated[Any, NotOffered(["text"])] = None
    audio: Annotated[Any, NotOffered()] = None
    prediction: Annotated[Any, NotOffered()] = None
    web_search_options: Annotated[Any, NotOffered()] = None
    moderation: Annotated[Any, NotOffered()] = None
    verbosity: Annotated[Any, NotOffered()] = None
    best_of: Annotated[Any, NotOffered(1)] = None
    suffix: Annotated[Any, NotOffered("")] = None

    @property
    def choices(self) -> int:
        """How many answers are wanted to each prompt."""
        return self.n or 1

    @property
    def engine_top_p(self) -> float | None:
        """OpenAI allows 0, where only the likeliest token is left; the engine wants a little more than that."""
        return None if self.top_p is None else max(self.top_p, 1e-9)

    def first_seed(self) -> int:
        """The seed of the first answer; a new one where none is given, so that every answer can be repeated."""
        return secrets.randbits(31) if self.seed is None else self.seed

    @property
    def with_usage(self) -> bool:
        """Whether a stream ends with what it cost."""
        return self.stream_options is not None and self.stream_options.include_usage


def seed_of_choice(seed: int, index: int) -> int:
    """The seed of one of several answers; remote endpoints take signed 32-bit ones."""
    return seed if index == 0 else (seed + index) & (2**31 - 1)


class TextPart(Body):
    """A part of a message; only texts mean something here."""

    type: Literal["text"]
    text: str


_PARTS = TypeAdapter(Annotated[list[TextPart], Field(fail_fast=True)])


def _text_of_parts(value: Any) -> Any:
    """OpenAI takes a text, or a list of parts."""
    return "".join(part.text for part in _PARTS.validate_python(value)) if isinstance(value, list) else value


class CalledFunction(Body):
    """Which function was called, and with what: a JSON object as text."""

    name: Text
    arguments: str

    @field_validator("arguments")
    @classmethod
    def _are_an_object(cls, arguments: str) -> str:
        try:
            value = json.loads(arguments)
        except (ValueError, RecursionError):
            value = None
        if not isinstance(value, dict):
            raise ValueError("arguments of a tool call must be a JSON object, as text.")
        return arguments


class Call(Body):
    """A call of a tool that an assistant has made."""

    id: str
    type: Literal["function"] = "function"
    function: CalledFunction
    index: Any = None


class ChatMessage(Body):
    """One turn of the chat. `developer` is OpenAI's newer word for `system`."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: Annotated[str, BeforeValidator(_text_of_parts, json_schema_input_type=str | list[TextPart])]
    name: str | None = None
    tool_calls: Annotated[list[Call], Field(fail_fast=True)] | None = None
    tool_call_id: str | None = None

    # What else stands in an assistant's message that a client sends back.
    refusal: Any = None
    annotations: Any = None
    reasoning_content: Any = None  # ours, which no prompt repeats
    audio: Annotated[Any, NotOffered()] = None
    function_call: Annotated[Any, NotOffered()] = None

    def as_openai(self) -> dict[str, Any]:
        """The message with what a model is told of it."""
        told = self.model_dump(include={"role", "content", "name", "tool_calls", "tool_call_id"}, exclude_none=True)
        return told | {"role": self.role.replace("developer", "system")}

    @model_validator(mode="after")
    def _belong_to_their_roles(self) -> ChatMessage:
        if (self.role == "tool") != (self.tool_call_id is not None):
            raise ValueError("tool_call_id must be there in a message of the role 'tool', and in no other.")
        if self.tool_calls and self.role != "assistant":
            raise ValueError("tool_calls stand in messages of the role 'assistant' only; take them out.")
        return self

    @model_validator(mode="before")
    @classmethod
    def _an_assistant_may_be_silent(cls, message: Any) -> Any:
        if isinstance(message, dict) and message.get("role") == "assistant" and message.get("content") is None:
            return {**message, "content": ""}
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
    def _a_schema_where_it_is_read(self) -> ResponseFormat:
        if (self.type == "json_schema") != (self.json_schema is not None):
            raise ValueError("response_format: json_schema must be there for the type 'json_schema', and for no other.")
        return self


class Function(Body):
    """What a tool is: `parameters` is a JSON schema."""

    name: Annotated[str, Field(pattern="^[A-Za-z0-9_-]{1,64}$")]
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class Tool(Body):
    """A tool that a model may call."""

    type: Literal["function"]
    function: Function


def _choice(value: Any) -> Any:
    named = value.get("function") if isinstance(value, dict) and value.get("type") == "function" else None
    if value in ("none", "auto", "required") or (isinstance(named, dict) and isinstance(named.get("name"), str)):
        return value
    raise ValueError(
        'tool_choice must be "none", "auto", "required", or {"type": "function", "function": {"name": …}}.'
    )


_NAMED = {
    "type": "object",
    "properties": {
        "type": {"const": "function"},
        "function": {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]},
    },
    "required": ["type", "function"],
}
ToolChoice = Annotated[
    Any,
    AfterValidator(_choice),
    WithJsonSchema({"anyOf": [{"enum": ["none", "auto", "required"]}, _NAMED]}),
]
Effort = Literal["none", "minimal", "low", "medium", "high", "xhigh"]


class ChatRequest(TextRequest):
    """What /v1/chat/completions is sent."""

    messages: Annotated[list[ChatMessage], Field(min_length=1, max_length=MOST_MESSAGES, fail_fast=True)]
    max_tokens: Count | None = None
    max_completion_tokens: Count | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0)] | None = None
    response_format: ResponseFormat | None = None
    tools: Annotated[list[Tool], Field(fail_fast=True, max_length=128)] | None = None
    tool_choice: ToolChoice | None = None
    reasoning_effort: Effort | None = None

    @field_validator("tool_choice")
    @classmethod
    def _is_among_the_tools(cls, choice: Any, info: ValidationInfo) -> Any:
        names = [tool.function.name for tool in info.data.get("tools") or ()]
        if choice == "required" and not names:
            raise ValueError("tool_choice needs tools; add them, or leave it out.")
        if isinstance(choice, dict) and choice["function"]["name"] not in names:
            raise ValueError("tool_choice names none of the tools; name one of them.")
        return choice

    @field_validator("top_logprobs")
    @classmethod
    def _need_logprobs(cls, top: int | None, info: ValidationInfo) -> int | None:
        if top and not info.data.get("logprobs"):
            raise ValueError("top_logprobs needs logprobs: true; add it.")
        return top

    @property
    def most_tokens(self) -> int | None:
        """The most tokens of an answer."""
        return self.max_completion_tokens if self.max_completion_tokens is not None else self.max_tokens

    @property
    def format(self) -> str:
        """How the answer is to be written."""
        return "text" if self.response_format is None else self.response_format.type

    def tool_settings(self) -> dict[str, Any]:
        """The call settings that give a model tools; none where it is to use none."""
        if not self.tools or self.tool_choice == "none":
            return {}
        told = {"tools": [tool.model_dump(exclude_none=True) for tool in self.tools]}
        return told if self.tool_choice is None else {**told, "tool_choice": self.tool_choice}

    def turns(self) -> list[BaseMessage]:
        """The messages, as LangChain has them."""
        # A name is handed to remote models; the templates of embedded ones have no place for it.
        return convert_to_messages([turn.as_openai() for turn in self.messages])


_Tokens = Annotated[list[Token], Field(min_length=1, fail_fast=True)]
_Prompts = Annotated[list[Text | _Tokens], Field(min_length=1, fail_fast=True)]


def _prompts(value: Any, read: ValidatorFunctionWrapHandler, info: ValidationInfo) -> list[Prompt]:
    """OpenAI takes one text or many."""
    is_one = isinstance(value, str) or (isinstance(value, list) and bool(value) and isinstance(value[0], int))
    try:
        prompts: list[Prompt] = read([value] if is_one else value)
    except ValidationError:
        raise ValueError(
            f"{info.field_name} must be a text, a list of tokens, which are whole numbers from 0, or a list of these, "
            "and none of them empty."
        ) from None
    return prompts


Prompts = Annotated[_Prompts, WrapValidator(_prompts, json_schema_input_type=Text | _Tokens | _Prompts)]


class CompletionRequest(TextRequest):
    """What /v1/completions is sent."""

    prompt: Prompts
    echo: bool | None = None
    max_tokens: Token | None = None
    logprobs: Annotated[int, Field(ge=0)] | None = None

    tools: Annotated[Any, NotOffered([])] = None
    tool_choice: Annotated[Any, NotOffered("none", "auto")] = None
    reasoning_effort: Annotated[Any, NotOffered()] = None

    @field_validator("max_tokens")
    @classmethod
    def _for_some_text(cls, tokens: int | None, info: ValidationInfo) -> int | None:
        if tokens == 0 and not info.data.get("echo"):
            raise ValueError("max_tokens 0 needs echo: true; there would be nothing in the answer.")
        return tokens

    @property
    def most_tokens(self) -> int:
        """The most tokens of a text; 0 only scores the prompt."""
        return USUAL_COMPLETION_TOKENS if self.max_tokens is None else self.max_tokens


# -- vectors of texts --------------------------------------------------------------------------------------------------


class EmbeddingsRequest(Body):
    """What /v1/embeddings is sent."""

    model: ModelId
    input: Prompts
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: Count | None = None
    user: Any = None

    @property
    def is_base64(self) -> bool:
        """Whether a vector is to be written as the bytes of its numbers, which are little-endian float32."""
        return self.encoding_format == "base64"


# -- the tokenizer, in vLLM's form -------------------------------------------------------------------------------------


class TokenizeRequest(Body):
    """A text to be cut into tokens."""

    prompt: str
    model: ModelId | None = None
    add_special_tokens: bool = True


class DetokenizeRequest(Body):
    """Tokens to be put together."""

    tokens: Annotated[list[Token], Field(fail_fast=True)]
    model: ModelId | None = None
