"""What went wrong, as a status and a body in the form that OpenAI's clients understand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Any

from pydantic import BaseModel

from modular_pluralism.errors import (
    ChatTemplateError,
    ContextOverflowError,
    DeadlineError,
    EngineClosedError,
    EngineFullError,
    InputError,
    ModelCallError,
    PluralismError,
)
from modular_pluralism.models.redaction import redact

INVALID = "invalid_request_error"
_REFUSED_BY_REMOTE = (400, 413, 422)


class ErrorFacts(BaseModel):
    """An error, for people (`message`) and for programs."""

    message: str
    type: str
    param: str | None
    code: str | None


class ErrorBody(BaseModel):
    """The body of every answer that is none."""

    error: ErrorFacts


@dataclass(eq=False)
class ApiError(Exception):
    """A request that is answered with an error status. `retry_after` is in seconds."""

    status: int
    message: str
    _: KW_ONLY
    kind: str = INVALID
    param: str | None = None
    code: str | None = None
    retry_after: int | None = None

    def __str__(self) -> str:
        return self.message

    def body(self) -> dict[str, Any]:
        """The error as OpenAI writes it; keys are taken out."""
        message = redact(self.message).encode("utf-8", "replace").decode()
        facts = ErrorFacts(message=message, type=self.kind, param=self.param, code=self.code)
        return ErrorBody(error=facts).model_dump()

    def headers(self) -> dict[str, str]:
        """When to come back, and how to say who one is."""
        headers = {}
        if self.retry_after is not None:
            headers["retry-after"] = str(self.retry_after)
        if self.status == 401:
            headers["www-authenticate"] = "Bearer"
        return headers


def stopping(seconds: float) -> ApiError:
    """For requests that come, or are still running, when the server stops."""
    wait = max(1, round(seconds))
    return ApiError(
        503, "The server is stopping; ask again soon.", kind="server_error", code="stopping", retry_after=wait
    )


def invalid_field(errors: Sequence[Any]) -> ApiError:
    """The first of FastAPI's errors about a body, told by the field's name in a sentence."""
    first = errors[0]
    names = [*first["loc"][1:], *([first["ctx"]["field"]] if first["type"] == "unknown_field" else [])]
    field = ".".join(repr(str(name)[:60])[1:-1] for name in names)[:200]  # they may be the client's, of any length
    match first["type"]:
        case "missing":
            return ApiError(400, f"{field} is missing; add it.", param=field, code="missing_field")
        case "unknown_field":
            return ApiError(400, f"There is no field {field} here; leave it out.", param=field, code="unknown_field")
        case "unsupported_field":
            return ApiError(400, f"{field} is not supported; leave it out.", param=field, code="unsupported_field")
        case "value_error":
            return ApiError(400, first["msg"].removeprefix("Value error, "), param=field)
        case "model_type" | "model_attributes_type":
            return ApiError(400, f"{field} must be a JSON object.", param=field)
    said = first["msg"]
    return ApiError(400, f"{field}: {said[:1].lower()}{said[1:]}.", param=field)


def api_error(error: Exception) -> ApiError:
    """The status for an error of a model or a run; 500 for one that nobody raised on purpose."""
    message = str(error)
    match error:
        case ApiError():
            return error
        case ContextOverflowError():
            return ApiError(400, message, code="context_length_exceeded")
        case InputError() | ChatTemplateError():
            return ApiError(400, message)
        case EngineFullError():
            return ApiError(429, message, kind="rate_limit_error", code="queue_full", retry_after=5)
        case DeadlineError():
            return ApiError(504, message, kind="server_error", code="deadline")
        case ModelCallError() if (status := getattr(error.__cause__, "status_code", None)) is not None:
            return _remote(message, status)
        case PluralismError():
            code = "stopping" if isinstance(error, EngineClosedError) else "run_failed"
            return ApiError(503, message, kind="server_error", code=code)
    return ApiError(
        500, "The server made a mistake; its log says where. Please report it.", kind="server_error", code="internal"
    )


def _remote(message: str, status: int) -> ApiError:
    """What a remote model refuses is the request's fault or the remote's load; the rest is ours to answer for."""
    if status in _REFUSED_BY_REMOTE:
        return ApiError(400, message, code="refused_by_remote_model")
    if status == 429:
        return ApiError(429, message, kind="rate_limit_error", code="remote_model_busy", retry_after=5)
    return ApiError(503, message, kind="server_error", code="run_failed")
