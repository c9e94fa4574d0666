"""What /v1/responses is sent, and the chat that it comes to."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator

from modular_pluralism.serving.schemas import (
    MOST_MESSAGES,
    AnyRequest,
    Body,
    ChatRequest,
    Count,
    Effort,
    NotOffered,
    Text,
)


class InputText(Body):
    """A part of a message: a text that was sent, or one that was answered."""

    type: Literal["input_text", "output_text", "text"]
    text: str
    annotations: Any = None
    logprobs: Any = None


class InputMessage(Body):
    """One turn of the chat."""

    role: Literal["system", "developer", "user", "assistant"]
    content: str | Annotated[list[InputText], Field(fail_fast=True)]
    type: Literal["message"] = "message"
    id: Any = None
    status: Any = None
    phase: Any = None

    @property
    def text(self) -> str:
        """What it says."""
        return self.content if isinstance(self.content, str) else "".join(part.text for part in self.content)


class TextFormat(Body):
    """How the answer is written."""

    type: Literal["text", "json_object", "json_schema"]
    name: str | None = None
    description: str | None = None
    strict: bool | None = None
    definition: dict[str, Any] | None = Field(default=None, alias="schema")

    def response_format(self) -> dict[str, Any]:
        """As a chat has it."""
        if self.type != "json_schema":
            return {"type": self.type}
        told = self.model_dump(include={"name", "description", "strict"}, exclude_none=True)
        return {"type": self.type, "json_schema": {**told, "schema": self.definition}}


class TextOptions(Body):
    """What the answer's text is to be like."""

    format: TextFormat | None = None
    verbosity: Annotated[Any, NotOffered("medium")] = None

    @field_validator("format")
    @classmethod
    def _has_a_schema(cls, wanted: TextFormat | None) -> TextFormat | None:
        if wanted is not None and (wanted.type == "json_schema") != (wanted.definition is not None):
            raise ValueError("text.format: schema must be there for the type 'json_schema', and for no other.")
        return wanted


class ReasoningOptions(Body):
    """How much a model reasons; what it reasons is not told."""

    effort: Effort | None = None
    summary: Annotated[Any, NotOffered("auto")] = None


def _listed(value: Any) -> Any:
    return [{"role": "user", "content": value}] if isinstance(value, str) else value


Messages = Annotated[
    list[InputMessage],
    Field(min_length=1, max_length=MOST_MESSAGES - 1, fail_fast=True),  # `instructions` may be one more
    BeforeValidator(_listed, json_schema_input_type=Text | Annotated[list[InputMessage], Field(min_length=1)]),
]


class ResponsesRequest(AnyRequest):
    """What /v1/responses is sent. Nothing is kept: a chat is sent whole each time."""

    input: Messages
    instructions: str | None = None
    max_output_tokens: Count | None = None
    text: TextOptions | None = None
    reasoning: ReasoningOptions | None = None
    previous_response_id: Any = None

    # Further fields of OpenAI's that change no answer.
    parallel_tool_calls: Any = None
    max_tool_calls: Any = None

    tool_choice: Annotated[Any, NotOffered("none", "auto")] = None
    tools: Any = None
    background: Annotated[Any, NotOffered(False)] = None
    conversation: Annotated[Any, NotOffered()] = None
    include: Annotated[Any, NotOffered([])] = None
    prompt: Annotated[Any, NotOffered()] = None
    top_logprobs: Annotated[Any, NotOffered(0)] = None
    truncation: Annotated[Any, NotOffered("disabled")] = None

    @field_validator("previous_response_id")
    @classmethod
    def _is_not_kept(cls, _: Any) -> Any:
        raise ValueError("previous_response_id: this server keeps no responses; send the whole chat as input.")

    @field_validator("tools")
    @classmethod
    def _are_not_called(cls, tools: Any, info: ValidationInfo) -> Any:
        if tools != [] and info.data.get("tool_choice") != "none":
            raise ValueError("tools are not supported here; leave them out, or send a chat to /v1/chat/completions.")
        return tools

    def chat(self) -> ChatRequest:
        """The chat that is asked."""
        system = [] if self.instructions is None else [{"role": "system", "content": self.instructions}]
        asked: dict[str, Any] = {
            "model": self.model,
            "messages": system + [{"role": message.role, "content": message.text} for message in self.input],
            "max_tokens": self.max_output_tokens,
            "temperature": self.temperature,
            "top_p": self.top_p,
            "stream": self.stream,
            "seed": self.seed,
            "metadata": self.metadata,
            "reasoning_effort": None if self.reasoning is None else self.reasoning.effort,
        }
        if self.text is not None and self.text.format is not None:
            asked["response_format"] = self.text.format.response_format()
        return ChatRequest.model_validate(asked)
