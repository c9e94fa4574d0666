"""The table of answers judged in pairs: how often one method wins, with intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from modular_pluralism.evaluation.measures.judge import PairVerdict
from modular_pluralism.evaluation.statistics.bootstrap import CLEAR_FROM, Draw, ratio
from modular_pluralism.evaluation.statistics.results import Column, Figure, Row, Table

_SHARES = ("win", "tie", "lose", "net")


def pair_table(
    verdicts: Mapping[str, Sequence[PairVerdict]],
    judge: str,
    *,
    seed: int = 0,
    clusters: NDArray[np.int64] | None = None,
) -> Table:
    """A row for each pair of methods, with the shares of items that the first one wins, ties and loses.

    `verdicts` has the pairs' names, such as "modular against vanilla", with a verdict for each item; `judge` is what
    the judge is called. Items without a readable verdict are in no share, and are counted beside them. The intervals
    are percentiles of a bootstrap that draws whole situations, the same for the same `seed`; `clusters` [n_items]
    numbers the situation of each item, None where each has its own.
    """
    draw = Draw(seed, clusters=clusters)
    return Table(
        name="pairs",
        title="Which answer reflects more values",
        note=f"Judged by {judge}, asked in both orders. A method wins an item where both orders favour its answer; "
        "where they favour different ones, it is a tie. A judge that prefers a letter gives only ties. The intervals "
        "resample whole situations, as those of the other tables do, and no difference over fewer than "
        f"{CLEAR_FROM} of them is clear.",
        columns=[
            Column(key="win", title="wins", better="higher", share=True),
            Column(key="tie", title="ties", share=True),
            Column(key="lose", title="loses", better="lower", share=True),
            Column(key="net", title="wins less losses", better="higher", share=True),
            Column(
                key="mass",
                title="label mass",
                share=True,
                help="Raw probability that the judge's reply was one of the two letters at all.",
            ),
            Column(
                key="unread",
                title="not judged",
                better="lower",
                help="Items where a method had no answer, the judge failed, or a reply of it named neither answer.",
            ),
        ],
        rows=[Row(name=name, cells=_cells(each, draw)) for name, each in verdicts.items()],
        chart="net",
    )


def _cells(verdicts: Sequence[PairVerdict], draw: Draw) -> dict[str, Figure]:
    read = [each for each in verdicts if each.outcome is not None]
    with_mass = [each.masses for each in read if each.masses is not None]
    drawn = draw.of(np.array([_features(each) for each in verdicts]).reshape(-1, 7))
    judged = drawn.clusters_with(slice(0, 1))
    cells = {
        name: drawn.figure(ratio(at, 0), n=len(read), clusters=judged, difference=name == "net", share=True)
        for at, name in enumerate(_SHARES, 1)
    }
    cells["mass"] = drawn.figure(ratio(5, 6), n=len(with_mass), clusters=drawn.clusters_with(slice(6, 7)))
    cells["unread"] = Figure(value=float(len(verdicts) - len(read)), n=len(verdicts))
    return cells


def _features(verdict: PairVerdict) -> list[float]:
    """Whether it could be read; win, tie, lose, and the first less the last; the label mass, and whether it has one."""
    win, tie, lose = (float(verdict.outcome == outcome) for outcome in ("win", "tie", "lose"))
    mass = 0.0 if verdict.masses is None else sum(verdict.masses) / 2
    return [float(verdict.outcome is not None), win, tie, lose, win - lose, mass, float(verdict.masses is not None)]
