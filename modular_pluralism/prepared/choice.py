"""Which of the measured formats to use. Nothing is measured here."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from modular_pluralism.prepared.measured import MeasuredFormat

MOST_KL = 0.02
"""The most mean divergence from the original, in nats, with which a format still counts as the same model."""
LEAST_GAIN = 0.05
"""The least share of a typical run's time that a format has to save."""
BUSY = 1.5
"""How much longer than the best round another one takes on a machine that is busy."""


@dataclass(frozen=True)
class ChosenFormat:
    """The chosen format, and why, as a sentence."""

    format: MeasuredFormat
    reason: str


def choose(measured: Sequence[MeasuredFormat]) -> ChosenFormat:
    """The format with which a typical run is fastest; `measured` begins with the original.

    A format that changes the answers (mean divergence above MOST_KL) is never chosen. The original is kept unless
    another is faster by LEAST_GAIN both in the best round of each and in the middle one of the rounds' ratios: a
    machine's noise is no reason to write a file. Of formats that are as fast as each other, the smallest is taken.
    """
    original, *others = measured
    faithful = [candidate for candidate in others if candidate.mean_kl <= MOST_KL]
    faster = [candidate for candidate in faithful if _is_faster(candidate, original)]
    if not faster:
        return ChosenFormat(original, _why_original(original, others, faithful))
    best = min(faster, key=lambda candidate: candidate.typical_run)
    level = [candidate for candidate in faster if candidate.typical_run * (1 - LEAST_GAIN) <= best.typical_run]
    chosen = min(level, key=lambda candidate: candidate.bytes)
    return ChosenFormat(
        chosen,
        f"a typical run takes {chosen.typical_run:.1f} s with it, instead of {original.typical_run:.1f} s, and it "
        f"predicts nearly what the original does (mean KL {chosen.mean_kl:.4f}, at most {MOST_KL})",
    )


def force(measured: Sequence[MeasuredFormat], name: str) -> ChosenFormat:
    """The format that was asked for, with what speaks against it."""
    original = measured[0]
    chosen = next(candidate for candidate in measured if candidate.format == name)
    reason = "it was asked for"
    if chosen.mean_kl > MOST_KL:
        reason += f", although it changes the answers (mean KL {chosen.mean_kl:.3f}, above {MOST_KL})"
    if not _is_faster(chosen, original):
        reason += (
            f", although it is not clearly faster ({chosen.typical_run:.1f} s for a typical run, the original "
            f"{original.typical_run:.1f} s)"
        )
    return ChosenFormat(chosen, reason)


def was_busy(measured: Sequence[MeasuredFormat]) -> bool:
    """Whether the rounds differ so much that the machine must have been busy with something else."""
    return any(max(candidate.run_seconds) > BUSY * min(candidate.run_seconds) for candidate in measured)


def _is_faster(one: MeasuredFormat, original: MeasuredFormat) -> bool:
    ratios = [mine / theirs for mine, theirs in zip(one.run_seconds, original.run_seconds, strict=True)]
    return max(one.typical_run / original.typical_run, statistics.median(ratios)) <= 1 - LEAST_GAIN


def _why_original(
    original: MeasuredFormat, others: Sequence[MeasuredFormat], faithful: Sequence[MeasuredFormat]
) -> str:
    if not others:
        return "no other format could be measured"
    if not faithful:
        return f"every other format changes the answers (mean KL above {MOST_KL})"
    best = min(faithful, key=lambda candidate: candidate.typical_run)
    return (
        f"no format that predicts nearly the same is clearly faster ({original.typical_run:.1f} s for a typical run; "
        f"{best.format} {best.typical_run:.1f} s)"
    )
