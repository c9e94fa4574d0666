"""How alike texts are: by their words, or by the vectors that an embedding model gives them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Any, NamedTuple, Protocol, TypeAlias

import numpy as np
from langchain_core.embeddings import Embeddings
from numpy.typing import NDArray

from modular_pluralism.optional import optional

Floats: TypeAlias = NDArray[np.floating[Any]]
Arrays: TypeAlias = Mapping[str, NDArray[Any]]
"""What an index is kept as: plain arrays by name, of which none holds Python objects."""


class Gate(NamedTuple):
    """Two similarities of the nearest question, 0 to 1: up to `far`, a record is not heard; from `near` on, it has all
    of its weight; between them its weight rises in proportion."""

    far: float
    near: float

    def opening(self, nearness: float) -> float:
        """The part of its weight that a record has, 0 to 1."""
        if nearness <= self.far:
            return 0.0
        return 1.0 if nearness >= self.near else (nearness - self.far) / (self.near - self.far)


class TextIndex(Protocol):
    """Texts that are searched."""

    def similarities(self, text: str) -> Floats:
        """How alike each of the texts is to this one: [n_texts], where 1 is the same and 0 has nothing of it."""

    def arrays(self) -> Arrays:
        """All that `Similarity.restored` needs."""


class Similarity(Protocol):
    """Makes indexes of texts. `name` tells indexes of different kinds apart, and `embeds` says whether a model is asked
    for what a text is, which takes a while."""

    name: str
    gate: Gate
    embeds: bool

    def index(self, texts: Sequence[str], known: Arrays | None = None) -> TextIndex:
        """An index of these texts, of which none is empty; `known` is what an earlier one of some of them was kept
        as."""

    def restored(self, texts: Sequence[str], arrays: Arrays) -> TextIndex | None:
        """The index that was kept as these arrays; None where it has to be made anew."""


class Lexical:
    """By words: the cosine of TF-IDF vectors, which scikit-learn makes. Needs the extra "records"."""

    name = "lexical"
    embeds = False

    def __init__(self, gate: Gate | None = None) -> None:
        self.gate = gate or Gate(0.2, 0.4)

    def index(self, texts: Sequence[str], known: Arrays | None = None) -> _Postings:
        """See Similarity; a word's weight depends on all texts, so that nothing of an earlier index is of use."""
        vectorizer = _vectorizer()
        try:
            matrix = vectorizer.fit_transform(texts)
        except ValueError:  # not one of the texts has a word
            return _Postings({}, np.zeros(0), np.zeros(1, np.int64), np.zeros(0, np.int32), np.zeros(0), len(texts))
        columns = matrix.tocsc()
        words = {str(word): int(place) for word, place in vectorizer.vocabulary_.items()}
        starts, rows = columns.indptr.astype(np.int64), columns.indices.astype(np.int32)
        return _Postings(words, vectorizer.idf_, starts, rows, columns.data, len(texts))

    def restored(self, texts: Sequence[str], arrays: Arrays) -> _Postings:
        """See Similarity."""
        listed = arrays["words"].tobytes().decode()
        words = {word: place for place, word in enumerate(listed.split("\n") if listed else [])}
        return _Postings(words, arrays["idf"], arrays["starts"], arrays["rows"], arrays["values"], len(texts))


def _vectorizer() -> Any:
    text = optional("sklearn.feature_extraction.text", "records", "Searching a record by its words")
    return text.TfidfVectorizer()


class _Postings:
    """For each word, the texts that have it. Only those of the words that are asked for are looked at, which is why a
    search takes no longer than they are common."""

    def __init__(
        self,
        words: Mapping[str, int],
        idf: Floats,
        starts: NDArray[Any],
        rows: NDArray[Any],
        values: Floats,
        texts: int,
    ) -> None:
        self._words, self._idf, self._starts, self._rows, self._values = words, idf, starts, rows, values
        self._texts = texts
        self._analyse = _vectorizer().build_analyzer()

    def similarities(self, text: str) -> Floats:
        """See TextIndex."""
        places = [place for word in self._analyse(text) if (place := self._words.get(word)) is not None]
        found = np.zeros(self._texts)
        if not places:
            return found
        known, counts = np.unique(places, return_counts=True)
        asked = counts * self._idf[known]
        asked /= np.linalg.norm(asked)
        for place, weight in zip(known, asked, strict=True):
            part = slice(self._starts[place], self._starts[place + 1])
            found[self._rows[part]] += weight * self._values[part]
        return np.minimum(found, 1.0)

    def arrays(self) -> Arrays:
        """See TextIndex."""
        listed = "\n".join(sorted(self._words, key=self._words.__getitem__)).encode()
        return {
            "words": np.frombuffer(listed, np.uint8),
            "idf": self._idf,
            "starts": self._starts,
            "rows": self._rows,
            "values": self._values,
        }


class Dense:
    """By meaning: the cosine of the vectors of any LangChain `Embeddings`."""

    embeds = True
    _PROBE = "Which of these comes closest to your own view?"
    _SAME = 0.9999
    """The cosine from which two vectors of one text are of one model: the same one rounds otherwise elsewhere."""

    def __init__(self, embeddings: Embeddings, name: str, gate: Gate | None = None) -> None:
        self.name, self._embeddings, self.gate = name, embeddings, gate or Gate(0.4, 0.7)

    def index(self, texts: Sequence[str], known: Arrays | None = None) -> _Vectors:
        """See Similarity. Vectors of texts that are known already are taken over, unless another model stands behind
        the name by now."""
        probe = self._embed([self._PROBE])[0]
        digests = [_digest(text) for text in texts]
        have: dict[bytes, Floats] = {}
        if known is not None and self._is_same(probe, known["probe"]):
            have = {digest.tobytes(): row for digest, row in zip(known["digests"], known["vectors"], strict=True)}
        new = [place for place, digest in enumerate(digests) if digest not in have]
        if new:
            made = self._embed([texts[place] for place in new])
            have |= {digests[place]: row for place, row in zip(new, made, strict=True)}
        vectors = np.stack([have[digest] for digest in digests]) if texts else np.zeros((0, len(probe)), np.float32)
        return _Vectors(self._embed, vectors, probe, digests)

    def restored(self, texts: Sequence[str], arrays: Arrays) -> _Vectors | None:
        """See Similarity."""
        probe = self._embed([self._PROBE])[0]
        if not self._is_same(probe, arrays["probe"]):
            return None
        return _Vectors(self._embed, arrays["vectors"], probe, [row.tobytes() for row in arrays["digests"]])

    def _is_same(self, probe: Floats, known: NDArray[Any]) -> bool:
        return probe.shape == known.shape and float(probe @ known) >= self._SAME

    def _embed(self, texts: Sequence[str]) -> Floats:
        vectors = np.asarray(self._embeddings.embed_documents(list(texts)), np.float32)
        vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
        return vectors


class _Vectors:
    def __init__(self, embed: Any, vectors: Floats, probe: Floats, digests: Sequence[bytes]) -> None:
        self._embed, self._vectors, self._probe, self._digests = embed, vectors, probe, digests

    def similarities(self, text: str) -> Floats:
        """See TextIndex."""
        cosines: Floats = self._vectors @ self._embed([text])[0]
        return np.clip(cosines, 0.0, 1.0)

    def arrays(self) -> Arrays:
        """See TextIndex."""
        digests = np.frombuffer(b"".join(self._digests), np.uint8).reshape(-1, _DIGEST)
        return {"probe": self._probe, "vectors": self._vectors, "digests": digests}


_DIGEST = 16


def _digest(text: str) -> bytes:
    return blake2b(text.encode(), digest_size=_DIGEST).digest()
