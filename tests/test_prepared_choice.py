"""Which of the measured formats is used."""

from __future__ import annotations

import pytest

from modular_pluralism.prepared.choice import MOST_KL, choose, force, was_busy
from modular_pluralism.prepared.measured import TYPICAL_RUN, measured_format
from modular_pluralism.prepared.speed import Speeds
from tests.measurements import measured

ORIGINAL = measured("Q4_1", [10.0, 10.2, 10.1], kl=None)


def test_the_fastest_faithful_format_is_chosen_with_the_reason() -> None:
    choice = choose([ORIGINAL, measured("F16", [7, 7, 7]), measured("BF16", [5.5, 5.6, 5.4])])
    assert choice.format.format == "BF16"
    assert "5.4 s" in choice.reason
    assert "10.0 s" in choice.reason


def test_a_format_that_changes_the_answers_is_never_chosen() -> None:
    choice = choose([ORIGINAL, measured("Q4_0", [1, 1, 1], kl=MOST_KL * 1.01)])
    assert choice.format is ORIGINAL
    assert "every other format changes the answers" in choice.reason
    assert choose([ORIGINAL, measured("Q8_0", [1, 1, 1], kl=MOST_KL)]).format.format == "Q8_0"


@pytest.mark.parametrize(
    "seconds",
    [
        pytest.param([9.6, 9.8, 9.7], id="hardly faster"),
        pytest.param([4.0, 12.0, 12.0], id="faster in one round only"),
        pytest.param([10.0, 10.2, 10.1], id="a tie"),
    ],
)
def test_the_original_is_kept_within_the_noise(seconds: list[float]) -> None:
    choice = choose([ORIGINAL, measured("BF16", seconds)])
    assert choice.format is ORIGINAL
    assert "clearly faster" in choice.reason


def test_one_slow_round_of_the_original_makes_no_other_format_faster() -> None:
    disturbed = measured("Q4_1", [10.0, 30.0, 30.0], kl=None)
    assert choose([disturbed, measured("BF16", [9.9, 9.9, 9.9])]).format is disturbed


def test_of_formats_as_fast_as_each_other_the_smallest_is_chosen() -> None:
    large, small = measured("BF16", [5.0] * 3, megabytes=271), measured("Q8_0", [5.2] * 3, megabytes=145)
    assert choose([ORIGINAL, large, small]).format is small
    assert choose([ORIGINAL, large, measured("Q8_0", [5.5] * 3, megabytes=145)]).format is large


def test_nothing_to_choose_from() -> None:
    assert choose([ORIGINAL]).format is ORIGINAL


def test_what_is_asked_for_is_taken_with_what_speaks_against_it() -> None:
    changed = force([ORIGINAL, measured("Q4_0", [5, 5, 5], kl=0.3)], "Q4_0")
    assert changed.format.format == "Q4_0"
    assert "changes the answers (mean KL 0.300" in changed.reason
    slow = force([ORIGINAL, measured("F16", [12, 12, 12])], "F16")
    assert "not clearly faster" in slow.reason
    assert force([ORIGINAL, measured("BF16", [5, 5, 5])], "BF16").reason == "it was asked for"


def test_rounds_that_differ_much_are_told() -> None:
    assert not was_busy([ORIGINAL])
    assert was_busy([ORIGINAL, measured("BF16", [5, 9, 5])])


def test_a_run_is_estimated_from_each_rounds_speeds() -> None:
    rounds = [Speeds(start=1, prompt=100, together=50, alone=10), Speeds(start=0.5, prompt=200, together=100, alone=20)]
    assert (TYPICAL_RUN.prompt, TYPICAL_RUN.together, TYPICAL_RUN.alone) == (1600, 750, 200)
    summed = measured_format("BF16", 1, rounds, None)
    assert summed.run_seconds == pytest.approx((1 + 16 + 15 + 20, 0.5 + 8 + 7.5 + 10))
    assert summed.typical_run == pytest.approx(26)
    assert (summed.start_seconds, summed.prompt_speed, summed.together_speed, summed.alone_speed) == (0.5, 200, 100, 20)
