"""OpenTelemetry: one span a model call, in an application that has set OpenTelemetry up.

Names follow the semantic conventions for generative AI. A span never holds a text that was asked or answered.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from langchain_core.runnables import RunnableConfig

from modular_pluralism.models.redaction import redact
from modular_pluralism.models.reply_parts import TokenCounts

if TYPE_CHECKING:
    from opentelemetry.trace import Span

_SETTINGS = ("max_tokens", "temperature", "seed")
_LABELS = ("community", "mode", "role")
_LONGEST = 500
"""Characters of an error's message."""


@dataclass(frozen=True)
class Asked:
    """What is asked of which model: `operation` is "chat" for a text, "score" for probabilities and "invoke_agent" for
    a part of the application's own, `provider` is in the words of LangChain ("openai", "llama.cpp"), `settings` are
    those of the call. `embedded` models run in this process."""

    operation: Literal["chat", "score", "invoke_agent"]
    model: str
    provider: str
    embedded: bool
    settings: Mapping[str, Any] = field(default_factory=dict)


class CallSpan:
    """The span of one model call; does nothing where there is none."""

    def __init__(self, span: Span | None) -> None:
        self._span = span

    def answered(self, value: object, attempts: int) -> None:
        """Note what a reply cost, and how often it was tried for. Probabilities come without a count of tokens."""
        if self._span is None:
            return
        self._span.set_attribute("pluralism.attempts", attempts)
        counts = TokenCounts.of(value)
        for name, count in (
            ("input_tokens", counts.prompt),
            ("output_tokens", counts.completion),
            ("cache_read.input_tokens", counts.cached),
        ):
            if count is not None:
                self._span.set_attribute(f"gen_ai.usage.{name}", count)
        info: Mapping[str, Any] = getattr(value, "response_metadata", None) or {}
        if info.get("finish_reason"):
            self._span.set_attribute("gen_ai.response.finish_reasons", [str(info["finish_reason"])])
        if info.get("model_name"):
            self._span.set_attribute("gen_ai.response.model", str(info["model_name"]))


def call_span(asked: Callable[[], Asked] | None, config: RunnableConfig) -> AbstractContextManager[CallSpan]:
    """A span below the application's current one, for as long as the call takes; an error that passes is noted.

    Community, mode and role come from the config's metadata.
    """
    # An application that uses OpenTelemetry has imported it; nobody else shall need it, or wait for its import. Other
    # packages import it, too: then it is not set up, and only stands for what may be.
    trace = sys.modules.get("opentelemetry.trace")
    if asked is None or trace is None or isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider):
        return _NO_SPAN
    return _span(asked(), config, trace)


_NO_SPAN = nullcontext(CallSpan(None))


@contextmanager
def _span(asked: Asked, config: RunnableConfig, trace: Any) -> Iterator[CallSpan]:
    tracer = trace.get_tracer("modular_pluralism")
    with tracer.start_as_current_span(
        f"{asked.operation} {asked.model}",
        kind=trace.SpanKind.INTERNAL if asked.embedded else trace.SpanKind.CLIENT,
        attributes=_attributes(asked, config),
        record_exception=False,  # its traceback may show a prompt or a key
        set_status_on_exception=False,
    ) as span:
        try:
            yield CallSpan(span)
        except BaseException as error:
            message = redact(" ".join(str(error).split()))[:_LONGEST]
            span.set_attribute("error.type", type(error).__name__)
            span.add_event("exception", {"exception.type": type(error).__name__, "exception.message": message})
            span.set_status(trace.StatusCode.ERROR, message)
            raise


def _attributes(asked: Asked, config: RunnableConfig) -> dict[str, Any]:
    metadata = config.get("metadata") or {}
    return {
        "gen_ai.operation.name": asked.operation,
        "gen_ai.provider.name": asked.provider,
        "gen_ai.request.model": asked.model,
        **{
            f"gen_ai.request.{name}": asked.settings[name] for name in _SETTINGS if asked.settings.get(name) is not None
        },
        **{f"pluralism.{name}": metadata[name] for name in _LABELS if isinstance(metadata.get(name), str)},
    }
