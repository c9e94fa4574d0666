"""Which sentence of an answer comes from which comment, and which comments the answer leaves out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from modular_pluralism.debugger.build import OwnModels
from modular_pluralism.errors import InputError
from modular_pluralism.evaluation.measures.entailment import COVERED, Counts, EntailmentMeasure
from modular_pluralism.evaluation.measures.named import open_measure
from modular_pluralism.pool import Pool
from modular_pluralism.prompts import PromptSet
from modular_pluralism.sentences import sentences
from modular_pluralism.word_overlap import WORDS_THRESHOLD, WordOverlap

WORDS = "words"
"""The measure that needs no model."""


@dataclass(frozen=True)
class AttributedSentence:
    """A sentence of the answer with its score (0 to 1) for each comment. `source` is the community with the highest
    score, or None where no score is above the threshold: nobody's comment accounts for it."""

    text: str
    scores: dict[str, float]
    source: str | None


@dataclass(frozen=True)
class Attribution:
    """`left_out` are the communities whose comment no sentence scores above the `threshold` for. `method` is what the
    measure is called, and `note` says what it can tell and what it cannot."""

    method: str
    note: str
    threshold: float
    sentences: list[AttributedSentence]
    left_out: list[str]


async def attribute_answer(
    state: Mapping[str, Any],
    spec: str = WORDS,
    *,
    pool: Pool | None = None,
    prompts: PromptSet | None = None,
    models: OwnModels = None,
) -> Attribution:
    """Attribute the answer of a run's state to the comments that the base LLM has read: of a steerable run, that is the
    selected one alone.

    `spec` is "words" (shared words, without any model), "llm" or "llm:MODEL" (entailment judged by a model of `pool`),
    or a folder with an entailment classifier; see `evaluation.measures.open_measure`.

    Raises:
        InputError: the state has no answer or no comments, or the spec names no measure.
        ModelLoadError, ModelCallError: a model cannot be loaded or failed; the sentence splitter is not installed.
    """
    comments = _read_by_base(state)
    if not state.get("answer") or not comments:
        raise InputError("The run has no answer with comments to attribute it to; look at one that has finished.")
    parts = sentences(str(state["answer"]))
    measure: EntailmentMeasure
    if spec == WORDS:
        measure = SharedWords(list(comments.values()))
    else:
        measure = open_measure(spec, pool=pool, prompts=prompts, models=models)
    threshold = WORDS_THRESHOLD if spec == WORDS else COVERED
    counts = Counts()
    pairs = [(comment, sentence) for sentence in parts for comment in comments.values()]
    scores = iter(await measure.scores(pairs, counts))
    attributed = [_attributed(sentence, {name: next(scores) for name in comments}, threshold) for sentence in parts]
    about = f"A sentence is put to the comment with the highest score if that is above {threshold:g}."
    return Attribution(
        method=measure.name,
        note=f"{measure.note(counts)} {about}".strip(),
        threshold=threshold,
        sentences=attributed,
        left_out=[name for name in comments if all(sentence.scores[name] <= threshold for sentence in attributed)],
    )


def _read_by_base(state: Mapping[str, Any]) -> dict[str, str]:
    comments = {
        name: comment["text"] for name, comment in (state.get("comments") or {}).items() if comment["error"] is None
    }
    selected = (state.get("selected") or {}).get("community")
    return comments if selected is None else {name: text for name, text in comments.items() if name == selected}


def _attributed(text: str, scores: dict[str, float], threshold: float) -> AttributedSentence:
    best = max(scores, key=lambda name: scores[name])
    return AttributedSentence(text, scores, best if scores[best] > threshold else None)


class SharedWords(WordOverlap):
    """The overlap of words, as an `EntailmentMeasure` offers it; the first text of a pair is the comment."""

    name = "shared words"

    def note(self, counts: Counts) -> str:
        """What it tells and what it does not."""
        return (
            "Sentences and comments were compared by the words that they share, rare ones counting more. That finds "
            "what was copied or closely followed; it misses what was said in other words, and a sentence that denies a "
            "comment shares its words, too."
        )

    async def scores(self, pairs: Sequence[tuple[str, str]], counts: Counts | None = None) -> list[float]:
        """The overlap of each pair."""
        return [self.score(comment, sentence) for comment, sentence in pairs]
