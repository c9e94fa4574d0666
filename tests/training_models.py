"""Two-layer models of random weights, which load, run and train in no time, with a real model's tokenizer."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from gguf.quants import quantize
from numpy.typing import NDArray

from tests.demo_model import DEMO_GGUF

_VOCABULARY, HIDDEN, LAYERS, HEADS, KEY_HEADS, WIDE = 1200, 64, 2, 4, 2, 96


def write_tiny(
    path: Path,
    *,
    name: str = "tiny llama",
    architecture: str = "llama",
    hidden: int = HIDDEN,
    vocabulary: int = _VOCABULARY,
    context: int = 512,
    own: dict[str, NDArray[np.float32]] | None = None,
    stored: gguf.GGMLQuantizationType = gguf.GGMLQuantizationType.F32,
    tokenizer: Path | None = None,
    template: str | None = None,
) -> Path:
    """A model of random weights, but for the tensors that `own` gives; its tokens are the first `vocabulary` ones of
    the demo model, or all those of the file `tokenizer`. Its matrices are `stored` in this format."""
    if tokenizer is not None:
        vocabulary = vocabulary_size(tokenizer)
    random = np.random.default_rng(1)
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_name(name)
    writer.add_context_length(context)
    writer.add_embedding_length(hidden)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(WIDE)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KEY_HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10000.0)
    writer.add_rope_dimension_count(hidden // HEADS)
    writer.add_vocab_size(vocabulary)
    if tokenizer is None:
        add_tokenizer(writer, vocabulary)
        template = template or read_tokenizer("chat_template")
    else:
        copy_tokenizer(writer, tokenizer)
    if template is not None:
        writer.add_chat_template(template)
    keys = hidden // HEADS * KEY_HEADS
    shapes = {"token_embd": (vocabulary, hidden), "output": (vocabulary, hidden)}
    for layer in range(LAYERS):
        shapes |= {
            f"blk.{layer}.attn_q": (hidden, hidden),
            f"blk.{layer}.attn_k": (keys, hidden),
            f"blk.{layer}.attn_v": (keys, hidden),
            f"blk.{layer}.attn_output": (hidden, hidden),
            f"blk.{layer}.ffn_gate": (WIDE, hidden),
            f"blk.{layer}.ffn_up": (WIDE, hidden),
            f"blk.{layer}.ffn_down": (hidden, WIDE),
        }
        if architecture == "qwen2":
            for part, width in (("q", hidden), ("k", keys), ("v", keys)):
                bias = random.normal(0, 0.1, width).astype(np.float32)
                writer.add_tensor(f"blk.{layer}.attn_{part}.bias", bias)
    for key, shape in shapes.items():
        drawn = random.normal(0, 0.15, shape).astype(np.float32)
        matrix = quantize((own or {}).get(key, drawn), stored)
        writer.add_tensor(f"{key}.weight", matrix, raw_dtype=stored)
    for key in ["output", *(f"blk.{layer}.{part}" for layer in range(LAYERS) for part in ("attn", "ffn"))]:
        writer.add_tensor(f"{key}_norm.weight", np.ones(hidden, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@cache
def _reader(path: Path) -> gguf.GGUFReader:
    return gguf.GGUFReader(path)


@cache
def read_tokenizer(key: str) -> Any:
    """What the demo model's file says of its tokenizer under `key`."""
    field = _reader(DEMO_GGUF).get_field(f"tokenizer.{key}")
    assert field is not None
    return field.contents()


def add_tokenizer(writer: Any, vocabulary: int) -> None:
    """The first tokens of the demo model: control tokens, bytes, and the merges that were learnt first."""
    tokens = read_tokenizer("ggml.tokens")[:vocabulary]
    known = set(tokens)
    merges = [merge for merge in read_tokenizer("ggml.merges")[:vocabulary] if merge.replace(" ", "") in known]
    writer.add_tokenizer_model(read_tokenizer("ggml.model"))
    writer.add_tokenizer_pre(read_tokenizer("ggml.pre"))
    writer.add_token_list(tokens)
    writer.add_token_types(read_tokenizer("ggml.token_type")[:vocabulary])
    writer.add_token_merges(merges)
    writer.add_add_bos_token(read_tokenizer("ggml.add_bos_token"))
    writer.add_add_space_prefix(read_tokenizer("ggml.add_space_prefix"))
    writer.add_unk_token_id(0)
    writer.add_pad_token_id(2)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)


def vocabulary_size(source: Path) -> int:
    """How many tokens the file has."""
    return len(_reader(source).fields["tokenizer.ggml.tokens"].data)


def copy_tokenizer(writer: gguf.GGUFWriter, source: Path) -> None:
    """All that the file says of its tokenizer, but for the chat template."""
    for name, field in _reader(source).fields.items():
        if name.startswith("tokenizer.") and name != "tokenizer.chat_template":
            inner = field.types[-1] if field.types[0] == gguf.GGUFValueType.ARRAY else None
            writer.add_key_value(name, field.contents(), field.types[0], sub_type=inner)


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
