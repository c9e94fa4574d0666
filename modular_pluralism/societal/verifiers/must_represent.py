"""Which communities an answer must represent."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from modular_pluralism.sentences import sentences
from modular_pluralism.societal.verifiers.candidate import Candidate, Finding, finding
from modular_pluralism.societal.verifiers.verifier import Verifier
from modular_pluralism.word_overlap import WORDS_THRESHOLD, WordOverlap


class MustRepresent(Verifier):
    """Each community whose share of the weights is `above` this: some sentence of the answer has enough words of its
    comment, as the debugger tells which comment a sentence comes from. It misses what was said in other words. Silent
    where such a community has not commented, or no weights are known."""

    name = "must_represent"
    example = "{ above = 0.2 }"

    above: Annotated[float, Field(ge=0, lt=1)]

    def finding(self, candidate: Candidate) -> Finding:
        """See Verifier."""
        if not candidate.weights:
            return Finding("silent", "the communities' weights are not known")
        wanted = [name for name, weight in candidate.weights.items() if weight > self.above]
        overlap = WordOverlap(list(candidate.comments.values()))
        said = sentences(candidate.text)
        commented = [name for name in wanted if name in candidate.comments]
        left_out = [
            name
            for name in commented
            if all(overlap.score(candidate.comments[name], each) <= WORDS_THRESHOLD for each in said)
        ]
        if left_out:
            return finding(False, f"no sentence comes near the comment of {', '.join(left_out)}")
        if missing := [name for name in wanted if name not in commented]:
            return Finding("silent", f"there is no comment of {', '.join(missing)}")
        told = f"a sentence comes near each comment of {', '.join(wanted)}"
        return finding(True, told if wanted else f"no community has a weight above {self.above:g}")
