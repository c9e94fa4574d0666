"""Taking the lettered options off the end of a question."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modular_pluralism.errors import InputError
from modular_pluralism.nodes.request import Request
from modular_pluralism.records.question_text import without_options

WORDS = st.text(alphabet="abcXY.()$ ?*", min_size=1, max_size=12).filter(str.strip)


@pytest.mark.parametrize(
    ("question", "options", "text"),
    [
        ("Question: Tea?\nOptions: A. Yes B. No\nAnswer:", ["Yes", "No"], "Tea?"),
        ("Tea?\nA. Yes\nB. No\nAnswer:", ["Yes", "No"], "Tea?"),
        ("Tea?  Options:\n A)  Yes \n B) No", ["Yes", "No"], "Tea?"),
        ("Tea?\nOptions: A. very  much B. (not) at all\nAnswer: ", ["very much", "(not) at all"], "Tea?"),
        ("Tea? Options: A. B. B B. A. A\nAnswer:", ["B. B", "A. A"], "Tea?"),
        ("Is A. Yes B. No a list?\nA. Yes B. No\nAnswer:", ["Yes", "No"], "Is A. Yes B. No a list?"),
    ],
)
def test_options_come_off(question: str, options: list[str], text: str) -> None:
    assert without_options(question, options) == (text, True)


@pytest.mark.parametrize(
    ("question", "text"),
    [
        ("Question: Tea or coffee?", "Tea or coffee?"),
        ("Tea?\nOptions: A. Yes B. Never\nAnswer:", "Tea?\nOptions: A. Yes B. Never"),
        ("Tea?\nA. Yes B. No\nThink before you answer.", "Tea?\nA. Yes B. No\nThink before you answer."),
        ("Options: A. Yes B. No\nAnswer:", "Options: A. Yes B. No"),
    ],
)
def test_where_they_are_not_at_the_end_or_nothing_is_left_the_text_stays(question: str, text: str) -> None:
    assert without_options(question, ["Yes", "No"]) == (text, False)


@given(WORDS, st.lists(WORDS, min_size=1, max_size=26))
def test_whatever_the_options_say_they_are_found(text: str, options: list[str]) -> None:
    listed = " ".join(f"{chr(65 + place)}. {option}" for place, option in enumerate(options))
    assert without_options(f"Question: {text}?\nOptions: {listed}\nAnswer:", options) == (f"{text}?".strip(), True)


@pytest.mark.parametrize("blank", ["\x00", "\x1b\n", "\u200d", " \t"])
def test_a_text_without_anything_to_read_is_blank(blank: str) -> None:
    with pytest.raises(InputError, match="The question is empty"):
        Request(question=blank)
    with pytest.raises(InputError, match="needs an attribute"):
        Request(question="Why?", mode="steerable", attribute=blank)
    with pytest.raises(InputError, match="Option 2 is empty"):
        Request(question="Why?", mode="distributional", options=["Yes", blank])
