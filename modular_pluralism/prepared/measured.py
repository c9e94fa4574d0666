"""What was measured of one format of a model."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict

from modular_pluralism.prepared.agreement import Agreement
from modular_pluralism.prepared.workload import TYPICAL_RUN, Speeds, Workload


class MeasuredFormat(BaseModel):
    """A file's format, size and speeds, and its agreement with the original; that is None for the original itself.

    Speeds are those of the best round, in tokens a second: of reading prompts, of six sequences generated together (all
    six counted), and of one generated alone. `start_seconds` is how long it takes to load the file and read the first
    tokens. `run_seconds` is how long a typical run takes by the speeds of each round.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: str
    bytes: int
    start_seconds: float
    prompt_speed: float
    together_speed: float
    alone_speed: float
    run_seconds: tuple[float, ...]
    agreement: Agreement | None

    @property
    def typical_run(self) -> float:
        """Seconds of a typical run: in the best round, since whatever else the machine does only makes it slower."""
        return min(self.run_seconds)

    @property
    def mean_kl(self) -> float:
        """The mean divergence from the original, in nats; 0 for the original."""
        return 0.0 if self.agreement is None else self.agreement.mean_kl


def measured_format(
    name: str, size: int, rounds: Sequence[Speeds], agreement: Agreement | None, run: Workload = TYPICAL_RUN
) -> MeasuredFormat:
    """The rounds' speeds summed up."""
    return MeasuredFormat(
        format=name,
        bytes=size,
        start_seconds=min(each.start for each in rounds),
        prompt_speed=max(each.prompt for each in rounds),
        together_speed=max(each.together for each in rounds),
        alone_speed=max(each.alone for each in rounds),
        run_seconds=tuple(run.seconds(each) for each in rounds),
        agreement=agreement,
    )
