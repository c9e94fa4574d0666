"""Tiny models of random weights of the architectures that people run, for llama.cpp to run.

Which tensors an architecture wants, and of what shapes, is asked of llama.cpp itself, once:
`python -m tests.architectures` writes what it answered to architectures.json, which lies beside this file.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any
from zlib import crc32

import gguf
import numpy as np
from llama_cpp import llama_cpp as native
from numpy.typing import NDArray

from modular_pluralism.llama.captured_log import captured_log
from tests.training_models import add_tokenizer, copy_tokenizer, vocabulary_size

VOCABULARY = 1200
_SHAPES = Path(__file__).with_suffix(".json")
_ADAPTED = ("attn_output.weight", "ssm_out.weight", "ffn_down.weight", "ffn_down_shexp.weight")
_OUT = re.compile(r"(attn_output|ffn_down\w*|ssm_out|out_proj)\.weight")
_LOUD = 6
HIDDEN, _HEADS, _KEY_HEADS, _WIDE = 64, 4, 2, 96


@dataclass(frozen=True)
class Architecture:
    """What llama.cpp has to be told of a model: `keys` beside those that all have; None leaves one of those out."""

    name: str
    """As llama.cpp calls it."""
    keys: Mapping[str, Any] = field(default_factory=dict)
    layers: int = 2
    optional: tuple[str, ...] = ()
    """Tensors that its models have, and without which llama.cpp would load a file, too; "*" stands for each layer."""
    like: str = ""
    """Well-known models of it."""

    @property
    def template(self) -> str | None:
        """The vendored chat template of one of them, if there is one."""
        return _TEMPLATES.get(self.name)


_TEMPLATES = {
    "llama": "meta-llama-Llama-3.1-8B-Instruct",
    "mistral3": "mistralai-Ministral-3-14B-Reasoning-2512",
    "qwen2": "Qwen-Qwen2.5-7B-Instruct",
    "qwen3": "Qwen-Qwen3-0.6B",
    "qwen3moe": "Qwen3-Coder",
    "qwen35": "Qwen3.5-4B",
    "gemma2": "google-gemma-2-2b-it",
    "gemma4": "google-gemma-4-31B-it",
    "gpt-oss": "openai-gpt-oss-120b",
    "granite": "ibm-granite-granite-3.3-2B-Instruct",
    "granitehybrid": "ibm-granite-granite-4.0",
    "lfm2": "LFM2.5-Instruct",
    "lfm2moe": "LFM2-8B-A1B",
    "nemotron_h": "NVIDIA-Nemotron-Nano-v2",
    "deepseek2": "deepseek-ai-DeepSeek-V3.1",
    "phi3": "microsoft-Phi-3.5-mini-instruct",
    "command-r": "CohereForAI-c4ai-command-r-plus-tool_use",
    "cohere2": "CohereForAI-c4ai-command-r7b-12-2024-tool_use",
    "smollm3": "HuggingFaceTB-SmolLM3-3B",
    "glm4moe": "GLM-4.6",
    "seed_oss": "ByteDance-Seed-OSS",
    "minimax-m2": "MiniMax-M2",
}
"""Names of vendored chat templates, by architecture."""

_MAMBA2 = {
    "ssm.conv_kernel": 4,
    "ssm.inner_size": 128,
    "ssm.state_size": 16,
    "ssm.time_step_rank": 8,
    "ssm.group_count": 2,
}
_EXPERTS = {"expert_count": 4, "expert_used_count": 2, "expert_feed_forward_length": 32}
_WINDOW = {"attention.sliding_window": 16}
_DELTA = _MAMBA2 | {"ssm.time_step_rank": 4, "ssm.inner_size": 64, "full_attention_interval": 2}
_DELTA_TENSORS = ("blk.0.attn_qkv.weight", "blk.0.attn_gate.weight")
_CONVOLUTION = ("blk.0.ssm_conv1d.bias",)
_MLA = {
    "attention.head_count_kv": 1,
    "attention.q_lora_rank": 24,
    "attention.kv_lora_rank": 32,
    "attention.key_length": 48,
    "attention.value_length": 32,
    "attention.key_length_mla": 32,
    "attention.value_length_mla": 16,
    "rope.dimension_count": 16,
}

ARCHITECTURES = [
    Architecture("llama", like="Llama 3, SmolLM2"),
    Architecture("mistral3", like="Ministral 3, Mistral Small"),
    Architecture("llama4", _EXPERTS | {"interleave_moe_layer_step": 2} | _WINDOW, layers=4, like="Llama 4"),
    Architecture("qwen2", optional=("blk.*.attn_q.bias", "blk.*.attn_k.bias", "blk.*.attn_v.bias"), like="Qwen 2.5"),
    Architecture("qwen3", like="Qwen 3"),
    Architecture("qwen3moe", _EXPERTS, like="Qwen 3 30B-A3B"),
    Architecture(
        "qwen3next",
        _DELTA | _EXPERTS | {"expert_shared_feed_forward_length": 32},
        optional=_DELTA_TENSORS,
        like="Qwen3 Next",
    ),
    Architecture(
        "qwen35", _DELTA | {"rope.dimension_sections": [4, 2, 2, 0]}, optional=_DELTA_TENSORS, like="Qwen 3.5"
    ),
    Architecture("gemma2", _WINDOW, like="Gemma 2"),
    Architecture("gemma3", _WINDOW | {"attention.sliding_window_pattern": 2}, like="Gemma 3"),
    Architecture(
        "gemma4",
        _WINDOW
        | {
            "attention.sliding_window_pattern": [True, False],
            "attention.key_length_swa": 16,
            "attention.value_length_swa": 16,
            "embedding_length_per_layer_input": 0,
            "rope.dimension_count_swa": 16,
        },
        like="Gemma 4",
    ),
    Architecture("gpt-oss", _WINDOW | _EXPERTS, like="gpt-oss"),
    Architecture("granite", {"logit_scale": 1.0}, like="Granite 3 and 4 dense"),
    Architecture(
        "granitehybrid",
        _MAMBA2 | {"attention.head_count_kv": [0, 2], "logit_scale": 1.0},
        optional=_CONVOLUTION,
        like="Granite 4 H",
    ),
    Architecture("lfm2", {"shortconv.l_cache": 3, "attention.head_count_kv": [0, 2]}, like="LFM2"),
    Architecture(
        "lfm2moe",
        _EXPERTS
        | {"shortconv.l_cache": 3, "attention.head_count_kv": [0, 2], "leading_dense_block_count": 1}
        | {"expert_gating_func": 2},
        like="LFM2 8B-A1B",
    ),
    Architecture(
        "mamba",
        _MAMBA2 | {"ssm.time_step_rank": 4, "attention.head_count": 0, "attention.head_count_kv": 0},
        like="Mamba, Falcon Mamba",
    ),
    Architecture("mamba2", _MAMBA2 | {"attention.head_count": 0, "attention.head_count_kv": 0}, like="Mamba 2"),
    Architecture("falcon-h1", _MAMBA2, optional=("blk.*.ssm_conv1d.bias",), like="Falcon H1"),
    Architecture("jamba", _MAMBA2 | {"ssm.time_step_rank": 4, "attention.head_count_kv": [0, 2]}, like="Jamba"),
    Architecture(
        "nemotron_h",
        _MAMBA2 | {"attention.head_count_kv": [0, 2, 0], "feed_forward_length": [0, 0, 96]},
        layers=3,
        optional=_CONVOLUTION,
        like="Nemotron Nano 2",
    ),
    Architecture(
        "deepseek2",
        _MLA | _EXPERTS | {"expert_shared_count": 1, "leading_dense_block_count": 1, "expert_gating_func": 2},
        like="DeepSeek V3 and R1, Kimi K2",
    ),
    Architecture("phi3", optional=("blk.*.attn_qkv.weight",), like="Phi 3.5, Phi 4 mini"),
    Architecture("olmo2", like="OLMo 2 and 3"),
    Architecture("command-r", {"logit_scale": 1.0}, like="Command R"),
    Architecture("cohere2", {"logit_scale": 1.0, **_WINDOW}, like="Command A, Command R7B"),
    Architecture("exaone4", _WINDOW, like="EXAONE 4"),
    Architecture("smollm3", like="SmolLM 3"),
    Architecture("glm4", like="GLM 4"),
    Architecture(
        "glm4moe",
        _EXPERTS | {"expert_shared_count": 1, "leading_dense_block_count": 1, "expert_gating_func": 2},
        like="GLM 4.5",
    ),
    Architecture("starcoder2", like="StarCoder 2"),
    Architecture("falcon", like="Falcon"),
    Architecture("stablelm", like="StableLM"),
    Architecture("hunyuan-dense", like="Hunyuan"),
    Architecture("ernie4_5", like="ERNIE 4.5"),
    Architecture("seed_oss", like="Seed-OSS"),
    Architecture("minimax-m2", _EXPERTS | {"expert_gating_func": 2}, like="MiniMax M2"),
]

NO_DECODERS = [
    Architecture("t5", {"attention.relative_buckets_count": 8}, like="an encoder with a decoder"),
    Architecture("t5encoder", {"attention.relative_buckets_count": 8}, like="an encoder"),
    Architecture("bert", {"attention.causal": False, "tokenizer.ggml.token_type_count": 2}, like="an embedding model"),
    Architecture("gemma-embedding", _WINDOW | {"pooling_type": 1}, like="an embedding or ranking model"),
    Architecture("llada", like="a diffusion model"),
    Architecture("gemma-embedding", _WINDOW | {"pooling_type": None}, like="keeps nothing of what it has read"),
    Architecture("qwen3", {"pooling_type": 3}, like="an embedding or ranking model"),
]
"""Models that write no text; `like` is what is said of them."""


def keys_of(architecture: Architecture, context: int) -> dict[str, Any]:
    """All that the header says of the model, but for its tokenizer."""
    keys: dict[str, Any] = {
        "context_length": context,
        "embedding_length": HIDDEN,
        "block_count": architecture.layers,
        "feed_forward_length": _WIDE,
        "attention.head_count": _HEADS,
        "attention.head_count_kv": _KEY_HEADS,
        "attention.key_length": HIDDEN // _HEADS,
        "attention.value_length": HIDDEN // _HEADS,
        "attention.layer_norm_rms_epsilon": 1e-5,
        "attention.layer_norm_epsilon": 1e-5,
        "rope.dimension_count": HIDDEN // _HEADS,
        "rope.freq_base": 10000.0,
        "vocab_size": VOCABULARY,
    }
    keys |= architecture.keys
    named = {key if key.startswith("tokenizer.") else f"{architecture.name}.{key}": key for key in keys}
    return {name: keys[key] for name, key in named.items() if keys[key] is not None}


def write_architecture(
    path: Path, architecture: Architecture, *, context: int = 512, shapes: Mapping[str, list[int]] | None = None
) -> Path:
    """A model of random weights, with the first tokens of the demo model's tokenizer and its chat template."""
    with _writing(path, architecture, context, VOCABULARY) as writer:
        add_tokenizer(writer, VOCABULARY)
        for name, shape in (_shapes()[architecture.name] if shapes is None else shapes).items():
            writer.add_tensor(name, _weights(name, tuple(reversed(shape))))
    return path


def write_silent_blocks(
    path: Path, architecture: Architecture, *, context: int, tokenizer: Path, embeddings: NDArray[np.float32]
) -> Path:
    """A model with the tokens of another file whose blocks add nothing, so that what follows a token depends on that
    one alone: on its row of `embeddings` [tokens, HIDDEN], which are the output's, too. The second half of a row is the
    first one's negative; of the first, each entry at an odd place counts negatively in the output."""
    signs = np.where(np.arange(HIDDEN // 2) % 2, -1, 1).astype(np.float32)
    given = {"token_embd.weight": embeddings, "output.weight": embeddings}
    given |= dict.fromkeys(("output_norm.weight", "token_embd_norm.weight"), np.tile(signs, 2))
    with _writing(path, architecture, context, vocabulary_size(tokenizer)) as writer:
        writer.add_final_logit_softcapping(0)  # Gemma's would make large ones equal
        copy_tokenizer(writer, tokenizer)
        for name, shape in _shapes()[architecture.name].items():
            drawn = _weights(name, tuple(reversed(shape)))
            writer.add_tensor(name, given.get(name, np.zeros_like(drawn) if _OUT.search(name) else drawn))
    return path


@contextmanager
def _writing(path: Path, architecture: Architecture, context: int, vocabulary: int) -> Iterator[gguf.GGUFWriter]:
    writer = gguf.GGUFWriter(path, architecture.name)
    for key, value in keys_of(architecture, context).items():
        _add_key(writer, key, vocabulary if key.endswith(".vocab_size") else value)
    yield writer
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def write_adapter(path: Path, architecture: Architecture, invocation: Sequence[int] = ()) -> Path:
    """A LoRA adapter of random weights for one matrix of the last block; an activated one with an `invocation`."""
    shapes = {name: shape for name, shape in _shapes()[architecture.name].items() if name.endswith(_ADAPTED)}
    name, (wide, high) = max(shapes.items())
    with closing(gguf.GGUFWriter(path, architecture.name)) as writer:
        writer.add_string("general.type", "adapter")
        writer.add_string("adapter.type", "lora")
        writer.add_float32("adapter.lora.alpha", 4.0)
        if invocation:
            kinds = gguf.GGUFValueType
            writer.add_key_value("adapter.alora.invocation_tokens", [*invocation], kinds.ARRAY, sub_type=kinds.UINT32)
        writer.add_tensor(f"{name}.lora_a", 10 * _weights("a", (4, wide)))
        writer.add_tensor(f"{name}.lora_b", 10 * _weights("b", (high, 4)))
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
    return path


def _add_key(writer: gguf.GGUFWriter, key: str, value: Any) -> None:
    if isinstance(value, list):
        writer.add_array(key, value)
    elif isinstance(value, bool):
        writer.add_bool(key, value)
    elif isinstance(value, float):
        writer.add_float32(key, value)
    else:
        writer.add_uint32(key, value)


def _weights(name: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Such as keep the numbers tame, norms about one and decays below zero, and let the blocks say more than the
    embeddings: a model of tied ones would repeat its last token."""
    random = np.random.default_rng(crc32(name.encode()))
    drawn = random.normal(0, 0.15, shape).astype(np.float32)
    if "norm" in name and name.endswith("weight"):
        drawn = np.float32(1) + drawn / np.float32(10)
        return drawn * np.float32(_LOUD if "post" in name else 1)
    if name.endswith(("ssm_a", "ssm_a_log")):
        return -np.abs(drawn) - np.float32(0.1)
    return drawn * np.float32(_LOUD if _OUT.search(name) else 1)


@cache
def _shapes() -> dict[str, dict[str, list[int]]]:
    shapes: dict[str, dict[str, list[int]]] = json.loads(_SHAPES.read_text())
    return shapes


def ask_llama_cpp(architecture: Architecture, folder: Path) -> dict[str, list[int]]:
    """The shape of every tensor without which llama.cpp refuses to load such a model."""
    layers = range(architecture.layers)
    names = [name.replace("*", str(layer)) for name in architecture.optional for layer in layers]
    shapes = {name: [2, 2, 2] for name in names}
    parameters = native.llama_model_default_params()
    parameters.no_alloc = True
    parameters.load_mode = native.LLAMA_LOAD_MODE_NONE
    while True:
        path = write_architecture(folder / "asked.gguf", architecture, shapes=shapes)
        with captured_log() as log:
            model = native.llama_model_load_from_file(str(path).encode(), parameters)
        if model:
            native.llama_model_free(model)
            return shapes
        said = "\n".join(log.errors)
        if missing := re.search(r"tensor '(\S+)' not found", said):
            shapes[missing[1]] = [2, 2, 2]
        elif wrong := re.search(r"tensor '(\S+)' has wrong shape; expected\s+([\d, ]+), got", said):
            expected = [int(number) for number in wrong[2].split(",")]
            if shapes[wrong[1]] == expected:
                raise RuntimeError(f"{architecture.name}: {said}")
            shapes[wrong[1]] = expected
        else:
            raise RuntimeError(f"{architecture.name}: {said}")


if __name__ == "__main__":
    native.llama_backend_init()
    with tempfile.TemporaryDirectory() as made:
        asked = {each.name: ask_llama_cpp(each, Path(made)) for each in (*ARCHITECTURES, *NO_DECODERS)}
    _SHAPES.write_text(json.dumps(asked, separators=(",", ":")).replace("},", "},\n") + "\n")
