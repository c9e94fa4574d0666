"""What /v1/completions is sent."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Field, WithJsonSchema

from modular_pluralism.serving.api_error import ApiError
from modular_pluralism.serving.chat_request import check_limits
from modular_pluralism.serving.fields import Body, Count, Seed, Stops, StreamOptions, Temperature, TopP
from modular_pluralism.serving.limits import Limits

USUAL_TOKENS = 16
"""The longest text where a request names no limit: OpenAI's own default."""

Prompt = str | list[int]
"""A text, or the tokens that a model reads."""

_TOKENS = {"type": "array", "items": {"type": "integer", "minimum": 0}, "minItems": 1}


def _as_list(value: Any) -> Any:
    """OpenAI takes one prompt or many, each a text or tokens."""
    if isinstance(value, str):
        return [value]
    if (
        isinstance(value, list)
        and value
        and all(isinstance(each, int) and not isinstance(each, bool) for each in value)
    ):
        return [value]
    return value


def _check_prompts(prompts: Any) -> Any:
    if not isinstance(prompts, list) or not prompts:
        raise ValueError("must be a text, a list of tokens, or a list of these")
    for prompt in prompts:
        if not isinstance(prompt, str | list) or not prompt:
            raise ValueError("every prompt must be a text or a list of tokens, and not empty")
        if isinstance(prompt, list) and not all(_is_token(each) for each in prompt):
            raise ValueError("tokens must be whole numbers from 0")
    return prompts


def _is_token(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**31


Prompts = Annotated[
    list[Any],
    BeforeValidator(lambda value: _check_prompts(_as_list(value))),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "minLength": 1},
                {"type": "array", "items": {"type": "string", "minLength": 1}, "minItems": 1},
                _TOKENS,
                {"type": "array", "items": _TOKENS, "minItems": 1},
            ]
        }
    ),
]


class CompletionRequest(Body):
    """The fields that are understood; see `fields` for those that are ignored or refused."""

    model: Annotated[str, Field(max_length=256)]
    prompt: Prompts
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: Annotated[int, Field(ge=0, lt=2**31)] | None = None
    temperature: Temperature | None = None
    top_p: TopP | None = None
    n: Count | None = None
    seed: Seed | None = None
    stop: Stops = None
    logprobs: Annotated[int, Field(ge=0)] | None = None
    echo: bool | None = None

    @property
    def choices(self) -> int:
        """How many texts are wanted for each prompt."""
        return self.n or 1

    @property
    def most_tokens(self) -> int:
        """The most tokens of a text; 0 only scores the prompt."""
        return USUAL_TOKENS if self.max_tokens is None else self.max_tokens


def within(limits: Limits, request: CompletionRequest) -> CompletionRequest:
    """The request, with a length where it names none.

    Raises:
        ApiError: 400, it asks for more than the server's limits, or for nothing.
    """
    if request.max_tokens is None:
        request = request.model_copy(update={"max_tokens": min(USUAL_TOKENS, limits.tokens)})
    check_limits(request.most_tokens, request.choices, request.stop, request.logprobs, limits)
    if len(request.prompt) > limits.prompts:
        raise ApiError(
            400,
            f"There are {len(request.prompt)} prompts, and this server allows at most {limits.prompts} in a call.",
            param="prompt",
            code="limit",
        )
    if request.most_tokens == 0 and not request.echo:
        raise ApiError(400, "max_tokens 0 needs echo: true; there would be nothing in the answer.", param="max_tokens")
    return request
