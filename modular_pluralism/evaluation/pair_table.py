"""The table of answers judged in pairs: how often one method wins, with intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from modular_pluralism.evaluation.judge import Verdict
from modular_pluralism.evaluation.results import Column, Figure, Row, Table

_RESAMPLES = 10_000
_OUTCOMES = ("win", "tie", "lose")


def pair_table(verdicts: Mapping[str, Sequence[Verdict]], judge: str, *, seed: int = 0) -> Table:
    """A row for each pair of methods, with the shares of items that the first one wins, ties and loses.

    `verdicts` has the pairs' names, such as "modular against vanilla", with a verdict for each item; `judge` is what
    the judge is called. Items without a readable verdict are in no share, and are counted beside them. The intervals
    are percentiles of a bootstrap over items, the same for the same `seed`.
    """
    return Table(
        name="pairs",
        title="Which answer reflects more values",
        note=f"Judged by {judge}, asked in both orders. A method wins an item where both orders favour its answer; "
        "where they favour different ones, it is a tie. A judge that prefers a letter gives only ties.",
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
                title="not read",
                better="lower",
                help="Items where a reply of the judge named neither answer.",
            ),
        ],
        rows=[
            Row(name=name, cells=_cells(each, np.random.default_rng([seed, number])))
            for number, (name, each) in enumerate(verdicts.items())
        ],
        chart="net",
    )


def _cells(verdicts: Sequence[Verdict], random: np.random.Generator) -> dict[str, Figure]:
    read = [each for each in verdicts if each.outcome is not None]
    masses = [sum(each.masses) / 2 for each in read if each.masses is not None]
    cells = _shares([sum(each.outcome == outcome for each in read) for outcome in _OUTCOMES], random)
    cells["mass"] = Figure(value=sum(masses) / len(masses) if masses else None, n=len(masses))
    cells["unread"] = Figure(value=float(len(verdicts) - len(read)), n=len(verdicts))
    return cells


def _shares(counts: Sequence[int], random: np.random.Generator) -> dict[str, Figure]:
    """Shares of win, tie and lose, and the difference of win and lose, with intervals."""
    n = sum(counts)
    if n == 0:
        return {name: Figure(value=None, n=0) for name in (*_OUTCOMES, "net")}
    # Drawing items with replacement and counting their outcomes is drawing from a multinomial distribution.
    drawn = random.multinomial(n, np.array(counts) / n, size=_RESAMPLES) / n
    values = [count / n for count in counts]
    columns = {name: (values[at], drawn[:, at]) for at, name in enumerate(_OUTCOMES)}
    columns["net"] = (values[0] - values[2], drawn[:, 0] - drawn[:, 2])
    return {name: _figure(value, resampled, n, name == "net") for name, (value, resampled) in columns.items()}


def _figure(value: float, resampled: np.ndarray[tuple[int], np.dtype[np.float64]], n: int, difference: bool) -> Figure:
    if n == 1:
        return Figure(value=value, n=1)
    low, high = (float(each) for each in np.percentile(resampled, [2.5, 97.5]))
    return Figure(value=value, low=low, high=high, n=n, clear=difference and not low <= 0 <= high)
