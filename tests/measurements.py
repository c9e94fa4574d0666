"""Made-up measurements of formats."""

from __future__ import annotations

from collections.abc import Sequence

from modular_pluralism.prepared.agreement import Agreement
from modular_pluralism.prepared.measured import MeasuredFormat


def measured(
    name: str,
    seconds: Sequence[float],
    *,
    kl: float | None = 0.001,
    megabytes: float = 100,
    processor: Sequence[float] | None = None,
) -> MeasuredFormat:
    """A format whose typical run takes so many seconds in each round, by the clock and of the processor's time, which
    `processor` tells apart; `kl` None makes it the original."""
    agreement = None
    if kl is not None:
        agreement = Agreement(
            positions=384, top1=0.95, top1_interval=(0.93, 0.97), mean_kl=kl, mean_kl_interval=(kl / 2, kl * 2)
        )
    return MeasuredFormat(
        format=name,
        bytes=round(megabytes * 1e6),
        start_seconds=0.3,
        prompt_speed=500,
        together_speed=200,
        alone_speed=80,
        run_seconds=tuple(seconds),
        processor_seconds=tuple(seconds if processor is None else processor),
        agreement=agreement,
    )
