"""By how much one format is faster than another: paired differences, since what else the machine does hits both."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

_T_95 = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228)
"""Student's t for a two-sided interval of 95 %, by degrees of freedom from 1. With a minute for all, there are three or
four rounds: intervals of 99 % were too wide to choose anything on a machine with other work."""
MOST_ROUNDS = len(_T_95) + 1


@dataclass(frozen=True)
class Saving:
    """The share of the other's time that one saves: 0.2 is a fifth, and it is negative where one takes longer. `low`
    and `high` bound its 95 % interval over the rounds. Of a single round there is none, and both are the value."""

    value: float
    low: float
    high: float


def saving(one: Sequence[float], other: Sequence[float]) -> Saving:
    """Of seconds in the same rounds; where one has been measured in more rounds, those are left out.

    The interval is Student's for the mean of the ratios' logarithms.
    """
    logs = [math.log(mine / theirs) for mine, theirs in zip(one, other, strict=False)]
    mean = statistics.fmean(logs)
    half = 0.0 if len(logs) == 1 else _T_95[len(logs) - 2] * statistics.stdev(logs) / math.sqrt(len(logs))
    return Saving(1 - math.exp(mean), 1 - math.exp(mean + half), 1 - math.exp(mean - half))
