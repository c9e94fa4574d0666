"""Checkpoints hold plain values, and reading one makes nothing else."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, ChatMessage, HumanMessage, SystemMessage, ToolMessage

from modular_pluralism.errors import StoreError
from modular_pluralism.models.redaction import keep_secret
from modular_pluralism.runs.plain_serializer import PlainSerializer

SERIALIZER = PlainSerializer()
scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
plain = st.recursive(
    scalars | st.sets(st.text()),
    lambda each: st.lists(each) | st.dictionaries(st.text().filter(lambda key: key not in ("$set", "$message")), each),
    max_leaves=20,
)


@given(plain)
def test_plain_values_come_back(value: Any) -> None:
    if isinstance(value, dict) and {"lc", "id", "type"} <= set(value):
        return
    assert SERIALIZER.loads_typed(SERIALIZER.dumps_typed(value)) == value


@pytest.mark.parametrize(
    "value",
    [
        object(),
        Path("x"),
        b"bytes",
        {1: "x"},
        {"$set": []},
        {"$message": {}},
        ToolMessage("x", tool_call_id="1", artifact=object()),
        {"lc": 1, "type": "constructor", "id": ["os"]},
        {1, 2},
    ],
    ids=lambda value: type(value).__name__,
)
def test_anything_else_is_not_written(value: Any) -> None:
    with pytest.raises(StoreError):
        SERIALIZER.dumps_typed({"state": [value]})


MESSAGES = [
    HumanMessage("Cars?", id="1", name="Ann"),
    HumanMessage([{"type": "text", "text": "And this?"}, {"type": "image", "url": "https://a/b.png", "id": "2"}]),
    SystemMessage("Be short."),
    AIMessage("", tool_calls=[{"name": "look", "args": {"at": [1]}, "id": "3"}], response_metadata={"model": "m"}),
    AIMessage("No.", usage_metadata={"input_tokens": 1, "output_tokens": 2, "total_tokens": 3}),
    ToolMessage("3", tool_call_id="3", status="error"),
    ChatMessage(content="Hm.", role="judge"),
]


def test_messages_come_back() -> None:
    assert SERIALIZER.loads_typed(SERIALIZER.dumps_typed({"messages": MESSAGES})) == {"messages": MESSAGES}


@pytest.mark.parametrize(
    "forged",
    [
        *(None, 3, {}, {"type": "human"}, {"type": "pathlib.Path", "data": {"content": "x"}}),
        {"type": "human", "data": {"content": [3]}},
    ],
)
def test_what_is_no_message_is_refused(forged: Any) -> None:
    for content in ({"$message": forged}, {"$message": {"type": "human", "data": {"content": "x"}}, "more": 1}):
        with pytest.raises(StoreError, match="holds a message that is none"):
            SERIALIZER.loads_typed(("json", json.dumps([content]).encode()))


def test_an_error_is_written_as_its_text_without_keys() -> None:
    keep_secret("sk-of-the-error")
    written = SERIALIZER.dumps_typed(ValueError("refused: sk-of-the-error"))
    assert SERIALIZER.loads_typed(written) == "ValueError: refused: ***"


class Evil:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def test_a_pickle_is_refused_and_not_run(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="kind 'pickle' is never read"):
        SERIALIZER.loads_typed(("pickle", pickle.dumps(Evil(tmp_path / "ran"))))
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("kind", ["msgpack", "bytes", "null", ""])
def test_other_kinds_are_refused(kind: str) -> None:
    with pytest.raises(StoreError, match="never read"):
        SERIALIZER.loads_typed((kind, b"\xc7\x00\x05"))


@pytest.mark.parametrize("version", [1, 2])
def test_a_constructor_is_refused(version: int, tmp_path: Path) -> None:
    forged = {"lc": version, "type": "constructor", "id": ["pathlib", "Path"], "args": [str(tmp_path)]}
    with pytest.raises(StoreError, match="never done"):
        SERIALIZER.loads_typed(("json", json.dumps({"deep": [forged]}).encode()))


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"[" * 100_000, b'{"$set": [1]}', b'{"$set": [], "x": 1}'])
def test_damage_is_an_error_of_ours(content: bytes) -> None:
    with pytest.raises(StoreError, match="damaged"):
        SERIALIZER.loads_typed(("json", content))
