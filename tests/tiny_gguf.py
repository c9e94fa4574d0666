"""LoRA adapters and broken files, made on the spot."""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np

_RANK = 4
_HIDDEN, _KEY = 576, 192
"""Widths of SmolLM2-135M: of its hidden state, and of the keys and values of all its heads."""


def write_lora(path: Path, *, seed: int | None, architecture: str = "llama", hidden: int = _HIDDEN) -> Path:
    """A LoRA adapter on the attention of every second layer of the demo model; `seed` None makes it all zeros."""
    random = np.random.default_rng(seed)
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_string("general.type", "adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", float(_RANK))
    for layer in range(0, 30, 2):
        for name, width in (("attn_q", hidden), ("attn_v", _KEY)):
            a = random.normal(0, 0.1, (_RANK, hidden)).astype(np.float32)
            b = random.normal(0, 0.1, (width, _RANK)).astype(np.float32)
            writer.add_tensor(f"blk.{layer}.{name}.weight.lora_a", a)
            writer.add_tensor(f"blk.{layer}.{name}.weight.lora_b", b if seed is not None else np.zeros_like(b))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def write_beginning(path: Path, source: Path, size: int) -> Path:
    """The first `size` bytes of another file, as after a download that broke off."""
    with source.open("rb") as file:
        path.write_bytes(file.read(size))
    return path
