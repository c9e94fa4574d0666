"""From the bytes of tokens to text that may be shown: whole characters only, and nothing of a stop string."""

from __future__ import annotations

import codecs
from collections.abc import Sequence


class TextStream:
    """Decodes bytes as they come and looks for stop strings.

    Text that could still turn out to be the beginning of a stop string is held back until that is settled.
    Bytes that are no UTF-8 become U+FFFD; a character cut off at the very end is dropped.
    """

    def __init__(self, stop: Sequence[str] = ()) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._stop = tuple(stop)
        self._held = ""
        self.stopped = False

    def feed(self, data: bytes) -> str:
        """Add bytes; returns the text that has become certain. After a stop string, `stopped` is true."""
        self._held += self._decoder.decode(data)
        # The stop string that is complete first, so that the result does not depend on how the bytes were cut up.
        ends = [(at + len(stop), at) for stop in self._stop if (at := self._held.find(stop)) >= 0]
        if ends:
            text, self._held, self.stopped = self._held[: min(ends)[1]], "", True
            return text
        keep = self._possible_stop_length()
        text, self._held = self._held[: len(self._held) - keep], self._held[len(self._held) - keep :]
        return text

    def finish(self) -> str:
        """The text still held back, once no more bytes will come."""
        text, self._held = self._held, ""
        return text

    def _possible_stop_length(self) -> int:
        """Length of the longest end of the held text that begins a stop string."""
        longest = max((len(stop) - 1 for stop in self._stop), default=0)
        for length in range(min(longest, len(self._held)), 0, -1):
            end = self._held[-length:]
            if any(stop.startswith(end) for stop in self._stop):
                return length
        return 0
