"""How far long work is: a bar where there is a terminal, lines now and then elsewhere."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from modular_pluralism.cli.output import safe

if TYPE_CHECKING:
    from modular_pluralism.training.fit import Point

NOTHING_WRITTEN = "Stopped. Nothing was written."
GOES_ON = "Stopped. The same command goes on from here."
_SECONDS_BETWEEN_LINES = 15.0


class _Progress(Progress):
    """Shown on `file`, in a `with` block."""

    def __init__(self, description: str, total: int | None, file: TextIO, *columns: ProgressColumn) -> None:
        shown = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), *columns, TimeRemainingColumn())
        super().__init__(*shown, console=Console(file=file), disable=not file.isatty())
        self._started = self._last_line = time.monotonic()
        self._work = self.add_task(description, total=total)

    def _starts(self, done: int, total: int) -> None:
        """The rate and the time left are of what comes from now on."""
        self._started = self._last_line = time.monotonic()
        self.reset(self._work, completed=done, total=total)

    def _shows(self, done: int, description: str) -> bool:
        """Move the bar on; where there is none, returns whether a line is due."""
        self.update(self._work, completed=done, description=description)
        return self.disable and time.monotonic() - self._last_line >= _SECONDS_BETWEEN_LINES

    def _seconds(self) -> float:
        """Since the start, at the line that is told now."""
        self._last_line = time.monotonic()
        return max(self._last_line - self._started, 1e-9)

    def _say(self, line: str) -> None:
        self.console.print(safe(line), soft_wrap=True)


class EvalProgress(_Progress):
    """Told of each result of an evaluation."""

    def __init__(self, total: int, file: TextIO) -> None:
        super().__init__("Evaluating", total, file, _Rate())
        self._total = total
        self._done = self._known = self._failed = 0

    def known(self, count: int) -> None:
        """So many results are there from before."""
        self._known = self._done = count
        self._starts(count, self._total)
        if count:
            self._say(f"Going on: {count} of {self._total} results are there.")

    def made(self, maker: Any, result: dict[str, Any]) -> None:
        """One more result."""
        self._done += 1
        self._failed += result["error"] is not None
        failed = f", {self._failed} failed" if self._failed else ""
        due = self._shows(self._done, f"Evaluating{failed}")
        if due or (self.disable and self._done == self._total):
            rate = (self._done - self._known) / self._seconds()
            left = timedelta(seconds=round((self._total - self._done) / rate))
            self._say(f"{self._done} of {self._total} results{failed}, {rate:.2g} a second, {left} left")


class TrainingProgress(_Progress):
    """Told of each step of a training."""

    def __init__(self, name: str, file: TextIO) -> None:
        super().__init__(f"Training {name}", None, file)
        self._name = name
        self._first = self._total = 0

    def started(self, step: int, steps: int) -> None:
        """See Watcher."""
        self._first, self._total = step, steps
        self._starts(step, steps)
        self._say(f"Training {self._name}: {steps} steps{f', going on after {step}' if step else ''}.")

    def stepped(self, step: int, loss: float) -> None:
        """See Watcher."""
        if self._shows(step, f"Training {self._name}, loss {loss:.3f}"):
            left = timedelta(seconds=round(self._seconds() / (step - self._first) * (self._total - step)))
            self._say(f"{step} of {self._total} steps, loss {loss:.3f}, {left} left at most")

    def checked(self, point: Point, best: bool) -> None:
        """See Watcher."""
        self._say(f"After {point.step} steps: held-out loss {point.held_out:.4f}{', the best so far' if best else ''}")


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        """Results a second."""
        return Text(f"{task.speed:.2g}/s" if task.speed else "")
