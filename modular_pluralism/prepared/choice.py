"""Which of the measured formats to use. Nothing is measured here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from modular_pluralism.prepared.measured import MeasuredFormat
from modular_pluralism.prepared.saving import Saving, saving

MOST_KL = 0.02
"""The most mean divergence from the original, in nats, with which a format still counts as the same model."""
LEAST_GAIN = 0.05
"""The least share of a typical run's time that a format has to save."""
BUSY = 1.5
"""How much longer than the best round another one takes on a machine that is busy."""


@dataclass(frozen=True)
class ChosenFormat:
    """The chosen format, and why, as a sentence; and the formats of which it is not clear whether they or it would save
    LEAST_GAIN."""

    format: MeasuredFormat
    reason: str
    undecided: tuple[MeasuredFormat, ...] = ()


def choose(measured: Sequence[MeasuredFormat]) -> ChosenFormat:
    """The format with which a typical run takes least of the processor's time; `measured` begins with the original.

    A format that changes the answers (mean divergence above MOST_KL) is never chosen. From the original on, in the
    order of their size, a format takes the place of the one before where it clearly saves LEAST_GAIN or more: where the
    whole interval of the paired saving lies above. A machine's noise is no reason to write a file, or a larger one. Not
    the clock's time is compared but the processor's, lest the choice depend on what else the machine does.
    """
    original, *others = measured
    faithful = sorted(
        (other for other in others if other.mean_kl <= MOST_KL), key=lambda other: (other.bytes, other.mean_kl)
    )
    chosen = original
    for candidate in faithful:
        if _saving(candidate, chosen).low >= LEAST_GAIN:
            chosen = candidate
    by_size = [original, *faithful]
    at = by_size.index(chosen)
    undecided = [smaller for smaller in by_size[:at] if _saving(chosen, smaller).low < LEAST_GAIN]
    undecided += [larger for larger in by_size[at + 1 :] if _saving(larger, chosen).high >= LEAST_GAIN]
    why = _why_original(original, others, faithful) if chosen is original else _why(chosen, original)
    return ChosenFormat(chosen, why + _unclear(chosen, undecided), tuple(undecided))


def force(measured: Sequence[MeasuredFormat], name: str) -> ChosenFormat:
    """The format that was asked for, with what speaks against it."""
    original = measured[0]
    chosen = next(candidate for candidate in measured if candidate.format == name)
    reason = "it was asked for"
    if chosen.mean_kl > MOST_KL:
        reason += f", although it changes the answers (mean KL {chosen.mean_kl:.3f}, above {MOST_KL})"
    if _saving(chosen, original).value < LEAST_GAIN:
        reason += (
            f", although it is not clearly faster ({chosen.typical_run:.1f} s for a typical run, the original "
            f"{original.typical_run:.1f} s)"
        )
    return ChosenFormat(chosen, reason)


def was_busy(measured: Sequence[MeasuredFormat]) -> bool:
    """Whether the rounds differ so much that the machine must have been busy with something else."""
    return any(max(candidate.run_seconds) > BUSY * min(candidate.run_seconds) for candidate in measured)


def _saving(one: MeasuredFormat, other: MeasuredFormat) -> Saving:
    return saving(one.processor_seconds, other.processor_seconds)


def _why(chosen: MeasuredFormat, original: MeasuredFormat) -> str:
    saved = _saving(chosen, original)
    return (
        f"a typical run takes {chosen.typical_run:.1f} s with it, instead of {original.typical_run:.1f} s, it saves "
        f"{saved.value:.0%} of the processor's time ({saved.low:.0%} to {saved.high:.0%}), and it predicts nearly what "
        f"the original does (mean KL {chosen.mean_kl:.4f}, at most {MOST_KL})"
    )


def _why_original(
    original: MeasuredFormat, others: Sequence[MeasuredFormat], faithful: Sequence[MeasuredFormat]
) -> str:
    if not others:
        return f"no other format fits here and predicts nearly the same (mean KL at most {MOST_KL})"
    if not faithful:
        return f"every other format changes the answers (mean KL above {MOST_KL})"
    best = min(faithful, key=lambda candidate: candidate.typical_run)
    return (
        f"no format that predicts nearly the same is clearly faster ({original.typical_run:.1f} s for a typical run; "
        f"{best.format} {best.typical_run:.1f} s)"
    )


def _unclear(chosen: MeasuredFormat, undecided: Sequence[MeasuredFormat]) -> str:
    if not undecided:
        return ""
    savings = []
    for each in undecided:
        saved = _saving(each, chosen)
        savings.append(f"{each.format} saves {saved.value:.0%} against it, {saved.low:.0%} to {saved.high:.0%}")
    return (
        f"; there is no clear winner ({'; '.join(savings)}), and where it is not clear that {LEAST_GAIN:.0%} are "
        "saved, the original is kept, or else the smaller file"
    )
