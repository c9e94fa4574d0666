"""Keep llama.cpp's threads from burning the core that they wait for.

llama.cpp is usually built with GNU OpenMP, whose threads spin for milliseconds at each of the hundreds of barriers of a
decode step. On an idle machine that is harmless. Where another process wants a core, the spinning thread holds up the
very thread that it waits for: two engines on two cores ran six to eight times slower than with a short spin, which
costs nothing measurable on an idle machine.
"""

from __future__ import annotations

import os

_SPINS = "1000"


def make_threads_patient() -> None:
    """Set libgomp's spin count, unless the user has set how its threads wait. Call before llama.cpp is loaded."""
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", _SPINS)
