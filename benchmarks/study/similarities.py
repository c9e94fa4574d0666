"""How the study compares questions: by words, and by the vectors of an embedding model where a file of one is given."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from langchain_core.embeddings import Embeddings

from modular_pluralism.llama import LlamaEmbeddings
from modular_pluralism.records.similarity import Dense, Lexical, Similarity

WORDS, VECTORS = "by words", "by vectors"


def similarities(vectors: Path | None) -> dict[str, Similarity]:
    """By what tables call them; `vectors` is the GGUF file of an embedding model.

    Raises:
        ModelLoadError: the file, or a library, is not there.
    """
    found: dict[str, Similarity] = {WORDS: Lexical()}
    if vectors is not None:
        found[VECTORS] = Dense(Remembered(LlamaEmbeddings(gguf=vectors)), f"model {vectors.stem}")
    return found


class Remembered(Embeddings):
    """Vectors that are made once for each text: the records of a study ask for the same ones again and again."""

    def __init__(self, embeddings: Embeddings) -> None:
        self._embeddings = embeddings
        self._known: dict[str, list[float]] = {}

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """See Embeddings: [n_texts, n_dimensions]."""
        self._learn(list(dict.fromkeys(text for text in texts if text not in self._known)))
        return [self._known[text] for text in texts]

    def embed_query(self, text: str) -> list[float]:
        """See Embeddings; the same as of a document."""
        return self.embed_documents([text])[0]

    def _learn(self, texts: Sequence[str]) -> None:
        if texts:
            made = self._embeddings.embed_documents(list(texts))
            self._known |= dict(zip(texts, made, strict=True))
