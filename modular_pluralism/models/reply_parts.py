"""A reply of an endpoint, taken apart at the border: text, reasoning, and counts that can be true."""

from __future__ import annotations

import math
from typing import Annotated, Any

from langchain_core.messages import BaseMessage
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
)

from modular_pluralism.llama.thinking import ThoughtSplitter

_REASONING = ("reasoning_content", "reasoning", "thinking")
_MOST_TOKENS = 2**31
_DETAILS = ("prompt_tokens_details", "completion_tokens_details")


def _or_unknown(value: object, check: ValidatorFunctionWrapHandler) -> Any:
    try:
        return check(value)
    except ValidationError:
        return None


_Count = Annotated[Annotated[int, Field(ge=0, lt=_MOST_TOKENS)] | None, WrapValidator(_or_unknown)]
_COUNTS: TypeAdapter[dict[str, int | None]] = TypeAdapter(dict[str, _Count])


class TokenCounts(BaseModel):
    """What a reply cost in tokens; `cached` ones of the prompt were not read again, and `reasoning` ones were written
    before the text. A count that was not told, or that cannot be true, is None: that is no reason to lose a reply."""

    model_config = ConfigDict(frozen=True)

    prompt: _Count = None
    cached: _Count = None
    completion: _Count = None
    reasoning: _Count = None

    @classmethod
    def of(cls, message: object) -> TokenCounts:
        """Those of a message of any chat model, whose `usage_metadata` LangChain does not check."""
        usage = _table(getattr(message, "usage_metadata", None))
        return cls(
            prompt=usage.get("input_tokens"),
            cached=_table(usage.get("input_token_details")).get("cache_read"),
            completion=usage.get("output_tokens"),
            reasoning=_table(usage.get("output_token_details")).get("reasoning"),
        )

    @classmethod
    def of_openai(cls, usage: object) -> TokenCounts:
        """Those of the `usage` that OpenAI's API sends."""
        told = _table(usage)
        return cls(
            prompt=told.get("prompt_tokens"),
            cached=_table(told.get("prompt_tokens_details")).get("cached_tokens"),
            completion=told.get("completion_tokens"),
            reasoning=_table(told.get("completion_tokens_details")).get("reasoning_tokens"),
        )


def _table(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def checked_usage(usage: object) -> dict[str, Any] | None:
    """A reply's `usage` with the counts that can be true; None where the endpoint gives no count of both kinds."""
    counts: dict[str, Any] = _counts(_table(usage))
    if not {"prompt_tokens", "completion_tokens"} <= set(counts):
        return None
    return {**counts, **{name: _counts(_table(_table(usage).get(name))) for name in _DETAILS}}


def _counts(table: dict[str, Any]) -> dict[str, int]:
    return {name: count for name, count in _COUNTS.validate_python(table).items() if count is not None}


def logprobs_of(message: BaseMessage) -> list[dict[str, Any]]:
    """What a reply reports of its tokens, in OpenAI's form, without what is no finite number."""
    return _with_numbers(_table(message.response_metadata.get("logprobs")).get("content"))


def _with_numbers(entries: object) -> list[dict[str, Any]]:
    found = [each for each in entries if isinstance(each, dict)] if isinstance(entries, list) else []
    return [
        {**each, "top_logprobs": _with_numbers(each["top_logprobs"])} if "top_logprobs" in each else each
        for each in found
        if isinstance(each.get("logprob"), int | float) and abs(each["logprob"]) < math.inf
    ]


def mended(text: str) -> str:
    """The text without half characters (lone surrogates, which JSON can hold and UTF-8 cannot): nobody could print,
    save or send them on, so U+FFFD stands in their place."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def reasoning_of(message: dict[str, Any]) -> str:
    """The reasoning that a message or a delta carries beside its text."""
    beside = [message[key] for key in _REASONING if isinstance(message.get(key), str)]
    content = message.get("content")
    within = [_thought(block) for block in content if isinstance(block, dict)] if isinstance(content, list) else []
    return next(filter(None, (*beside, "".join(within))), "")


def _thought(block: dict[str, Any]) -> str:
    if block.get("type") not in ("thinking", "reasoning"):
        return ""
    inside: object = block.get("thinking") or block.get("text") or ""
    if isinstance(inside, list):
        return "".join(str(part.get("text") or "") for part in inside if isinstance(part, dict))
    return inside if isinstance(inside, str) else ""


def without_thoughts(content: object) -> object:
    """A message's content without blocks of reasoning."""
    if not isinstance(content, list):
        return content
    return [block for block in content if not (isinstance(block, dict) and _thought(block))]


def split_thoughts(text: str) -> tuple[str, str]:
    """Reasoning and text of a whole reply. Where a template has opened the reasoning itself, only its end is there."""
    splitter = ThoughtSplitter()
    thought, said = (one + other for one, other in zip(splitter.passed(text), splitter.ended(), strict=True))
    if not thought and said.count("</think>") == 1:
        thought, _, said = said.partition("</think>")
        said = said.lstrip()
    return thought, said
