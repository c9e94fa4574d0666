"""Tiny random models that can be trained in no time, with a part of the demo model's vocabulary."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import gguf
import numpy as np

from tests.demo_model import DEMO_GGUF

_VOCABULARY, _HIDDEN, _LAYERS, _HEADS, _KEY_HEADS, _WIDE = 1200, 64, 2, 4, 2, 96


def write_tiny(path: Path, *, name: str = "tiny llama", architecture: str = "llama", hidden: int = _HIDDEN) -> Path:
    """A model of random 32-bit weights."""
    random = np.random.default_rng(1)
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_name(name)
    writer.add_context_length(512)
    writer.add_embedding_length(hidden)
    writer.add_block_count(_LAYERS)
    writer.add_feed_forward_length(_WIDE)
    writer.add_head_count(_HEADS)
    writer.add_head_count_kv(_KEY_HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10000.0)
    writer.add_rope_dimension_count(hidden // _HEADS)
    writer.add_vocab_size(_VOCABULARY)
    _add_tokenizer(writer)
    keys = hidden // _HEADS * _KEY_HEADS
    shapes = {"token_embd": (_VOCABULARY, hidden), "output": (_VOCABULARY, hidden)}
    for layer in range(_LAYERS):
        shapes |= {
            f"blk.{layer}.attn_q": (hidden, hidden),
            f"blk.{layer}.attn_k": (keys, hidden),
            f"blk.{layer}.attn_v": (keys, hidden),
            f"blk.{layer}.attn_output": (hidden, hidden),
            f"blk.{layer}.ffn_gate": (_WIDE, hidden),
            f"blk.{layer}.ffn_up": (_WIDE, hidden),
            f"blk.{layer}.ffn_down": (hidden, _WIDE),
        }
        if architecture == "qwen2":
            for part, width in (("q", hidden), ("k", keys), ("v", keys)):
                bias = random.normal(0, 0.1, width).astype(np.float32)
                writer.add_tensor(f"blk.{layer}.attn_{part}.bias", bias)
    for key, shape in shapes.items():
        writer.add_tensor(f"{key}.weight", random.normal(0, 0.15, shape).astype(np.float32))
    for key in ["output", *(f"blk.{layer}.{part}" for layer in range(_LAYERS) for part in ("attn", "ffn"))]:
        writer.add_tensor(f"{key}_norm.weight", np.ones(hidden, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@cache
def _reader() -> gguf.GGUFReader:
    return gguf.GGUFReader(DEMO_GGUF)


@cache
def _read(key: str) -> Any:
    field = _reader().get_field(f"tokenizer.{key}")
    assert field is not None
    return field.contents()


def _add_tokenizer(writer: Any) -> None:
    """The first tokens of the demo model: control tokens, bytes, and the merges that were learnt first."""
    tokens = _read("ggml.tokens")[:_VOCABULARY]
    known = set(tokens)
    merges = [merge for merge in _read("ggml.merges")[:_VOCABULARY] if merge.replace(" ", "") in known]
    writer.add_tokenizer_model(_read("ggml.model"))
    writer.add_tokenizer_pre(_read("ggml.pre"))
    writer.add_token_list(tokens)
    writer.add_token_types(_read("ggml.token_type")[:_VOCABULARY])
    writer.add_token_merges(merges)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_chat_template(_read("chat_template"))


THINGS = ("tea", "cars", "cats", "rain", "music", "bread", "trees", "boats", "books", "trains", "work", "rest")


def survey_rows(*, questions: int = 24, countries: tuple[str, ...] = ("Spain", "Kenya")) -> list[dict[str, Any]]:
    """Questions of which nearly everybody says yes."""
    return [
        {
            "question": f"Is {THINGS[number % len(THINGS)]} good{' today' * (number // len(THINGS))}?",
            "options": ["Yes", "No"],
            "attribute": country,
            "distribution": [0.9, 0.1],
        }
        for number in range(questions)
        for country in countries
    ]
