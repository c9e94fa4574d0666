"""The benchmark of rules on real votes: who is measured has chosen nothing, and what is chosen is what it should be."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.choice_on_votes import (
    CHOSEN,
    MAJORITY,
    MEASURES,
    RULES,
    SLATE,
    Measured,
    choose,
    main,
    sheets_of,
    split,
)
from benchmarks.study.conversations import Ballots, OpinionGroups
from tests.test_study_records import export


def town() -> Ballots:
    """Sixty like twenty statements that twenty reject; five others all like a little less; on the rest both differ."""
    ballots = np.zeros((80, 30))
    draw = np.random.default_rng(0)
    large, small = slice(0, 60), slice(60, 80)
    ballots[large, :20], ballots[small, :20] = 1, -1
    ballots[:, 20:25] = np.where(draw.random((80, 5)) < 0.7, 1, 0)
    ballots[large, 25:], ballots[small, 25:] = -1, 1
    ballots[draw.random(ballots.shape) < 0.1] = np.nan
    return ballots[draw.permutation(80)]


def test_rules_choose_what_no_group_rejects_and_the_majority_its_own() -> None:
    chosen = split(town(), seed=0)
    columns = {rule: {chosen.statements[at] for at in chosen.places[rule]} for rule in RULES}
    assert chosen.groups == 2
    assert columns[MAJORITY] < set(range(20))
    assert columns["nash"] == columns["maximin"] == set(range(20, 25))
    # A quarter of the weight has one of five, and a part of another.
    assert 1 <= len(columns[SLATE] & set(range(25, 30))) <= 2
    measured = Measured([split(town(), seed) for seed in range(3)], seed=0, resamples=200)
    worst, everybody = (measure for title, (measure, _) in MEASURES.items() if "favourite" not in title)
    gain, cost = measured.figure(worst, "nash", MAJORITY), measured.figure(everybody, "nash", MAJORITY)
    assert gain.clear
    assert gain.low is not None
    assert gain.low > 0.3
    assert cost.value is not None
    assert cost.value < 0
    assert measured.figure(worst, "nash", "nash").value == 0


def test_a_figure_is_the_mean_of_the_worst_groups_share() -> None:
    chosen = split(town(), seed=1)
    votes = chosen.features.sum(axis=0)
    shares = (votes[..., 0] + 1) / (votes[..., 1] + 2)
    expected = min(shares[group, chosen.places[MAJORITY]].mean() for group in range(chosen.groups))
    (worst, _), *_ = MEASURES.values()
    found = Measured([chosen], seed=0, resamples=50).figure(worst, MAJORITY)
    assert found.value == pytest.approx(expected)
    assert found.n == 80


def test_half_of_the_participants_is_not_measured_and_each_is_in_one_group() -> None:
    chosen = split(town(), seed=2)
    heard = chosen.features[:, -1, :, 1].any(axis=1)
    assert heard.sum() == 40
    of_groups = chosen.features[:, :-1, :, 1].sum(axis=1)
    assert (of_groups <= chosen.features[:, -1, :, 1]).all()


def test_nobody_is_put_into_a_group_by_what_is_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Ballots] = []
    place = OpinionGroups.place

    def placed(groups: OpinionGroups, ballots: Ballots) -> list[str]:
        told.append(ballots)
        return place(groups, ballots)

    monkeypatch.setattr(OpinionGroups, "place", placed)
    chosen = split(town(), seed=0)
    assert np.isnan(told[0][:, chosen.statements]).all()
    split(town(), seed=0, by_all=True)
    assert np.isfinite(told[1][:, chosen.statements]).any()


def test_few_votes_choose_nothing() -> None:
    ballots = town()
    ballots[:, CHOSEN - 1 :] = np.nan
    with pytest.raises(ValueError, match="Only 4 statements have 5 votes of each group; 5 are due"):
        choose(ballots, ["0"] * 40 + ["1"] * 40, ["0", "1"])


def test_drawn_shares_of_groups_that_vote_alike_are_everyones() -> None:
    ballots, labels = town(), ["0", "1"] * 40  # which have nothing to do with how they vote
    (_, plain), (_, drawn) = (choose(ballots, labels, ["0", "1"], drawn=drawn) for drawn in (False, True))
    assert np.ptp(drawn, axis=0).mean() < np.ptp(plain, axis=0).mean() / 3


def test_the_tables(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    (sheet, *_), measured = sheets_of({"a": (one := Measured([split(town(), 0)], seed=0, resamples=50))}), one
    assert list(sheet.lines[0].cells)[: len(RULES)] == list(RULES)
    assert sheet.lines[0].cells["nash"] == measured.figure(next(iter(MEASURES.values()))[0], "nash")
    export(tmp_path / "town")
    monkeypatch.setattr("sys.argv", ["choice", "--data", str(tmp_path), "--splits", "2"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 1
    assert "take a conversation with more of them" in capsys.readouterr().err
    monkeypatch.setattr("sys.argv", ["choice", "--data", str(tmp_path / "town")])
    with pytest.raises(SystemExit, match="2"):
        main()
