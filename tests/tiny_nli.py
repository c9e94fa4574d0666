"""A tiny DeBERTa-v2 classifier with random weights and a tokenizer of its own: built like the paper's, in kilobytes."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest

MNLI_LABELS = ("CONTRADICTION", "NEUTRAL", "ENTAILMENT")

_WORDS = (
    "People should have the right to vote. Justice matters, and so does peace. Freedom of speech is a value! "
    "Some say it harms others; others disagree. Duty to protect the weak? The law must be kept, they think. "
    "Nobody knows whether a country may intervene. A community has its own view of what is fair and what is not."
)


def make_tiny_nli(folder: Path, labels: tuple[str, ...] = MNLI_LABELS, *, seed: int = 0, **config: Any) -> Path:
    """Save the classifier into `folder`; its scores differ from pair to pair although nobody trained it."""
    torch = pytest.importorskip("torch")
    pytest.importorskip("google.protobuf")
    transformers = pytest.importorskip("transformers")
    folder.mkdir(parents=True, exist_ok=True)
    size = _save_tokenizer(folder)
    torch.manual_seed(seed)
    made = transformers.DebertaV2Config(
        vocab_size=size,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=128,
        relative_attention=True,
        pos_att_type=["c2p", "p2c"],
        position_buckets=16,
        norm_rel_ebd="layer_norm",
        share_att_key=True,
        conv_kernel_size=3,  # as the paper's classifier has it
        conv_act="gelu",
        position_biased_input=False,
        type_vocab_size=0,
        initializer_range=0.2,  # so that what is read makes a difference
        id2label=dict(enumerate(labels)),
        label2id={label: number for number, label in enumerate(labels)},
        **config,
    )
    transformers.DebertaV2ForSequenceClassification(made).save_pretrained(folder)
    return folder


def _save_tokenizer(folder: Path) -> int:
    """Train a SentencePiece vocabulary and save it as the paper's classifier has it; returns its size."""
    sentencepiece = pytest.importorskip("sentencepiece")
    transformers = pytest.importorskip("transformers")
    trained = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(_WORDS.split(". ")),
        model_writer=trained,
        vocab_size=120,
        hard_vocab_limit=False,
        pad_id=0,
        bos_id=1,
        eos_id=2,
        unk_id=3,
        pad_piece="[PAD]",
        bos_piece="[CLS]",
        eos_piece="[SEP]",
        unk_piece="[UNK]",
        user_defined_symbols=["[MASK]"],
        minloglevel=2,
    )
    (folder / "spm.model").write_bytes(trained.getvalue())
    tokenizer = transformers.DebertaV2Tokenizer.from_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return len(tokenizer)
