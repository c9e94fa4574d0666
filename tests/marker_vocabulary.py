"""A vocabulary in which whatever the vendored chat templates write between brackets is a special token."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import gguf

from tests.training_models import read_tokenizer
from tests.vendored import chat_template, template_names

_MARKER = re.compile(r"<[^<>\s{}%'\"=]{1,40}>|\[/?[A-Z_]{2,30}\]|<｜[^<>\s{}%'\"]{1,40}｜>")

_NEWLINE = "Ċ"
"""As byte-level tokenizers write it."""


@cache
def markers() -> list[str]:
    """What looks like a marker in any template, such as "<think>" and "[/INST]"."""
    known = set(read_tokenizer("ggml.tokens"))
    found = {marker for name in template_names() for marker in _MARKER.findall(chat_template(name))}
    return sorted(found - known)


def write_marker_vocabulary(path: Path, *, most: int | None = None) -> Path:
    """The demo model's tokenizer with the markers as further tokens: in turns control tokens and user-defined ones.

    With `most`, of the demo model's tokens only so many, and empty lines: a small vocabulary is written in no time.
    """
    writer = gguf.GGUFWriter(path, "llama")
    all_tokens, all_types = read_tokenizer("ggml.tokens"), read_tokenizer("ggml.token_type")
    kept = [at for at, token in enumerate(all_tokens) if most is None or at < most or set(token) == {_NEWLINE}]
    tokens, types = [all_tokens[at] for at in kept], [all_types[at] for at in kept]
    known = set(tokens)
    merges = [merge for merge in read_tokenizer("ggml.merges") if merge.replace(" ", "") in known]
    tokens += markers()
    kinds = (gguf.TokenType.CONTROL, gguf.TokenType.USER_DEFINED)
    types += [kinds[place % 2] for place in range(len(markers()))]
    writer.add_context_length(512)
    writer.add_embedding_length(64)
    writer.add_block_count(1)
    writer.add_feed_forward_length(64)
    writer.add_head_count(4)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model(read_tokenizer("ggml.model"))
    writer.add_tokenizer_pre(read_tokenizer("ggml.pre"))
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    writer.add_token_merges(merges)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_add_bos_token(False)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
