"""The loss of texts: the next token of packed text, as the paper trains on partisan news and Reddit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from modular_pluralism.errors import TrainingDataError
from modular_pluralism.optional import optional
from modular_pluralism.records.rows import Row
from modular_pluralism.training.base_model import PURPOSE
from modular_pluralism.training.settings import TrainingSettings
from modular_pluralism.training.vote_prompts import VoteEncoder

_AT_ONCE = 2
"""Blocks that go through the model together: the logits of every position take the most memory."""


def texts_of(rows: Sequence[Row]) -> list[str]:
    """The texts of rows, under `text`.

    Raises:
        TrainingDataError: a row has none, or all texts are the same.
    """
    texts = []
    for row in rows:
        text = row.fields.get("text")
        if not isinstance(text, str) or not text.strip():
            raise TrainingDataError(
                f"{row.source}: there is neither a question nor a text; name the column 'question' or 'text'."
            )
        texts.append(text.strip())
    if len(set(texts)) == 1 and len(texts) > 1:
        raise TrainingDataError("All texts are the same; give different ones.")
    return texts


class TextObjective:
    """Computes losses of a model on blocks of tokens, into which the texts are packed one after the other.

    `held_out_texts` numbers the text that each block of `held_out` begins in: blocks of one text are no independent
    evidence.
    """

    def __init__(
        self, encoder: VoteEncoder, train: Sequence[str], held_out: Sequence[str], settings: TrainingSettings
    ) -> None:
        """Raises TrainingDataError where the texts fill no block."""
        self._torch = optional("torch", "train", PURPOSE)
        self._train = [block for block, _ in _packed(encoder, train, settings.block)]
        blocks = _packed(encoder, held_out, settings.block)
        chosen = np.random.default_rng([settings.seed, 2]).permutation(len(blocks))[: settings.held_out_rows]
        self.held_out = [blocks[index][0] for index in sorted(chosen)]
        self.held_out_texts = [blocks[index][1] for index in sorted(chosen)]
        self.lengths = [len(block) for block in self._train]

    @property
    def tokens(self) -> int:
        """How many tokens there are to train on."""
        return sum(self.lengths)

    def loss(self, model: Any, indices: Sequence[int], draw: np.random.Generator) -> Any:
        """Mean loss [] of the training blocks at these indices, with gradients added up on the way."""
        blocks = [self._train[index] for index in indices]
        total = None
        for start in range(0, len(blocks), _AT_ONCE):
            part = blocks[start : start + _AT_ONCE]
            loss = self._mean(model, part) * (len(part) / len(blocks))
            if start + _AT_ONCE < len(blocks):
                loss.backward()  # frees what this part holds before the next one is read
                loss = loss.detach()
            total = loss if total is None else total + loss
        return total

    def held_out_loss(self, model: Any) -> float:
        """Mean loss a token over the held-out blocks, in nats."""
        losses = self.held_out_losses(model)
        return sum(losses) / len(losses)

    def held_out_losses(self, model: Any) -> list[float]:
        """The mean loss a token of each held-out block, in nats."""
        return [float(self._mean(model, [block])) for block in self.held_out]

    def _mean(self, model: Any, blocks: Sequence[Sequence[int]]) -> Any:
        torch, device = self._torch, next(model.parameters()).device
        longest = max(map(len, blocks))
        ids = torch.zeros((len(blocks), longest), dtype=torch.long)
        labels = torch.full((len(blocks), longest), -100)
        for row, block in enumerate(blocks):
            ids[row, : len(block)] = torch.tensor(block)
            labels[row, : len(block)] = torch.tensor(block)
        logits = model(input_ids=ids.to(device), use_cache=False).logits[:, :-1].float()
        return torch.nn.functional.cross_entropy(
            logits.reshape(-1, logits.shape[-1]), labels[:, 1:].reshape(-1).to(device), ignore_index=-100
        )


def _packed(encoder: VoteEncoder, texts: Sequence[str], block: int) -> list[tuple[list[int], int]]:
    """The blocks, each with the number of the text that it begins in."""
    tokens = [(token, number) for number, text in enumerate(texts) for token in encoder.text_tokens(text)]
    parts = [tokens[start : start + block] for start in range(0, len(tokens), block)]
    # A single token has no next one.
    blocks = [([token for token, _ in part], part[0][1]) for part in parts if len(part) > 1]
    if not blocks:
        raise TrainingDataError("The texts have no two tokens on one side of the split; give more text.")
    return blocks
