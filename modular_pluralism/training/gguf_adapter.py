"""A PEFT LoRA as a GGUF adapter that llama.cpp adds to a base.

GGUF files of Llama-family models hold the rows of q and k in another order than transformers does (pairs of a rotary
embedding stand side by side instead of half a head apart), so the rows of what a LoRA adds to them are moved as well.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modular_pluralism.errors import AdapterError
from modular_pluralism.llama.gguf_header import check_is_gguf
from modular_pluralism.llama.gguf_parts import parts
from modular_pluralism.optional import optional

_PURPOSE = "Writing an adapter"
_KEY = re.compile(r"(?:base_model\.model\.)?(?P<layer>.+)\.lora_(?P<which>[AB])(?:\.default)?(?:\.weight)?")
_PERMUTED = {"llama": True, "qwen2": False, "qwen3": False}
"""The architectures that can be converted, by GGUF's name, and whether their q and k are permuted. Mistral is among
Llama's."""

_INVOCATION = "adapter.alora.invocation_tokens"

Matrix = NDArray[np.float32]


@dataclass(frozen=True)
class BaseShape:
    """What of a base's GGUF file an adapter has to fit: `tensors` has [n_out, n_in] of each matrix by its name."""

    name: str
    architecture: str
    layers: int
    heads: int
    key_heads: int
    tensors: dict[str, tuple[int, int]]


@dataclass(frozen=True)
class LoraConfig:
    """Of a PEFT adapter's configuration what its weights need: by which factor a layer's product is multiplied."""

    rank: int
    alpha: float
    root: bool
    ranks: Mapping[str, int]
    alphas: Mapping[str, float]
    base: str | None
    invocation: Sequence[int] = ()
    """The tokens from which on an activated LoRA acts."""

    def scale(self, layer: str, rank: int) -> float:
        """The factor of a layer whose LoRA has this rank."""
        alpha = float(_of_pattern(self.alphas, layer, self.alpha))
        return alpha / (math.sqrt(rank) if self.root else rank)


def read_base(gguf: Path) -> BaseShape:
    """The shape of a base. Reads the head of its file, or of each file of a split one, and none of its weights.

    Raises:
        ModelLoadError: it is missing or no GGUF file.
        AdapterError: adapters for this architecture cannot be written.
    """
    check_is_gguf(gguf)
    library = optional("gguf", "train", _PURPOSE)
    try:
        reader, *others = [library.GGUFReader(part) for part in parts(gguf)]
        architecture = _value(reader, "general.architecture")
    except Exception as error:  # the reader raises whatever it comes upon in a broken file
        raise _broken(gguf, error) from error
    # First of all: the others lack some of the numbers below.
    if architecture is not None and architecture not in _PERMUTED:
        raise AdapterError(
            f"Adapters for the architecture {architecture!r} of {gguf.name} cannot be written; use a base of "
            f"{', '.join(_PERMUTED)} (Mistral models are among llama)."
        )
    try:
        layers = int(_value(reader, f"{architecture}.block_count"))
        heads = int(_value(reader, f"{architecture}.attention.head_count"))
        key_heads = int(_value(reader, f"{architecture}.attention.head_count_kv") or heads)
    except Exception as error:
        raise _broken(gguf, error) from error
    matrices = {
        str(tensor.name): (int(tensor.shape[1]), int(tensor.shape[0]))
        for each in (reader, *others)
        for tensor in each.tensors
        if len(tensor.shape) == 2
    }
    return BaseShape(gguf.name, architecture, layers, heads, key_heads, matrices)


def read_config(text: str, source: str) -> LoraConfig:
    """The configuration in `adapter_config.json`.

    Raises:
        AdapterError: it is no LoRA, or one with parts that a GGUF adapter cannot hold; `source` names it.
    """
    try:
        raw: dict[str, Any] = json.loads(text)
        kind = raw["peft_type"]
        if kind != "LORA":
            raise AdapterError(f"{source} is a {kind} adapter; only LoRA adapters can be imported.")
        for key, what in (("use_dora", "DoRA"), ("fan_in_fan_out", "transposed weights (fan_in_fan_out)")):
            if raw.get(key):
                raise AdapterError(f"{source} has {what}, which a GGUF adapter cannot hold; use a plain LoRA.")
        if raw.get("modules_to_save") or raw.get("bias", "none") != "none":
            raise AdapterError(
                f"{source} changes whole layers or biases of its base, too, which a GGUF adapter cannot hold; use a "
                "plain LoRA."
            )
        return LoraConfig(
            rank=int(raw["r"]),
            alpha=float(raw["lora_alpha"]),
            root=bool(raw.get("use_rslora")),
            ranks=raw.get("rank_pattern") or {},
            alphas=raw.get("alpha_pattern") or {},
            base=raw.get("base_model_name_or_path"),
            invocation=[int(token) for token in raw.get("alora_invocation_tokens") or ()],
        )
    except json.JSONDecodeError as error:
        why = f"no JSON: {error.msg}"
    except (ValueError, OverflowError, RecursionError):
        why = "a number is none or too large, or there are too many brackets in one another"
    except (KeyError, TypeError, AttributeError) as error:
        why = f"{type(error).__name__}: {error}"
    raise AdapterError(
        f"{source} is no configuration of a PEFT LoRA ({why}); give the folder of an adapter that PEFT has saved."
    )


def gguf_tensors(weights: Mapping[str, Matrix], config: LoraConfig, base: BaseShape) -> dict[str, Matrix]:
    """The adapter's tensors under GGUF's names, each already multiplied by its factor.

    Raises:
        AdapterError: a weight is no LoRA's, its layer is not in the base, or its shape does not fit the base.
    """
    names = _names(base)
    pairs: dict[str, dict[str, Matrix]] = {}
    for key, matrix in weights.items():
        match = _KEY.fullmatch(key)
        if match is None or matrix.ndim != 2:
            raise AdapterError(f"The adapter's weight {key!r} is no LoRA's of a linear layer; use a plain LoRA.")
        pairs.setdefault(match["layer"], {})[match["which"]] = matrix
    if not pairs:
        raise AdapterError("The adapter has no weights; use one that PEFT has saved whole.")
    tensors: dict[str, Matrix] = {}
    for layer, pair in pairs.items():
        if set(pair) != {"A", "B"}:
            raise AdapterError(f"The adapter has only one of two matrices for {layer}; use one that was saved whole.")
        name = f"{names.get_name(layer)}.weight"
        _check_shapes(layer, name, pair["A"], pair["B"], base)
        # llama.cpp multiplies by alpha / rank, which is 1 for every layer here.
        b = pair["B"] * config.scale(layer, pair["A"].shape[0])
        tensors[f"{name}.lora_a"] = np.ascontiguousarray(pair["A"], np.float32)
        tensors[f"{name}.lora_b"] = np.ascontiguousarray(_permuted(b, name, base), np.float32)
    return tensors


def write_gguf_adapter(
    path: Path, tensors: Mapping[str, Matrix], base: BaseShape, *, name: str, invocation: Sequence[int] = ()
) -> None:
    """Write the adapter; an activated one acts from the tokens of its `invocation` on.

    All its layers have one rank, which llama.cpp needs for its factor; those of a lower rank are filled with zeros.

    Raises:
        OSError: the file cannot be written.
    """
    library = optional("gguf", "train", _PURPOSE)
    rank = max(matrix.shape[0] for key, matrix in tensors.items() if key.endswith(".lora_a"))
    with closing(library.GGUFWriter(path, base.architecture)) as writer:
        writer.add_string("general.type", "adapter")
        writer.add_string("general.name", name)
        writer.add_string("adapter.type", "lora")
        writer.add_float32("adapter.lora.alpha", float(rank))
        if invocation:
            kinds = library.GGUFValueType
            writer.add_key_value(_INVOCATION, list(invocation), kinds.ARRAY, sub_type=kinds.UINT32)
        for key, matrix in tensors.items():
            writer.add_tensor(key, _filled(matrix, rank, rows=key.endswith(".lora_a")))
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()


def adapter_weights(path: Path, keys: Sequence[str], config: LoraConfig, base: BaseShape) -> dict[str, Matrix]:
    """The weights of a GGUF adapter under the names `keys` that PEFT has for a LoRA of this configuration: what
    `gguf_tensors` and `write_gguf_adapter` undo.

    Raises:
        ModelLoadError: the file is missing or no GGUF file.
        AdapterError: it is no adapter, or one of another base, rank or set of layers.
    """
    check_is_gguf(path)
    library = optional("gguf", "train", _PURPOSE)
    try:
        reader = library.GGUFReader(path)
        alpha = float(_value(reader, "adapter.lora.alpha"))
        invocation = [int(token) for token in _value(reader, _INVOCATION) or ()]
        tensors = {str(tensor.name): np.array(tensor.data, np.float32) for tensor in reader.tensors}
    except Exception as error:  # the reader raises whatever it comes upon; a model's file has no alpha
        raise AdapterError(f"{path} cannot be read as a GGUF adapter; give one that a training has written.") from error
    if invocation != list(config.invocation):
        kinds = {True: "an activated adapter", False: "a plain adapter"}
        raise AdapterError(
            f"{path} is {kinds[bool(invocation)]}, and {kinds[bool(config.invocation)]} of this base was asked for; "
            "begin with one of the same kind."
        )
    names = _names(base)
    weights: dict[str, Matrix] = {}
    for key in keys:
        match = _KEY.fullmatch(key)
        assert match is not None, key
        layer, which = match["layer"], match["which"].lower()
        name = f"{names.get_name(layer)}.weight"
        matrix = tensors.pop(f"{name}.lora_{which}", None)
        if matrix is None:
            raise AdapterError(f"{path} has no weights for {layer}; begin with an adapter of the same base and layers.")
        rank = matrix.shape["ab".index(which)]
        if rank != config.rank:
            raise AdapterError(
                f"{path} has the rank {rank}, and {config.rank} was asked for; train with --rank {rank}."
            )
        rows, columns = base.tensors[name]
        if matrix.shape != ((rank, columns) if which == "a" else (rows, rank)):
            raise AdapterError(f"{path} was made for another base than {base.name}; begin with an adapter of this one.")
        if which == "b":
            matrix = _permuted(matrix, name, base, undo=True) * np.float32(alpha / rank / config.scale(layer, rank))
        weights[key] = matrix
    if tensors:
        raise AdapterError(f"{path} has weights for {min(tensors)}, which this training does not; begin with another.")
    return weights


def _value(reader: Any, key: str) -> Any:
    field = reader.get_field(key)
    return None if field is None else field.contents()


def _broken(gguf: Path, error: Exception) -> AdapterError:
    return AdapterError(f"{gguf} cannot be read as a GGUF model ({error}); use a complete file.")


def _names(base: BaseShape) -> Any:
    """What GGUF calls the layers that transformers names otherwise."""
    library = optional("gguf", "train", _PURPOSE)
    architecture = next(key for key, name in library.MODEL_ARCH_NAMES.items() if name == base.architecture)
    return library.get_tensor_name_map(architecture, base.layers)


def _of_pattern(pattern: Mapping[str, Any], layer: str, default: Any) -> Any:
    """PEFT's own rule: a key of a pattern is a regular expression for the end of a layer's name."""
    for key, value in pattern.items():
        if re.match(rf"(?:.*\.)?{key}$", layer):
            return value
    return default


def _check_shapes(layer: str, name: str, a: Matrix, b: Matrix, base: BaseShape) -> None:
    if name not in base.tensors:
        raise AdapterError(f"{base.name} has no layer {layer}; the adapter was made for another base: use that one.")
    wanted = base.tensors[name]
    shape = (b.shape[0], a.shape[1])
    if a.shape[0] != b.shape[1] or shape != wanted:
        raise AdapterError(
            f"The adapter was made for another base: its {layer} adds to {shape[0]} x {shape[1]} weights, and that of "
            f"{base.name} has {wanted[0]} x {wanted[1]}; use the base that it was trained on."
        )


def _permuted(b: Matrix, name: str, base: BaseShape, *, undo: bool = False) -> Matrix:
    if not _PERMUTED[base.architecture] or not name.endswith((".attn_q.weight", ".attn_k.weight")):
        return b
    heads = base.heads if name.endswith(".attn_q.weight") else base.key_heads
    half = b.shape[0] // heads // 2
    pairs = (half, 2) if undo else (2, half)
    return b.reshape(heads, *pairs, b.shape[1]).swapaxes(1, 2).reshape(b.shape)


def _filled(matrix: Matrix, rank: int, *, rows: bool) -> Matrix:
    missing = rank - matrix.shape[0 if rows else 1]
    return np.pad(matrix, ((0, missing), (0, 0)) if rows else ((0, 0), (0, missing)))
