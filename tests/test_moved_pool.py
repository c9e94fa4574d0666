"""A pool file that is written into another folder names the same files."""

from __future__ import annotations

from pathlib import Path

import pytest

from modular_pluralism.pool_files.moved_pool import moved_path


@pytest.mark.parametrize(
    "source", ["package:p/f.gguf", "hf:o/r", "hf:o/r:Q8_0", "ollama:gemma3:1b", "~/f.gguf", "/f.gguf"]
)
def test_what_is_no_relative_path_stays_as_it_is(source: str, tmp_path: Path) -> None:
    assert moved_path(source, tmp_path / "old", tmp_path / "new") is None


def test_a_relative_path_is_written_anew(tmp_path: Path) -> None:
    assert moved_path("models/f.gguf", tmp_path / "old", tmp_path / "new") == "../old/models/f.gguf"
