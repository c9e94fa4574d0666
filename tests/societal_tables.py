"""Tables of ballots for the tests of social choice."""

from __future__ import annotations

from collections.abc import Sequence
from string import ascii_lowercase, ascii_uppercase

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st

from modular_pluralism.societal.table import Table
from modular_pluralism.types import Ballot, MemberKind

FEWER = settings(max_examples=40)
"""Of properties of all rules at once."""

TENTHS = st.integers(0, 10).map(lambda tenths: tenths / 10)
WEIGHTS = st.sampled_from([0.5, 1.0, 2.0, 3.0])


def a_table(scores: Sequence[Sequence[float | None]], weights: Sequence[float] | None = None) -> Table:
    """Members a, b, …, candidates A, B, …; None for a score that is missing."""
    rows = np.array([[np.nan if score is None else score for score in row] for row in scores], dtype=np.float64)
    given = np.ones(len(rows)) if weights is None else np.array(weights, dtype=np.float64)
    return Table(tuple(ascii_lowercase[: len(rows)]), tuple(ascii_uppercase[: rows.shape[1]]), rows, given)


def of_orders(orders: dict[str, int]) -> Table:
    """From orders such as "ACB", the best first, and how many have each."""
    candidates = sorted(next(iter(orders)))
    scores = [[1 - order.index(name) / len(candidates) for name in candidates] for order in orders]
    return a_table(scores, list(orders.values()))


def a_ballot(
    member: str,
    candidate: str,
    score: float | None,
    *,
    kind: MemberKind = "community",
    label_mass: float | None = None,
    spread: float | None = None,
    rule: str | None = None,
) -> Ballot:
    return Ballot(
        member=member,
        kind=kind,
        candidate=candidate,
        rule=rule,
        score=score,
        verdict=None if rule is None else {"kept": 1.0, "broken": 0.0, "silent": 0.0},
        label_mass=label_mass,
        spread=spread,
        reason=None,
        when=None,
    )


@st.composite
def tables(draw: st.DrawFn, *, members: int = 6, candidates: int = 5, gaps: bool = False, least: int = 1) -> Table:
    """Tables of scores in tenths, with weights above 0."""
    n, m = draw(st.integers(1, members)), draw(st.integers(least, candidates))
    each = st.none() | TENTHS if gaps else TENTHS
    row = st.lists(each, min_size=m, max_size=m).filter(lambda scores: any(score is not None for score in scores))
    rows = draw(st.lists(row, min_size=n, max_size=n))
    return a_table(rows, draw(st.lists(WEIGHTS, min_size=n, max_size=n)))
