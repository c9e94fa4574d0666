"""One measured line of the table, and the table."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from benchmarks.pairing import interval

Comparison = Literal["peer / ours", "ours / peer", "ours - peer"]
"""Quotient of seconds, quotient of tokens a second (or of bytes), or what we take more than the peer."""

_HEADER = ("what", "against", "ours", "peer", "compared (95 % interval)", "n", "to reach", "reached")


@dataclass(frozen=True)
class Result:
    """A comparison with a peer: medians of what both sides measured, and the median of their paired comparison."""

    row: str
    name: str
    against: str
    ours: float
    peer: float
    unit: str
    ratio: float
    ratio_is: Comparison
    interval: tuple[float, float] | None
    rounds: int
    reach: float | None
    """What `ratio` is to reach; None where the line is only shown."""
    at_most: bool
    """Whether `ratio` has to stay at or below `reach`, and not above."""
    note: str = ""
    agreed: bool = True
    """Whether the sides came to the same results; otherwise they did not do the same work, and nothing is reached."""

    @property
    def reached(self) -> bool | None:
        """Whether the ratio is where it should be, or None where there is no such place."""
        if self.reach is None:
            return None
        if not self.agreed:
            return False
        return self.ratio <= self.reach if self.at_most else self.ratio >= self.reach

    def as_json(self) -> dict[str, Any]:
        """Plain values; `reached` is "yes", "no" or None."""
        reached = None if self.reached is None else "yes" if self.reached else "no"
        return {
            "row": self.row,
            "name": self.name,
            "against": self.against,
            "ours": self.ours,
            "peer": self.peer,
            "unit": self.unit,
            "ratio": self.ratio,
            "ratio_is": self.ratio_is,
            "interval": self.interval,
            "rounds": self.rounds,
            "reach": self.reach,
            "at_most": self.at_most,
            "reached": reached,
            "note": self.note,
            "agreed": self.agreed,
        }

    def line(self) -> str:
        """The result in one line."""
        reached = "" if self.reached is None else f"; to reach {self._reach()}: {'yes' if self.reached else 'NO'}"
        return (
            f"{self.name}, against {self.against}: {_number(self.ours)} to {_number(self.peer)} {self.unit}, "
            f"{self.ratio_is} {self._compared()} (n = {self.rounds}){reached}"
        )

    def cells(self) -> tuple[str, ...]:
        """The cells of its row, as `_HEADER` names them."""
        reached = "" if self.reached is None else "yes" if self.reached else "**no**"
        return (
            self.name,
            self.against,
            f"{_number(self.ours)} {self.unit}",
            f"{_number(self.peer)} {self.unit}",
            self._compared(bold=True),
            str(self.rounds),
            self._reach(),
            reached,
        )

    def _compared(self, *, bold: bool = False) -> str:
        value = self._with_unit(self.ratio)
        value = f"**{value}**" if bold else value
        if self.interval is None:
            return value
        low, high = self.interval
        return f"{value} ({_compared_number(low, self.ratio_is)} to {_compared_number(high, self.ratio_is)})"

    def _reach(self) -> str:
        if self.reach is None:
            return ""
        return f"{'at most' if self.at_most else 'at least'} {self._with_unit(self.reach)}"

    def _with_unit(self, value: float) -> str:
        unit = f" {self.unit} more" if self.ratio_is == "ours - peer" else "x"
        return f"{_compared_number(value, self.ratio_is)}{unit}"


def compare(
    row: str,
    name: str,
    against: str,
    ours: Sequence[float],
    peer: Sequence[float],
    unit: str,
    ratio_is: Comparison,
    *,
    reach: float | None,
    at_most: bool = False,
    note: str = "",
    agreed: bool = True,
) -> Result:
    """The result of paired measurements, `ours[i]` and `peer[i]` being of the same round."""
    compared = [_compare(one, other, ratio_is) for one, other in zip(ours, peer, strict=True)]
    return Result(
        row=row,
        name=name,
        against=against,
        ours=statistics.median(ours),
        peer=statistics.median(peer),
        unit=unit,
        ratio=statistics.median(compared),
        ratio_is=ratio_is,
        interval=interval(compared),
        rounds=len(compared),
        reach=reach,
        at_most=at_most,
        note=note,
        agreed=agreed,
    )


def _compare(ours: float, peer: float, ratio_is: Comparison) -> float:
    if ratio_is == "ours - peer":
        return ours - peer
    return peer / ours if ratio_is == "peer / ours" else ours / peer


def table(results: Sequence[Result]) -> str:
    """The results as a Markdown table."""
    rows = [_HEADER, tuple("---" for _ in _HEADER), *(result.cells() for result in results)]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _number(value: float) -> str:
    """Three or four digits, however large."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _compared_number(value: float, ratio_is: Comparison) -> str:
    return f"{value:.3g}" if ratio_is == "ours - peer" else f"{value:.2f}"
