"""LoRA adapters and broken files, made on the spot."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import gguf
import numpy as np

from tests.training_models import HEADS, HIDDEN, KEY_HEADS, LAYERS

_RANK = 4


class Shape(NamedTuple):
    """What an adapter has to fit: the widths of the hidden state and of the keys and values of all heads, the layers;
    and how large its weights are, so that they change what is said."""

    hidden: int
    keys: int
    layers: Sequence[int]
    spread: float


RANDOM = Shape(HIDDEN, HIDDEN // HEADS * KEY_HEADS, range(LAYERS), 0.3)
DEMO = Shape(576, 192, range(0, 30, 2), 0.1)


def write_lora(
    path: Path,
    *,
    seed: int | None,
    architecture: str = "llama",
    shape: Shape = RANDOM,
    invocation: Sequence[int] = (),
) -> Path:
    """A LoRA adapter on the attention of some layers of the random model; `seed` None makes it all zeros. With an
    `invocation` it is an activated one."""
    random = np.random.default_rng(seed)
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_string("general.type", "adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", float(_RANK))
    if invocation:
        kinds = gguf.GGUFValueType
        writer.add_key_value("adapter.alora.invocation_tokens", [*invocation], kinds.ARRAY, sub_type=kinds.UINT32)
    for layer in shape.layers:
        for name, width in (("attn_q", shape.hidden), ("attn_v", shape.keys)):
            a = random.normal(0, shape.spread, (_RANK, shape.hidden)).astype(np.float32)
            b = random.normal(0, shape.spread, (width, _RANK)).astype(np.float32)
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
