"""How far an evaluation is: a bar with the rate and the time left, or lines where there is no terminal."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Any, Self, TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

_SECONDS_BETWEEN_LINES = 15.0


class EvalProgress:
    """Told of each result, shows the progress on `file`. Use it in a `with` block."""

    def __init__(self, total: int, file: TextIO) -> None:
        self._total = total
        self._done = self._known = self._failed = 0
        self._file = file
        self._last_line = self._started = time.monotonic()
        self._bar: Progress | None = None
        if file.isatty():
            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                _Rate(),
                TimeRemainingColumn(),
                console=Console(file=file),
            )
            self._task = self._bar.add_task("Evaluating", total=total)

    def known(self, count: int) -> None:
        """So many results are there from before."""
        self._known = self._done = count
        if self._bar is not None:
            self._bar.update(self._task, completed=count)
            # The rate and the time left are those of this run.
            self._bar.reset(self._task, completed=count, total=self._total)
        if count:
            self._say(f"Going on: {count} of {self._total} results are there.")

    def made(self, maker: Any, result: dict[str, Any]) -> None:
        """One more result."""
        self._done += 1
        self._failed += result["error"] is not None
        failed = f", {self._failed} failed" if self._failed else ""
        if self._bar is not None:
            self._bar.update(self._task, completed=self._done, description=f"Evaluating{failed}")
        elif time.monotonic() - self._last_line >= _SECONDS_BETWEEN_LINES or self._done == self._total:
            self._last_line = time.monotonic()
            rate = (self._done - self._known) / max(self._last_line - self._started, 1e-9)
            left = (self._total - self._done) / rate
            self._say(f"{self._done} of {self._total} results{failed}, {rate:.2g} a second, {_clock(left)} left")

    def _say(self, line: str) -> None:
        if self._bar is None:
            print(line, file=self._file, flush=True)
        else:
            self._bar.console.print(line, highlight=False)

    def __enter__(self) -> Self:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        """Results a second."""
        return Text(f"{task.speed:.2g}/s" if task.speed else "")


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
