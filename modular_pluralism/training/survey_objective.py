"""The loss of survey answers: cross-entropy against the shares of the options, over their letters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from modular_pluralism.errors import TrainingError
from modular_pluralism.optional import optional
from modular_pluralism.records.survey import SurveyItem
from modular_pluralism.training.base_model import PURPOSE
from modular_pluralism.training.settings import TrainingSettings
from modular_pluralism.training.vote_prompts import VoteEncoder

_READ_AT_ONCE = 16


class SurveyObjective:
    """Computes losses of a model on survey items; `train` and `held_out` have no question in common.

    The options of an item are rotated anew whenever it is learnt from, so that no letter carries a signal.
    """

    def __init__(
        self,
        encoder: VoteEncoder,
        train: Sequence[SurveyItem],
        held_out: Sequence[SurveyItem],
        settings: TrainingSettings,
        context: int,
    ) -> None:
        """Raises TrainingError where a letter is no single token, or a question does not fit into the context."""
        self._torch = optional("torch", "train", PURPOSE)
        self._encoder = encoder
        self._train = list(train)
        self._settings = settings
        most = max(len(item.options) for item in (*train, *held_out))
        self._letters = encoder.letter_tokens(most)
        self._invocation = len(encoder.invocation()) if settings.activated else 0
        self.lengths = [self._length(item, context) for item in self._train]
        draw = np.random.default_rng([settings.seed, 2])
        chosen = draw.permutation(len(held_out))[: settings.held_out_rows]
        self._held_out = [(held_out[index], int(draw.integers(len(held_out[index].options)))) for index in chosen]
        self._held_out.sort(key=lambda drawn: len(drawn[0].question))  # alike in length, so that little is padded

    def loss(self, model: Any, indices: Sequence[int], draw: np.random.Generator) -> Any:
        """Mean loss [] of the training items at these indices, with gradients; `draw` rotates their options."""
        rows = []
        for index in indices:
            item = self._train[index]
            shift, named = int(draw.integers(len(item.options))), draw.random() >= self._settings.unnamed
            rows.append((item, shift, named))
        return self._mean(model, rows)

    def held_out_loss(self, model: Any) -> float:
        """Mean loss over the held-out items, each always in the same rotation."""
        total = 0.0
        for start in range(0, len(self._held_out), _READ_AT_ONCE):
            rows = [(item, shift, True) for item, shift in self._held_out[start : start + _READ_AT_ONCE]]
            total += float(self._mean(model, rows)) * len(rows)
        return total / len(self._held_out)

    def _mean(self, model: Any, rows: Sequence[tuple[SurveyItem, int, bool]]) -> Any:
        torch, device = self._torch, next(model.parameters()).device
        prompts, targets = [], []
        for item, shift, named in rows:
            order = [(index + shift) % len(item.options) for index in range(len(item.options))]
            options = [item.options[at] for at in order]
            prompts.append(self._encoder.tokens(item.question, options, item.attribute if named else None))
            targets.append([item.distribution[at] for at in order])
        logits = last_logits(torch, model, prompts, device, self._invocation)
        everything = torch.logsumexp(logits, dim=-1)
        losses = []
        for row, target in enumerate(targets):
            spelled = [torch.logsumexp(logits[row, self._letters[index]], dim=0) for index in range(len(target))]
            labels = torch.stack(spelled)
            on_letters = torch.logsumexp(labels, dim=0)
            shares = torch.tensor(target, dtype=labels.dtype, device=device)
            losses.append(
                -(shares * (labels - on_letters)).sum() - self._settings.mass_weight * (on_letters - everything[row])
            )
        return torch.stack(losses).mean()

    def _length(self, item: SurveyItem, context: int) -> int:
        length = len(self._encoder.tokens(item.question, item.options, item.attribute))
        if length >= context:
            raise TrainingError(
                f"The question {item.question[:60]!r} has {length} tokens with its options, and the model reads "
                f"{context}; shorten it, or leave it out."
            )
        return length


def last_logits(torch: Any, model: Any, prompts: Sequence[Sequence[int]], device: Any, invocation: int = 0) -> Any:
    """The logits [n_prompts, n_vocab] of what comes after each prompt, in 32-bit floats.

    An activated LoRA acts on the last `invocation` tokens alone. What is before them is read by the base, without
    gradients, as the engine reads it.
    """
    decoder = model.get_base_model().get_decoder()
    end = {"past_key_values": None, "use_cache": False}
    ids, mask = _right_aligned(torch, [prompt[: len(prompt) - invocation] for prompt in prompts])
    if invocation:
        with torch.no_grad(), model.disable_adapter():
            before = decoder(**_placed(ids, mask, device), use_cache=True)
        end = {"past_key_values": before.past_key_values, "use_cache": True}
        ids = torch.tensor([list(prompt[len(prompt) - invocation :]) for prompt in prompts])
        mask = torch.cat([mask, torch.ones_like(ids)], dim=1)
    hidden = decoder(**_placed(ids, mask, device), **end).last_hidden_state
    # The head is called here on a matrix: given a batch of sequences, torch copies all of its weights for each of them.
    return model.get_base_model().get_output_embeddings()(hidden[:, -1]).float()


def _right_aligned(torch: Any, rows: Sequence[Sequence[int]]) -> tuple[Any, Any]:
    """Tokens and attention mask [n_rows, n_longest], with the padding on the left, so that all rows end together."""
    longest = max(map(len, rows))
    ids = torch.zeros((len(rows), longest), dtype=torch.long)
    mask = torch.zeros_like(ids)
    for row, tokens in enumerate(rows):
        ids[row, longest - len(tokens) :] = torch.tensor(tokens)
        mask[row, longest - len(tokens) :] = 1
    return ids, mask


def _placed(ids: Any, mask: Any, device: Any) -> dict[str, Any]:
    """What a decoder is given for the last tokens of what the mask tells of."""
    positions = (mask.cumsum(dim=1) - 1).clamp(min=0)[:, -ids.shape[1] :]
    return {
        "input_ids": ids.to(device),
        "attention_mask": mask.to(device),
        "position_ids": positions.to(device),
    }
