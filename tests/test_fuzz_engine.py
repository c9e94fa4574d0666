"""A short run of the fuzzer, and proof that it would notice."""

from __future__ import annotations

from pathlib import Path

import pytest

from modular_pluralism.llama.context import Context
from tests.fuzz_engine import Fuzz


def test_a_short_fuzz_finds_nothing(tmp_path: Path) -> None:
    fuzz = Fuzz(1, tmp_path)
    fuzz.run_each_shape(60)
    assert fuzz.problems == []
    assert fuzz.done >= 300


def test_the_fuzz_notices_tokens_that_are_not_cut_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Context, "cut", lambda self, stream, length: True)
    fuzz = Fuzz(1, tmp_path)
    fuzz.run_each_shape(20)
    assert any("holds" in problem for problem in fuzz.problems)
