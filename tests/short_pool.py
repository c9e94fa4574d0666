"""A built-in pool whose texts are short, for tests that do not look at how long they are."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

TOKENS = 24


def short_pool(folder: Path, name: str = "perspective", *, tokens: int = TOKENS) -> Path:
    """The pool's file in `folder`, with `tokens` at most in every text."""
    text = files("modular_pluralism.pools").joinpath(f"{name}.toml").read_text()
    assert "[run]" not in text
    path = folder / f"{name}.toml"
    path.write_text(f"{text}\n[run]\ncomment_tokens = {tokens}\nanswer_tokens = {tokens}\n")
    return path
