"""From which score on a person decides: the threshold keeps what it promises on questions that it has not seen."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modular_pluralism.errors import InputError
from modular_pluralism.societal.conformal import conformal_threshold


@given(st.lists(st.floats(0, 1), min_size=19, max_size=60), st.sampled_from([0.05, 0.1, 0.25, 0.5]))
def test_of_one_score_a_question_it_is_an_order_statistic(scores: list[float], alpha: float) -> None:
    found = conformal_threshold({str(at): [score] for at, score in enumerate(scores)}, alpha)
    place = int(np.ceil(round((len(scores) + 1) * (1 - alpha), 9)))
    assert found.value == sorted(scores)[place - 1]
    assert (found.questions, found.scores, found.alpha) == (len(scores), len(scores), alpha)
    assert found.coverage == pytest.approx(np.mean(np.array(scores) <= found.value))


def test_a_question_counts_once_however_often_it_was_asked() -> None:
    once = {"a": [0.1], "b": [0.5], "c": [0.9]}
    often = {"a": [0.1] * 50, "b": [0.5, 0.5], "c": [0.9]}
    one, other = conformal_threshold(once, 0.5), conformal_threshold(often, 0.5)
    assert one.value == other.value == 0.5
    assert [one.coverage, other.coverage] == pytest.approx([2 / 3, 2 / 3])
    assert other.scores == 53


@pytest.mark.parametrize("alpha", [0.1, 0.3])
def test_new_questions_are_covered_as_often_as_is_promised(alpha: float) -> None:
    draw = np.random.default_rng(3)
    covered = []
    for _ in range(3000):
        # A question has a level, and its items, of which there are one to four, lie around that.
        questions = [draw.normal() + 0.3 * draw.normal(size=draw.integers(1, 5)) for _ in range(25)]
        threshold = conformal_threshold({str(at): each.tolist() for at, each in enumerate(questions[1:])}, alpha)
        covered.append(draw.choice(questions[0]) <= threshold.value)
    # Two standard errors; above the promise by no more than one question.
    assert 1 - alpha - 0.02 <= np.mean(covered) <= 1 - alpha + 1 / 25 + 0.02


@pytest.mark.parametrize(
    ("scores", "alpha", "says"),
    [
        ({"a": [0.1]}, 0.0, "alpha is 0.0; give a number above 0 and below 1"),
        ({"a": [0.1]}, 1.0, "alpha is 1.0"),
        ({"a": [0.1]}, float("nan"), "alpha is nan"),
        ({str(at): [0.5] for at in range(8)}, 0.1, "8 questions are too few for alpha 0.1; give 9 at least"),
        ({}, 0.5, "0 questions are too few"),
        ({"a": [], "b": [0.2]}, 0.5, "The question 'a' has no score"),
        ({"a": [float("nan")], "b": [0.2]}, 0.5, "The question 'a' has no score, or one that is no number"),
    ],
)
def test_what_promises_nothing_is_refused(scores: dict[str, list[float]], alpha: float, says: str) -> None:
    with pytest.raises(InputError, match=says):
        conformal_threshold(scores, alpha)


def test_just_enough_questions_give_the_largest_score() -> None:
    assert conformal_threshold({str(at): [at / 10] for at in range(9)}, 0.1).value == 0.8
