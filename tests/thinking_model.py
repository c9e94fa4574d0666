"""A tiny model that thinks: which token it writes depends on the last one alone, as a chain says."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from modular_pluralism.llama.model_file import ModelFile
from tests.marker_vocabulary import write_marker_vocabulary
from tests.training_models import HIDDEN, LAYERS, WIDE, write_tiny

CHAIN = {
    "istant": "<|channel|>",  # "assistant" is two tokens
    "<|channel|>": "analysis",
    "analysis": "<|message|>",
    "<|message|>": "B",
    "\n": "<think>",
    "<think>": " because",
    " because": " of",
    " of": " rain",
    " rain": "</think>",
    "</think>": " Yes",
    "\n\n": "A",
    "A": ",",
    "B": ",",
    " Yes": ",",
    ",": " indeed",
    " indeed": "<|im_end|>",
}
"""After a prompt that is to be answered at once comes a letter, after the end of a line three words of reasoning."""


def write_thinking_model(folder: Path) -> Path:
    """The model's file; its vocabulary has the markers of all vendored templates."""
    vocabulary = write_marker_vocabulary(folder / "markers.gguf")
    model = ModelFile(vocabulary, vocabulary_only=True)
    of = {text: _token(model, text) for text in {*CHAIN, *CHAIN.values()}}
    first = _token(model, "1")  # with which a community is selected: nearly as likely as a letter
    is_ = np.zeros((model.n_vocab, HIDDEN), np.float32)
    follows = np.zeros((model.n_vocab, HIDDEN), np.float32)
    for place, (before, after) in enumerate(CHAIN.items()):
        is_[of[before], place] = 1
        follows[of[after], place] = 3
        follows[first, place] = 2.9 * (after in ("A", "B"))
    model.close()
    own = {"token_embd": is_, "output": follows}
    for layer in range(LAYERS):
        own |= {f"blk.{layer}.attn_output": np.zeros((HIDDEN, HIDDEN), np.float32)}
        own |= {f"blk.{layer}.ffn_down": np.zeros((HIDDEN, WIDE), np.float32)}
    return write_tiny(folder / "thinking.gguf", name="thinking", context=4096, own=own, tokenizer=vocabulary)


def _token(model: ModelFile, text: str) -> int:
    (token,) = model.tokenize(text, parse_special=True)
    return token
