"""Other work on the machine while something is measured: processes that each take a core, if they get it."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator

from benchmarks.children import child

# It looks after its parent now and then, so that it ends with it even where nobody could end it.
_SPIN = """
import os
parent = os.getppid()
while os.getppid() == parent:
    for _ in range(1_000_000):
        pass
"""


@contextlib.contextmanager
def busy(count: int) -> Iterator[list[int]]:
    """The process ids of `count` processes that compute all the time, bound to no core; ended on the way out."""
    with contextlib.ExitStack() as running:
        yield [running.enter_context(child([sys.executable, "-c", _SPIN]))[0].pid for _ in range(count)]
