"""How long a community's record takes to answer, against scikit-learn's own search for the same neighbours."""

from __future__ import annotations

import argparse
import random
import statistics
import time
from collections.abc import Callable

from sklearn.feature_extraction.text import TfidfVectorizer  # type: ignore[import-untyped]

from benchmarks.pairing import interval, take_turns
from modular_pluralism.records.record import CommunityRecord
from modular_pluralism.records.similarity import Lexical
from modular_pluralism.records.survey import SurveyItem

_QUESTIONS = 50
"""Searches of a round."""
_WORDS, _LENGTH = 20_000, 15


def main() -> None:
    """Print milliseconds a question, for records of each size: medians over rounds, with 95 % intervals."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--answers", nargs="+", type=int, default=[6_000, 100_000], help="answers of a record")
    parser.add_argument("--rounds", type=int, default=7, help="rounds, in which both take turns")
    arguments = parser.parse_args()
    for count in arguments.answers:
        sides = _sides(count)
        for name, seconds in take_turns(sides, arguments.rounds, lambda _line: None).items():
            each = [1000 * second / _QUESTIONS for second in seconds]
            low, high = interval(each) or (min(each), max(each))
            print(f"{count:>9,} answers, {name:12} {statistics.median(each):.2f} ms ({low:.2f} to {high:.2f})")


def _sides(count: int) -> dict[str, Callable[[int], float]]:
    draw = random.Random(0)
    words = [f"word{number}" for number in range(_WORDS)]
    common = [1 / (rank + 1) for rank in range(_WORDS)]  # as in a language
    questions = [" ".join(draw.choices(words, common, k=_LENGTH)) for _ in range(count)]
    options = [("Yes", "No"), ("Agree", "Disagree"), ("Good", "Neither", "Bad"), ("Often", "Seldom", "Never")]
    chosen = [draw.choice(options) for _ in questions]
    record = CommunityRecord(
        [
            SurveyItem(question, each, None, (1 / len(each),) * len(each))
            for question, each in zip(questions, chosen, strict=True)
        ],
        Lexical(),
    )
    vectorizer = TfidfVectorizer()
    matrix = vectorizer.fit_transform(questions)
    asked = [" ".join(draw.choices(words, common, k=_LENGTH)) for _ in range(_QUESTIONS)]

    def ours(_round: int) -> float:
        began = time.perf_counter()
        for question in asked:
            record.estimate(question, ("Yes", "No"))
        return time.perf_counter() - began

    def theirs(_round: int) -> float:
        began = time.perf_counter()
        for question in asked:
            (matrix @ vectorizer.transform([question]).T).toarray().argmax()
        return time.perf_counter() - began

    return {"record": ours, "scikit-learn": theirs}


if __name__ == "__main__":
    main()
