"""Fields that requests share, and how a wrong one is told: by its name, in a sentence."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, WithJsonSchema

from modular_pluralism.serving.api_error import ApiError

B = TypeVar("B", bound=BaseModel)
INT64 = 2**63


class Body(BaseModel):
    """Values are not converted ("8" is no number), and what was sent is kept out of messages."""

    model_config = ConfigDict(frozen=True, strict=True, extra="ignore", hide_input_in_errors=True)


def _texts(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


Stops = Annotated[
    list[Annotated[str, Field(min_length=1)]] | None,
    BeforeValidator(_texts),
    WithJsonSchema(
        {"anyOf": [{"type": "string", "minLength": 1}, {"type": "array", "items": {"type": "string", "minLength": 1}}]}
    ),
]
Temperature = Annotated[float, Field(ge=0, le=2, allow_inf_nan=False)]
TopP = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Seed = Annotated[int, Field(ge=-INT64, lt=INT64)]
Count = Annotated[int, Field(ge=1, lt=2**31)]


class StreamOptions(Body):
    """What a stream ends with."""

    include_usage: bool = False


IGNORED: frozenset[str] = frozenset(
    {
        *("user", "store", "metadata", "service_tier", "safety_identifier", "prompt_cache_key"),
        *("prompt_cache_retention", "prompt_cache_options", "parallel_tool_calls"),
    }
)
"""Fields of OpenAI's that change no answer."""

NEUTRAL: Mapping[str, tuple[Any, ...]] = {
    "tools": ([],),
    "tool_choice": ("none", "auto"),
    "functions": ([],),
    "function_call": ("none", "auto"),
    "logit_bias": ({},),
    "frequency_penalty": (0,),
    "presence_penalty": (0,),
    "modalities": (["text"],),
    "audio": (),
    "prediction": (),
    "web_search_options": (),
    "moderation": (),
    "reasoning_effort": (),
    "verbosity": (),
    "best_of": (1,),
    "suffix": ("",),
}
"""Fields of OpenAI's that would change the answer and are not offered, with the values that ask for nothing."""


def read(kind: type[B], body: Mapping[str, Any]) -> B:
    """The request in a body.

    Raises:
        ApiError: 400, a field is missing, of the wrong kind, unknown, or asks for something that is not offered.
    """
    known = {name: value for name, value in body.items() if name in kind.model_fields}
    for name, value in body.items():
        if name in known or name in IGNORED or value is None:
            continue
        if name not in NEUTRAL:
            raise ApiError(400, f"There is no field {_short(name)} here; leave it out.", param=_short(name))
        if isinstance(value, bool) or value not in NEUTRAL[name]:
            raise ApiError(400, f"{name} is not supported; leave it out.", param=name, code="unsupported_field")
    try:
        return kind.model_validate(known)
    except ValidationError as error:
        raise _told(error) from None


def _told(error: ValidationError) -> ApiError:
    first = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(str(part) for part in first["loc"])[:200]
    said = first["msg"].removeprefix("Value error, ").rstrip(".")
    if first["type"] == "missing":
        return ApiError(400, f"{where} is missing; add it.", param=where, code="missing_field")
    return ApiError(400, f"{where}: {said[:1].lower()}{said[1:]}.", param=where or None)


def _short(name: str) -> str:
    return repr(name[:60])[1:-1]
