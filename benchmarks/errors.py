"""What may go wrong in a benchmark."""

from __future__ import annotations


class BenchmarkError(Exception):
    """A measurement cannot be made, or would not be fair; the message says why."""
