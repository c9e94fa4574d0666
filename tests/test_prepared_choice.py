"""Which of the measured formats is used."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from modular_pluralism.prepared import prepare
from modular_pluralism.prepared.choice import MOST_KL, choose, force, was_busy
from modular_pluralism.prepared.measured import TYPICAL_RUN, MeasuredFormat, measured_format
from modular_pluralism.prepared.saving import saving
from modular_pluralism.prepared.speed import Round, Speeds, SpeedSample
from tests.measurements import measured

ORIGINAL = measured("Q4_1", [10.0, 10.2, 10.1], kl=None)


def test_the_fastest_faithful_format_is_chosen_with_the_reason() -> None:
    choice = choose([ORIGINAL, measured("F16", [7, 7.2, 7]), measured("BF16", [5.5, 5.6, 5.4])])
    assert choice.format.format == "BF16"
    assert "5.4 s" in choice.reason
    assert "10.0 s" in choice.reason


def test_a_format_that_changes_the_answers_is_never_chosen() -> None:
    choice = choose([ORIGINAL, measured("Q4_0", [1, 1, 1], kl=MOST_KL * 1.01)])
    assert choice.format is ORIGINAL
    assert "every other format changes the answers" in choice.reason
    assert choose([ORIGINAL, measured("Q8_0", [1, 1, 1], kl=MOST_KL)]).format.format == "Q8_0"


@pytest.mark.parametrize(
    ("seconds", "clear"),
    [
        pytest.param([9.6, 9.8, 9.7], True, id="hardly faster"),
        pytest.param([4.0, 12.0, 12.0], False, id="faster in one round only"),
        pytest.param([10.0, 10.2, 10.1], True, id="a tie"),
        pytest.param([9.0, 9.6, 9.4], False, id="faster, and not clearly by as much"),
    ],
)
def test_the_original_is_kept_within_the_noise(seconds: list[float], clear: bool) -> None:
    choice = choose([ORIGINAL, measured("BF16", seconds)])
    assert choice.format is ORIGINAL
    assert "clearly faster" in choice.reason
    assert [each.format for each in choice.undecided] == ([] if clear else ["BF16"])
    assert ("there is no clear winner" in choice.reason) != clear


def test_one_slow_round_of_the_original_makes_no_other_format_faster() -> None:
    disturbed = measured("Q4_1", [10.0, 30.0, 30.0], kl=None)
    assert choose([disturbed, measured("BF16", [9.9, 9.9, 9.9])]).format is disturbed


def test_of_formats_as_fast_as_each_other_the_smallest_is_chosen() -> None:
    large, small = measured("BF16", [5.0, 5.1, 5.0], megabytes=271), measured("Q8_0", [5.05, 5.1, 5.0], megabytes=145)
    assert choose([ORIGINAL, large, small]).format is small
    assert choose([ORIGINAL, large, small]).undecided == ()
    slower = measured("Q8_0", [6.5, 6.6, 6.5], megabytes=145)
    assert choose([ORIGINAL, large, slower]).format is large
    assert choose([ORIGINAL, large, slower]).undecided == ()


def test_where_the_rounds_do_not_tell_there_is_no_clear_winner_and_the_smallest_is_chosen() -> None:
    large, small = measured("BF16", [4.0, 6.0, 5.0], megabytes=271), measured("Q8_0", [5.5, 5.6, 5.4], megabytes=145)
    choice = choose([ORIGINAL, large, small])
    assert (choice.format, choice.undecided) == (small, (large,))
    assert "there is no clear winner (BF16 saves 1" in choice.reason
    assert choice.reason.endswith("the original is kept, or else the smaller file")


@pytest.mark.parametrize("busy", [0.0, 0.5, 3.0])
def test_what_else_runs_changes_no_choice(busy: float) -> None:
    """By the clock, other work that comes and goes would turn the order; the processor's time stays."""
    draw = random.Random(1)

    def drawn(name: str, seconds: float, **more: Any) -> MeasuredFormat:
        own = [seconds * draw.uniform(0.99, 1.01) for _ in range(5)]
        return measured(name, [2 * each * (1 + busy * draw.random()) for each in own], processor=own, **more)

    formats = [drawn("Q4_1", 10, kl=None), drawn("Q8_0", 6, megabytes=145), drawn("BF16", 5, megabytes=271)]
    choice = choose(formats)
    assert choice.format.format == "BF16"
    assert choice.undecided == ()


def test_a_saving_is_of_the_rounds_that_both_were_measured_in() -> None:
    assert saving([5], [10]) == saving([5, 99], [10])
    one = saving([5], [10])
    assert (one.value, one.low, one.high) == pytest.approx((0.5, 0.5, 0.5))
    several = saving([5, 6, 5], [10, 10, 10])
    assert several.low < several.value < several.high
    # By hand: the mean of ln 0.5, ln 0.6 and ln 0.5 is -0.63237, their standard deviation 0.10526, and t 4.303.
    assert several.low == pytest.approx(1 - math.exp(-0.63237 + 4.303 * 0.10526 / math.sqrt(3)), abs=1e-4)
    assert several.high == pytest.approx(1 - math.exp(-0.63237 - 4.303 * 0.10526 / math.sqrt(3)), abs=1e-4)


def counted(monkeypatch: pytest.MonkeyPatch, times: dict[str, Callable[[int], float]], **how: Any) -> list[list[str]]:
    """Which formats were measured in which round, where they take so long; `Q4_1` is the original."""
    turns: list[list[str]] = []

    def measure(path: Path, threads: int | None, sample: SpeedSample, turn: int) -> Round:
        turns.extend([] for _ in range(turn + 1 - len(turns)))
        turns[turn].append(path.name)
        speeds = Speeds(start=times[path.name](turn), prompt=1e9, together=1e9, alone=1e9)
        return Round(speeds, speeds)

    monkeypatch.setattr(prepare, "measure_file", measure)
    files = {name: Path(name) for name in times}
    agreement = measured("", [1]).agreement

    def in_question(rounds: prepare.Rounds) -> list[str]:
        return prepare.in_question([measured_format(each, 1, rounds[each], agreement) for each in files])

    prepare.measure_in_turns(files, prepare.Thoroughness(**{"rounds": 8, **how}), None, lambda _: None, in_question)
    return turns


def test_rounds_end_when_the_choice_is_clear(monkeypatch: pytest.MonkeyPatch) -> None:
    turns = counted(monkeypatch, {"Q4_1": lambda turn: 10 + turn, "BF16": lambda turn: 5 + turn / 2})
    assert turns == [["Q4_1", "BF16"], ["Q4_1", "BF16"], ["Q4_1", "BF16"]]


def test_what_is_out_of_the_question_is_measured_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    noisy = [5, 6, 4, 5, 6, 4, 5, 6]
    turns = counted(monkeypatch, {"Q4_1": lambda _: 100, "Q8_0": lambda _: 5, "BF16": lambda turn: noisy[turn]})
    assert [sorted(turn) for turn in turns[:3]] == [["BF16", "Q4_1", "Q8_0"]] * 3
    assert [sorted(turn) for turn in turns[3:]] == [["BF16", "Q8_0"]] * 5
    assert len({tuple(turn) for turn in turns}) > 3, "in another order each time"


def test_after_its_time_no_other_round_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    noisy = [5, 6, 4, 5, 6, 4, 5, 6]
    assert len(counted(monkeypatch, {"Q4_1": lambda _: 5, "BF16": lambda turn: noisy[turn]}, seconds=0)) == 3
    assert len(counted(monkeypatch, {"Q4_1": lambda _: 5, "BF16": lambda turn: noisy[turn]})) == 8


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
    slow = Speeds(start=1, prompt=100, together=50, alone=10)
    fast = Speeds(start=0.5, prompt=200, together=100, alone=20)
    assert (TYPICAL_RUN.prompt, TYPICAL_RUN.together, TYPICAL_RUN.alone) == (1600, 750, 200)
    summed = measured_format("BF16", 1, [Round(slow, fast), Round(fast, fast)], None)
    assert summed.run_seconds == pytest.approx((1 + 16 + 15 + 20, 0.5 + 8 + 7.5 + 10))
    assert summed.processor_seconds == pytest.approx((26, 26))
    assert summed.typical_run == pytest.approx(26)
    assert (summed.start_seconds, summed.prompt_speed, summed.together_speed, summed.alone_speed) == (0.5, 200, 100, 20)
