"""A line now and then about bytes that are on their way."""

from __future__ import annotations

import time
from collections.abc import Callable


class Meter:
    """Log at most every `seconds` how many bytes were received (or another `verb`), how fast, and the time left.

    Of an unknown `total` no time left is given. The speed does not count the bytes that were `done` at the start.
    """

    def __init__(
        self,
        log: Callable[[str], None],
        verb: str,
        *,
        total: int | None,
        done: int = 0,
        seconds: float = 10.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._log, self._verb, self._total, self._seconds, self._clock = log, verb, total, seconds, clock
        self._first, self._started = done, clock()
        self._last = self._started

    def update(self, done: int) -> None:
        """Report that `done` bytes of the file are there."""
        now = self._clock()
        if now - self._last < self._seconds:
            return
        self._last = now
        rate = (done - self._first) / max(now - self._started, 1e-9)
        of = f" of {self._total / 1e6:.1f}" if self._total is not None else ""
        left = f", about {(self._total - done) / rate:.0f} s left" if self._total is not None and rate > 0 else ""
        self._log(f"{self._verb} {done / 1e6:.1f}{of} MB, {rate / 1e6:.2f} MB/s{left}")
