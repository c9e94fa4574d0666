"""A substitute for entailment: how similar the embeddings of two texts are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from modular_pluralism.errors import ModelCallError
from modular_pluralism.evaluation.measures.entailment import Counts
from modular_pluralism.evaluation.measures.transformer import Transformer

DEFAULT_EMBEDDING = "sentence-transformers/all-MiniLM-L6-v2"


class EmbeddingSimilarity:
    """Cosine similarity of sentence embeddings, which are the mean of a model's last states; 0 where it is negative.

    It tells whether two texts are about the same, and not whether one follows from the other: a sentence and its
    negation are similar.
    """

    def __init__(self, source: str = DEFAULT_EMBEDDING, *, device: str | None = None) -> None:
        """Load the model: `source` is a folder, or an id on the Hugging Face hub; `device` as in NliEntailment.

        Raises:
            ModelLoadError: it cannot be loaded.
        """
        self._model = Transformer.load(
            source,
            "AutoModel",
            device=device,
            purpose="The embedding model",
            option="--nli embedding:FOLDER",
            instead="or ask for `llm`, an entailment judged by a model of the pool",
        )

    @property
    def name(self) -> str:
        """What the measure is called in tables."""
        return f"similarity by {self._model.name}"

    def note(self, counts: Counts) -> str:
        """That it is not the paper's measure; texts that had to be cut are named."""
        note = (
            f"Not the paper's measure: this is the cosine similarity of sentence embeddings by {self._model.name}, not "
            "entailment; it is high for a sentence and its negation alike, and the threshold of 0.33 was made for "
            "entailment."
        )
        if counts.cut:
            note += f" {counts.cut} texts were longer than the {self._model.limit} tokens that it reads, and were cut."
        return note

    async def scores(self, pairs: Sequence[tuple[str, str]], counts: Counts | None = None) -> list[float]:
        """The similarity of each pair, from 0 to 1.

        Raises:
            ModelCallError: the model failed, or gave something that is no number.
        """
        texts = list(dict.fromkeys(text for pair in pairs for text in pair))
        rows, cut = await self._model.rows(texts, read=_mean_state)
        if counts is not None:
            counts.cut += cut
        embedded = dict(zip(texts, rows, strict=True))
        found = [float(embedded[one] @ embedded[other]) for one, other in pairs]
        if any(score != score for score in found):
            raise ModelCallError(f"{self._model.name} gave embeddings that are no numbers; use another model.")
        return [min(1.0, max(0.0, score)) for score in found]


def _mean_state(output: Any, mask: Any) -> Any:
    """The mean of the last states over a text's own tokens [rows, width], of length 1."""
    states = output.last_hidden_state.float()
    weights = mask.unsqueeze(-1).to(states.dtype)
    mean = (states * weights).sum(1) / weights.sum(1).clamp(min=1)
    return mean / mean.norm(dim=1, keepdim=True).clamp(min=1e-12)
