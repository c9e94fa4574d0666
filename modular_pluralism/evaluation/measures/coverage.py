"""Coverage: how far each of several texts is covered by some sentence of an answer."""

from __future__ import annotations

from collections.abc import Sequence

from modular_pluralism.evaluation.measures.entailment import Counts, EntailmentMeasure
from modular_pluralism.sentences import sentences


async def coverage(
    measure: EntailmentMeasure, answer: str, texts: Sequence[str], counts: Counts | None = None
) -> list[float]:
    """For each text, a value's explanation or a community's comment, its best score over the answer's sentences: [n].

    An empty answer covers nothing: 0 each (section 4 of the paper; its release scores such an answer -1, and takes an
    empty line of an answer for a sentence). What is to be counted is added to `counts`.

    Raises:
        ModelCallError: the measure's model gave no usable scores.
    """
    said = sentences(answer)
    if not said or not texts:
        return [0.0] * len(texts)
    scores = await measure.scores([(text, sentence) for text in texts for sentence in said], counts)
    of_each = iter(scores)
    return [max(next(of_each) for _ in said) for _ in texts]
