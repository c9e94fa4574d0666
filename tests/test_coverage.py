"""Sentences, and how far an answer's sentences cover texts."""

from __future__ import annotations

import re
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modular_pluralism.evaluation.measures.coverage import coverage
from modular_pluralism.evaluation.measures.entailment import Counts
from modular_pluralism.sentences import sentences
from tests.command import python


class Overlap:
    """The share of the first text's words that stand in the second."""

    name = "overlap"

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []

    def note(self, counts: Counts) -> str:
        return "For tests."

    async def scores(self, pairs: Sequence[tuple[str, str]], counts: Counts | None = None) -> list[float]:
        self.asked += pairs
        return [len(set(text.split()) & set(said.split())) / len(set(text.split())) for text, said in pairs]


def test_sentences_of_an_answer() -> None:
    text = "Dr. Smith votes. Should everybody?  Yes!\n\n- It is a right.\r\n \nJustice is, e.g. to many, a value"
    assert sentences(text) == [
        "Dr. Smith votes.",
        "Should everybody?",
        "Yes!",
        "- It is a right.",
        "Justice is, e.g. to many, a value",
    ]


@pytest.mark.parametrize("text", ["", " ", "\n\n", "\t \r\n"])
def test_a_blank_text_has_no_sentences(text: str) -> None:
    assert sentences(text) == []


@given(st.text())
def test_sentences_are_never_blank_and_lose_no_words(text: str) -> None:
    found = sentences(text)
    assert all(found)
    assert "".join("".join(each.split()) for each in found) == "".join(text.split())


async def test_a_value_is_covered_by_its_best_sentence() -> None:
    measure = Overlap()
    answer = "Freedom counts. Peace and justice count. Nothing else does."
    values = ["Peace and order", "Freedom of speech now", "Thrift"]
    assert await coverage(measure, answer, values) == pytest.approx([2 / 3, 1 / 4, 0])
    assert measure.asked == [(value, sentence) for value in values for sentence in sentences(answer)]


async def test_the_order_of_sentences_and_values_does_not_matter() -> None:
    answer, values = ["Freedom counts.", "Peace and justice count."], ["Peace and order", "Freedom now"]
    straight = await coverage(Overlap(), " ".join(answer), values)
    assert await coverage(Overlap(), " ".join(answer[::-1]), values[::-1]) == straight[::-1]


@pytest.mark.parametrize("answer", ["", " \n "])
async def test_an_empty_answer_covers_nothing_and_asks_nobody(answer: str) -> None:
    measure = Overlap()
    assert await coverage(measure, answer, ["Peace", "Order"]) == [0.0, 0.0]
    assert await coverage(measure, "Peace.", []) == []
    assert measure.asked == []


def test_without_the_splitter_the_message_says_what_to_install() -> None:
    # A process of its own: here it has been loaded before.
    done = python(
        "import sys\n"
        "sys.modules['sentence_splitter'] = None\n"
        "from modular_pluralism.sentences import sentences\n"
        "sentences('A sentence.')\n"
    )
    assert re.search(r"ModelLoadError: .*sentence-splitter.*modular-pluralism\[eval\]", done.stderr), done.stderr
