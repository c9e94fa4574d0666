"""Which models the engine can run: decoders, which write one token after the other; and which give vectors of texts."""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any

from llama_cpp import llama_cpp as native

from modular_pluralism.errors import ModelLoadError
from modular_pluralism.llama.gguf_header import GgufHeader

_MOST = 512
"""The most layers, and the most experts, that llama.cpp has room for; with more it ends the process."""


def check_counts(header: GgufHeader, path: Path) -> None:
    """Raise ModelLoadError where a file's header counts what llama.cpp would end the process with."""
    architecture = header.text("general.architecture")
    for name, least in (("block_count", 1), ("expert_count", 0)):
        count = header.values.get(f"{architecture}.{name}", least)
        if isinstance(count, int) and not least <= count <= _MOST:
            raise ModelLoadError(
                f"{path} says that its {architecture}.{name} is {count}, and {least} to {_MOST} can be; use a complete "
                "GGUF of a text model."
            )


def check_is_decoder(pointer: Any, path: Path) -> None:
    """Raise ModelLoadError unless the loaded model can write text; llama.cpp would end the process with others."""
    what = _other_kind(pointer)
    if what is not None:
        raise ModelLoadError(f"{path.name} is {what}; use a GGUF of a model that writes text, such as Llama or Qwen.")


def _other_kind(pointer: Any) -> str | None:
    architecture = metadata_value(pointer, "general.architecture") or ""
    if native.llama_model_has_encoder(pointer):
        if native.llama_model_has_decoder(pointer):
            return f"an encoder with a decoder ({architecture})"
        return f"an encoder ({architecture})"
    if not native.llama_model_has_decoder(pointer):
        return f"no decoder ({architecture})"
    if native.llama_model_is_diffusion(pointer):
        return f"a diffusion model ({architecture}), which does not write one token after the other"
    if sees_what_follows(pointer):
        return f"an embedding model ({architecture}, without causal attention)"
    if metadata_value(pointer, f"{architecture}.pooling_type") not in (None, "0", "4294967295", "-1"):
        return f"an embedding or ranking model ({architecture}, with pooling)"
    if native.llama_vocab_type(native.llama_model_get_vocab(pointer)) == native.LLAMA_VOCAB_TYPE_NONE:
        return f"a model without a vocabulary ({architecture})"
    return None


def check_gives_vectors(pointer: Any, path: Path) -> None:
    """Raise ModelLoadError unless the loaded model, whether it writes text or not, gives vectors of texts."""
    what = None
    if native.llama_model_has_encoder(pointer):  # T5's; those of BERT's kind are none to llama.cpp
        what = "an encoder for a decoder"
    elif pooling_type(pointer) == native.LLAMA_POOLING_TYPE_RANK:
        what = "a ranking model"
    elif native.llama_vocab_type(native.llama_model_get_vocab(pointer)) == native.LLAMA_VOCAB_TYPE_NONE:
        what = "a model without a vocabulary"
    if what is not None:
        raise ModelLoadError(
            f"{path.name} is {what}, which gives no vectors of texts; use a GGUF of an embedding model such as "
            "nomic-embed-text or Qwen3-Embedding, or of one that writes text."
        )


def sees_what_follows(pointer: Any) -> bool:
    """Whether each token of a text sees those after it, as an encoder's do."""
    return metadata_value(pointer, f"{metadata_value(pointer, 'general.architecture')}.attention.causal") == "false"


def pooling_type(pointer: Any) -> int:
    """How vectors of tokens make one of their text, as the file says; the mean where it does not."""
    told = metadata_value(pointer, f"{metadata_value(pointer, 'general.architecture')}.pooling_type") or ""
    known = told.isdecimal() and native.LLAMA_POOLING_TYPE_MEAN <= int(told) <= native.LLAMA_POOLING_TYPE_RANK
    return int(told) if known else int(native.LLAMA_POOLING_TYPE_MEAN)


def metadata_value(pointer: Any, key: str) -> str | None:
    """A value of the model's header, as text; None where it has none."""
    buffer = ctypes.create_string_buffer(1 << 10)
    if native.llama_model_meta_val_str(pointer, key.encode(), buffer, len(buffer)) < 0:
        return None
    return buffer.value.decode("utf-8", "replace")
