"""What the debugger keeps beside a run in its store: records of model calls, and which nodes were taken over."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, Literal, TypedDict

from modular_pluralism.runs.contents import damage
from modular_pluralism.runs.run_store import RunStore

Kind = Literal["call", "reused"]
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


@dataclass(kw_only=True)
class CallRecord:
    """One model call of `run` (for a node that a fork has taken over: its parent); texts hold no key.

    `prompts` are several where the options' order is rotated; `labels` and `raw` [prompt][label] (raw probabilities)
    are there for "label_probabilities", `texts` and `logprobs` [text][token] (natural logarithms; None
    where a token is impossible) for "text_logprobs".
    `reply` is the raw output of a chat, before anything is stripped, `reasoning` what a thinking model wrote before it,
    and `token_logprobs` are those of its tokens, in the form of OpenAI's API, where the model reported them. Tokens are
    None where the model does not count them; `cached_tokens` of the prompt were not read again. `seconds` and
    `attempts` cover all tries. `rebuilt`: the run was not watched; the prompt was made again from its checkpoints, and
    nothing else is known.
    """

    run: str
    number: int = 0
    node: str
    community: str | None
    role: str
    kind: CallKind
    model: str = ""
    prompts: list[SentPrompt] = field(default_factory=list)
    note: str | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    reply: str | None = None
    reasoning: str | None = None
    finish_reason: str | None = None
    labels: list[str] | None = None
    raw: list[list[float]] | None = None
    texts: list[str] | None = None
    logprobs: list[list[float | None]] | None = None
    token_logprobs: list[dict[str, Any]] | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    cached_tokens: int | None = None
    seconds: float | None = None
    attempts: int = 1
    errors: list[str] = field(default_factory=list)
    rebuilt: bool = False


async def add_record(store: RunStore, run: str, kind: Kind, number: int, record: Any) -> None:
    """Keep a record of plain values; records of a kind are numbered within their run.

    Raises:
        StoreError: the store cannot be written.
    """
    sql = "INSERT INTO pluralism_records (run, number, kind, record) VALUES (?, ?, ?, ?)"
    await store.change((sql, [run, number, kind, json.dumps(record)]))


async def own_calls(store: RunStore, run: str) -> list[CallRecord]:
    """The calls of this run itself, in the order in which they ended."""
    records = await _records(store, run, "call")
    with damage(store, run):
        return [CallRecord(**record) for record in records]


async def reused_nodes(store: RunStore, run: str) -> dict[str, str]:
    """The nodes that were not run in a fork, and the run that each was taken over from."""
    return {record["node"]: record["source"] for record in await _records(store, run, "reused")}


async def _records(store: RunStore, run: str, kind: Kind) -> list[Any]:
    rows = await store.fetch(
        "SELECT record FROM pluralism_records WHERE run = ? AND kind = ? ORDER BY number", run, kind
    )
    with damage(store, run):
        return [json.loads(row["record"]) for row in rows]
