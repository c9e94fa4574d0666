"""Endpoints that are as strict as those of providers: each family refuses, ignores and answers as its reference says.

What a family answers has the shape and words of the real answers where its `reference` shows them, and else their shape
only; docs/providers.md says which refusals have no reference.
"""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal

_EVERYBODY = frozenset({"model", "messages", "stream", "stream_options"})
_USUAL = _EVERYBODY | {"temperature", "top_p", "seed", "logprobs", "top_logprobs", "max_tokens"}


@dataclass(frozen=True)
class Family:
    """What an endpoint of a family takes. `limit` are the names of the limit that it obeys; an unknown field is refused
    with `unknown`, or ignored where that is None. `said` are the other refusals: field, status and body."""

    reference: str
    limit: frozenset[str]
    takes: frozenset[str] = _USUAL
    unknown: tuple[int, str] | None = None
    refuses: Mapping[str, tuple[int, Any]] = field(default_factory=dict)
    most_logprobs: int | None = 20
    too_many: tuple[int, Any] | None = None
    reasoning: Literal["reasoning_content", "reasoning", "blocks", "hidden", None] = None
    finishes: bool = True


def _openai(message: str, param: str | None, code: str | None) -> dict[str, Any]:
    return {"error": {"message": message, "type": "invalid_request_error", "param": param, "code": code}}


def _unsupported(name: str, instead: str = "") -> tuple[int, Any]:
    message = f"Unsupported parameter: '{name}' is not supported with this model.{instead}"
    return 400, _openai(message, name, "unsupported_parameter")


FAMILIES: dict[str, Family] = {
    "openai-chat": Family(
        "https://platform.openai.com/docs/api-reference/chat/create",
        frozenset({"max_tokens", "max_completion_tokens"}),
        takes=_USUAL | {"max_completion_tokens", "reasoning_effort"},
        unknown=(400, json.dumps(_openai("Unrecognized request argument supplied: {name}", None, None))),
    ),
    "openai-reasoning": Family(
        "https://github.com/gabrii/Cursor-Azure-GPT-5/issues/33, https://github.com/confident-ai/deepeval/pull/2184",
        frozenset({"max_completion_tokens"}),
        takes=_EVERYBODY | {"seed", "max_completion_tokens", "reasoning_effort"},
        refuses={
            "temperature": (
                400,
                _openai(
                    "Unsupported value: 'temperature' does not support 0.7 with this model. Only the default (1) value "
                    "is supported.",
                    "temperature",
                    "unsupported_value",
                ),
            ),
            "top_p": _unsupported("top_p"),
            "max_tokens": _unsupported("max_tokens", " Use 'max_completion_tokens' instead."),
            "logprobs": (403, _openai("You are not allowed to request logprobs from this model", None, None)),
        },
        reasoning="hidden",
    ),
    "mistral": Family(
        "https://github.com/editor-code-assistant/eca/issues/231, https://docs.mistral.ai/api/",
        frozenset({"max_tokens"}),
        takes=_EVERYBODY - {"stream_options"} | {"temperature", "top_p", "max_tokens", "random_seed"},
        unknown=(
            422,
            '{{"object": "error", "message": {{"detail": [{{"type": "extra_forbidden", "loc": ["body", "{name}"], '
            '"msg": "Extra inputs are not permitted", "input": 1}}]}}, "type": "invalid_request_error", '
            '"param": null, "code": null}}',
        ),
        reasoning="blocks",
    ),
    "gemini": Family(
        "https://github.com/Vali-98/ChatterUI/issues/227, https://github.com/mscraftsman/generative-ai/issues/135",
        frozenset({"max_tokens", "max_completion_tokens"}),
        takes=_USUAL - {"seed"} | {"max_completion_tokens", "reasoning_effort"},
        unknown=(
            400,
            '[{{"error": {{"code": 400, "message": "Invalid JSON payload received. Unknown name \\"{name}\\": Cannot '
            'find field.", "status": "INVALID_ARGUMENT"}}}}]',
        ),
        refuses={
            "logprobs": (
                400,
                [
                    {
                        "error": {
                            "code": 400,
                            "message": "Logprobs is not enabled for models/gemini-2.5-pro",
                            "status": "INVALID_ARGUMENT",
                        }
                    }
                ],
            )
        },
        reasoning="hidden",
    ),
    "anthropic": Family(
        "https://platform.claude.com/docs/en/api/openai-sdk",
        frozenset({"max_tokens", "max_completion_tokens"}),
        most_logprobs=None,
        refuses={
            "top_p": (
                400,
                _openai(
                    "`temperature` and `top_p` cannot both be specified for this model. Please use only one.",
                    None,
                    None,
                ),
            )
        },
    ),
    "ollama": Family(
        "https://github.com/ollama/ollama/blob/main/openai/openai.go",
        frozenset({"max_tokens"}),
        most_logprobs=None,
        reasoning="reasoning",
        finishes=False,
    ),
    "llama-server": Family(
        "https://github.com/ggml-org/llama.cpp/blob/master/tools/server/README.md",
        frozenset({"max_tokens", "max_completion_tokens"}),
        reasoning="reasoning_content",
    ),
    "vllm": Family(
        "https://github.com/vllm-project/vllm/pull/31870",
        frozenset({"max_tokens", "max_completion_tokens"}),
        most_logprobs=5,
        too_many=(
            400,
            {
                "error": {
                    "message": "Requested sample logprobs of 20, which is greater than max allowed: 5",
                    "type": "BadRequestError",
                    "param": "logprobs",
                    "code": 400,
                }
            },
        ),
        reasoning="reasoning_content",
    ),
    "llama-cpp-python": Family(
        "https://github.com/abetlen/llama-cpp-python/blob/main/llama_cpp/server/types.py",
        frozenset({"max_tokens"}),
        refuses={
            "logprobs": (
                500,
                {
                    "error": {
                        "message": "logprobs is not supported for models created with logits_all=False",
                        "type": "internal_server_error",
                        "param": None,
                        "code": None,
                    }
                },
            )
        },
    ),
    "tgi": Family(
        "https://github.com/huggingface/text-generation-inference/blob/main/router/src/validation.rs",
        frozenset({"max_tokens"}),
        most_logprobs=5,
        too_many=(
            422,
            {
                "error": "Input validation error: `top_n_tokens` must be >= 0 and <= 5. Given: 20",
                "error_type": "validation",
            },
        ),
        refuses={
            "top_p": (
                422,
                {
                    "error": "Input validation error: `top_p` must be > 0.0 and < 1.0",
                    "error_type": "validation",
                },
            )
        },
    ),
}
"""By name; a model of that id is asked of an endpoint of that family."""

THOUGHT, WORDS = "Let me think. ", 40


class Providers:
    """An endpoint whose models are the families; it keeps the bodies that were sent."""

    def __init__(self) -> None:
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.given: dict[str, tuple[int, str, bytes]] = {}
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.providers = self
        self.address = f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    def asked(self, model: str) -> list[dict[str, Any]]:
        return [body for body in self.bodies if body["model"] == model]

    def gives(self, model: str, body: object, *, status: int = 200, kind: str = "application/json") -> str:
        """Let a model answer that, whatever is asked. Returns its name."""
        data = (
            body if isinstance(body, bytes) else body.encode() if isinstance(body, str) else json.dumps(body).encode()
        )
        self.given[model] = (status, kind, data)
        return model

    @contextmanager
    def running(self) -> Iterator[Providers]:
        thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            self._server.server_close()
            thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    providers: Providers


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.providers.bodies.append(body)
        self.server.providers.headers.append({name.lower(): value for name, value in self.headers.items()})
        given = self.server.providers.given.get(body["model"])
        status, kind, data = given or _answer(FAMILIES[body["model"]], body)
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


def _answer(family: Family, body: dict[str, Any]) -> tuple[int, str, bytes]:
    refusal = _refusal(family, body)
    if refusal is not None:
        status, said = refusal
        return status, "application/json", (said if isinstance(said, str) else json.dumps(said)).encode()
    limit = min((body[name] for name in family.limit if name in body), default=None)
    thought, text = _said(family, limit)
    message: dict[str, Any] = {"role": "assistant", "content": text}
    if thought and family.reasoning in ("reasoning", "reasoning_content"):
        message[family.reasoning] = thought
    elif thought and family.reasoning == "blocks":
        blocks = [{"type": "thinking", "thinking": [{"type": "text", "text": thought}]}]
        message["content"] = [*blocks, {"type": "text", "text": text}] if text else blocks
    spent = len(f"{thought}{text}".split())
    usage: dict[str, Any] = {"prompt_tokens": 3, "completion_tokens": spent, "total_tokens": 3 + spent}
    if thought:
        usage["completion_tokens_details"] = {"reasoning_tokens": len(thought.split())}
    finish = ("length" if limit is not None and spent >= limit else "stop") if family.finishes else None
    logprobs = top_logprobs(body["top_logprobs"]) if body.get("logprobs") and family.most_logprobs else None
    frame = {"id": "1", "created": 1, "model": body["model"]}
    if body.get("stream"):
        chunks: list[dict[str, Any]] = [
            {"choices": [{"index": 0, "delta": message, "finish_reason": None}]},
            {"choices": [{"index": 0, "delta": {}, "finish_reason": finish}]},
        ]
        if body.get("stream_options"):
            chunks.append({"choices": [], "usage": usage})
        events = [json.dumps({**frame, "object": "chat.completion.chunk", **chunk}) for chunk in chunks]
        return 200, "text/event-stream", "".join(f"data: {each}\n\n" for each in [*events, "[DONE]"]).encode()
    choice = {"index": 0, "message": message, "finish_reason": finish, "logprobs": logprobs}
    whole = {**frame, "object": "chat.completion", "choices": [choice], "usage": usage}
    return 200, "application/json", json.dumps(whole).encode()


def _refusal(family: Family, body: dict[str, Any]) -> tuple[int, Any] | None:
    for name in body:
        if name in family.refuses and not (name == "top_p" and _taken_top_p(family, body)):
            return family.refuses[name]
        if family.unknown is not None and name not in family.takes:
            status, said = family.unknown
            return status, said.format(name=name) if "{{" in said else said.replace("{name}", name)
    if family.too_many is not None and body.get("top_logprobs", 0) > (family.most_logprobs or 0):
        return family.too_many
    return None


def _taken_top_p(family: Family, body: dict[str, Any]) -> bool:
    if family is FAMILIES["tgi"]:
        return bool(0 < body["top_p"] < 1)
    return family is FAMILIES["anthropic"] and "temperature" not in body


def _said(family: Family, limit: int | None) -> tuple[str, str]:
    """Reasoning and text, as far as the limit lets them come; without one it writes on."""
    words = (THOUGHT * 5).split() if family.reasoning else []
    text = [f"word{number}" for number in range(WORDS)]
    left = len(words) + WORDS * 100 if limit is None else limit
    thought = " ".join(words[:left])
    return thought, " ".join((text if limit is not None else text * 100)[: max(0, left - len(words))])


def top_logprobs(count: int) -> dict[str, Any]:
    """Log-probabilities as endpoints report them: A 0.5, " A" 0.1, B 0.2."""
    shares = {"A": 0.5, "B": 0.2, " A": 0.1, "1": 0.05, "2": 0.1, "x": 0.01, "y": 0.01}
    top = [{"token": token, "bytes": None, "logprob": math.log(share)} for token, share in shares.items()][:count]
    return {"content": [{**top[0], "top_logprobs": top}]}
