"""Checkpoints hold plain values, and reading one makes nothing else."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modular_pluralism.errors import StoreError
from modular_pluralism.models.redaction import keep_secret
from modular_pluralism.runs.plain_serializer import PlainSerializer

SERIALIZER = PlainSerializer()
scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
plain = st.recursive(
    scalars | st.sets(st.text()),
    lambda each: st.lists(each) | st.dictionaries(st.text().filter(lambda key: key != "$set"), each),
    max_leaves=20,
)


@given(plain)
def test_plain_values_come_back(value: Any) -> None:
    if isinstance(value, dict) and {"lc", "id", "type"} <= set(value):
        return
    assert SERIALIZER.loads_typed(SERIALIZER.dumps_typed(value)) == value


@pytest.mark.parametrize(
    "value",
    [object(), Path("x"), b"bytes", {1: "x"}, {"$set": []}, {"lc": 1, "type": "constructor", "id": ["os"]}, {1, 2}],
    ids=lambda value: type(value).__name__,
)
def test_anything_else_is_not_written(value: Any) -> None:
    with pytest.raises(StoreError):
        SERIALIZER.dumps_typed({"state": [value]})


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
