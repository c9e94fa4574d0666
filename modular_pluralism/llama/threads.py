"""The threads of an engine: how many compute, and how long the host's scheduler has let them wait for a core."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from modular_pluralism.llama.thread_choice import WINDOW, ThreadChoice

_TASKS = Path("/proc/self/task")
_NANOSECOND = 1e-9


class CoreWaits:
    """How long this thread, and those that it starts from now on, were ready to run and had no core.

    Linux tells it of each thread, where it keeps such counts. OpenMP's threads are told from others of this process by
    their name, which they inherit from the thread that has started them.

    Raises:
        OSError: it is not told here.
    """

    def __init__(self) -> None:
        own = threading.get_native_id()
        self._name = f"llama {own}"
        _counted(own)
        (_TASKS / str(own) / "comm").write_text(self._name)
        self._ours: dict[int, int] = {}
        """What each of these threads had waited when it was read last, in nanoseconds."""
        self._others: set[int] = set()
        self._waited = 0
        self.seconds()
        self._waited = 0

    def seconds(self) -> float:
        """Since this was made, the waits of all these threads added. Of a thread that has ended, what was read last."""
        running = {int(task.name) for task in _TASKS.iterdir()}
        self._others &= running
        self._ours = {task: waited for task, waited in self._ours.items() if task in running}
        for task in running - self._others:
            with contextlib.suppress(OSError):  # it has ended meanwhile
                if task not in self._ours and (_TASKS / str(task) / "comm").read_text().strip() != self._name:
                    self._others.add(task)
                    continue
                waited = _counted(task)
                self._waited += waited - self._ours.get(task, 0)
                self._ours[task] = waited
        return self._waited * _NANOSECOND


def _counted(task: int) -> int:
    """Nanoseconds that a thread has waited: the second number of its `schedstat`, after those that it has run."""
    try:
        return int((_TASKS / str(task) / "schedstat").read_text().split()[1])
    except (ValueError, IndexError) as error:
        raise OSError(f"schedstat of thread {task} has no such number") from error


class Threads:
    """How many threads decode, at most `most`: always so many, or where it is `adaptive` and the host tells what they
    wait for cores, fewer while others take these. Used by the one thread that decodes.
    """

    def __init__(
        self,
        most: int,
        *,
        adaptive: bool,
        waits: Callable[[], CoreWaits] = CoreWaits,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.now = most
        """The number for the next decode."""
        self._choice = ThreadChoice(most) if adaptive and most > 1 else None
        self._open = waits
        self._waits: CoreWaits | None = None
        self._clock = clock
        self._waited = self._decoding = 0.0

    @contextlib.contextmanager
    def decoding(self) -> Iterator[None]:
        """Around each decode; afterwards `now` may be another."""
        if self._choice is None:
            yield
            return
        if self._waits is None:
            try:
                self._waits = self._open()
            except OSError:  # not Linux, or one that does not count
                self._choice = None
                yield
                return
        began = self._clock()
        yield
        ended = self._clock()
        self._decoding += ended - began
        if self._decoding >= WINDOW:
            waited = self._waits.seconds()
            self.now = self._choice.decide(waited - self._waited, self._decoding, ended)
            self._waited, self._decoding = waited, 0.0
