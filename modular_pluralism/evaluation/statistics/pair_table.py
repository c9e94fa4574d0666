"""The table of answers judged in pairs: how often one method wins, with intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from modular_pluralism.evaluation.measures.judge import PairVerdict
from modular_pluralism.evaluation.statistics.bootstrap import CLEAR_FROM, Draw
from modular_pluralism.evaluation.statistics.figures import differences, figures, mean_of
from modular_pluralism.evaluation.statistics.results import Column, Figure, Row, Table
from modular_pluralism.evaluation.statistics.scores import Scores

_SHARES = [
    mean_of("win", "wins", "", better="higher", share=True),
    mean_of("tie", "ties", "", share=True),
    mean_of("lose", "loses", "", better="lower", share=True),
]
_NET = mean_of("won", "wins less losses", "", better="higher", share=True, name="net")
_MASS = mean_of(
    "mass",
    "label mass",
    "Raw probability that the judge's reply was one of the two letters at all.",
    share=True,
)


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
            *(measure.column for measure in (*_SHARES, _NET, _MASS)),
            Column(
                key="unread",
                title="not judged",
                better="lower",
                help="Items where a method had no answer, the judge failed, or a reply of it named neither answer.",
            ),
        ],
        rows=[Row(name=name, cells=_cells(verdict, draw)) for name, verdict in verdicts.items()],
        chart="net",
    )


def _cells(verdicts: Sequence[PairVerdict], draw: Draw) -> dict[str, Figure]:
    scores, won, lost = Scores(), Scores(), Scores()
    for verdict in verdicts:
        judged = {} if verdict.outcome is None else {each.key: float(verdict.outcome == each.key) for each in _SHARES}
        scores.add(judged | ({} if verdict.masses is None else {"mass": sum(verdict.masses) / 2}))
        won.add({_NET.key: judged["win"]} if judged else {})
        lost.add({_NET.key: judged["lose"]} if judged else {})
    unread = sum(verdict.outcome is None for verdict in verdicts)
    return {
        **figures(scores, [*_SHARES, _MASS], draw),
        **differences(won, lost, [_NET], draw),
        "unread": Figure(value=float(unread), n=len(verdicts)),
    }
