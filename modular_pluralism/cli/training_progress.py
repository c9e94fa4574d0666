"""How far a training is: a bar with the loss and the time left, or lines where there is no terminal."""

from __future__ import annotations

import time
from types import TracebackType
from typing import TYPE_CHECKING, Self, TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

if TYPE_CHECKING:
    from modular_pluralism.training.fit import Point

_SECONDS_BETWEEN_LINES = 15.0


class TrainingProgress:
    """Told of each step, shows the progress on `file`. Use it in a `with` block."""

    def __init__(self, name: str, file: TextIO) -> None:
        self._name, self._file = name, file
        self._first = self._total = 0
        self._began = self._last_line = time.monotonic()
        self._bar: Progress | None = None
        if file.isatty():
            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeRemainingColumn(),
                console=Console(file=file),
            )
            self._task = self._bar.add_task(f"Training {name}", total=None)

    def started(self, step: int, steps: int) -> None:
        """See Watcher."""
        self._first, self._total = step, steps
        self._began = self._last_line = time.monotonic()
        if self._bar is not None:
            self._bar.reset(self._task, completed=step, total=steps)
        self._say(f"Training {self._name}: {steps} steps{f', going on after {step}' if step else ''}.")

    def stepped(self, step: int, loss: float) -> None:
        """See Watcher."""
        if self._bar is not None:
            self._bar.update(self._task, completed=step, description=f"Training {self._name}, loss {loss:.3f}")
        elif time.monotonic() - self._last_line >= _SECONDS_BETWEEN_LINES:
            self._last_line = time.monotonic()
            left = (self._last_line - self._began) / (step - self._first) * (self._total - step)
            self._say(f"{step} of {self._total} steps, loss {loss:.3f}, {_clock(left)} left at most")

    def checked(self, point: Point, best: bool) -> None:
        """See Watcher."""
        self._say(f"After {point.step} steps: held-out loss {point.held_out:.4f}{', the best so far' if best else ''}")

    def _say(self, line: str) -> None:
        if self._bar is None:
            print(line, file=self._file, flush=True)
        else:
            self._bar.console.print(line, highlight=False, markup=False)

    def __enter__(self) -> Self:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
