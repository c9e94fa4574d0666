"""What is kept of one model call."""

from __future__ import annotations

from typing import Any, Literal, TypedDict

CallKind = Literal["chat", "label_probabilities", "text_logprobs"]
"""A text, the probability of each option's label as the reply, or the log-probabilities of given replies."""


class SentMessage(TypedDict):
    """`role` is "system", "user" or "assistant"."""

    role: str
    content: str


class SentPrompt(TypedDict):
    """`text` is what the model reads, after its chat template; None where that is not known (see the record's note)."""

    messages: list[SentMessage]
    text: str | None


class CallRecord(TypedDict):
    """One model call of `run` (for a node that a fork has taken over: its parent); texts hold no key.

    `prompts` are several where the options' order is rotated; `labels` and `raw` [prompt][label] (raw probabilities)
    are there for "label_probabilities", `texts` and `logprobs` [text][token] (natural logarithms; None
    where a token is impossible) for "text_logprobs".
    `reply` is the raw output of a chat, before anything is stripped, and `token_logprobs` are those of its tokens, in
    the form of OpenAI's API, where the model reported them. Tokens are None where the model does not count them;
    `cached_tokens` of the prompt were not read again. `seconds` and `attempts` cover all tries. `rebuilt`: the run was
    not watched; the prompt was made again from its checkpoints, and nothing else is known.
    """

    run: str
    number: int
    node: str
    community: str | None
    role: str
    kind: CallKind
    model: str
    prompts: list[SentPrompt]
    note: str | None
    settings: dict[str, Any]
    reply: str | None
    finish_reason: str | None
    labels: list[str] | None
    raw: list[list[float]] | None
    texts: list[str] | None
    logprobs: list[list[float | None]] | None
    token_logprobs: list[dict[str, Any]] | None
    prompt_tokens: int | None
    completion_tokens: int | None
    cached_tokens: int | None
    seconds: float | None
    attempts: int
    errors: list[str]
    rebuilt: bool
