"""What a step's function is given besides its specification."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from robustft.parallel.launcher import Launcher


@dataclass
class Context:
    """Where to read and write, where to keep resume state, and how to tell people how far the work is."""

    inputs: dict[str, Path]
    outputs: dict[str, Path]
    scratch: Path
    """A folder of this step alone, kept when the job dies, removed when it ends well."""
    settings: dict[str, Any] = field(default_factory=dict)
    log: Callable[[str], None] = print
    launcher: Launcher = field(default_factory=Launcher)
    """Which of the commands that do this step together this is."""
    facts: dict[str, Any] = field(default_factory=dict)
    """What the step learned about its circumstances (device, resumed from where); goes into the record."""


class Progress:
    """Says at most every `seconds` how far the work is and how long the rest will take."""

    def __init__(self, context: Context, *, total: int, unit: str, done: int = 0, seconds: float = 10.0) -> None:
        self._context, self._total, self._unit, self._seconds = context, total, unit, seconds
        self._first_done, self._started = done, time.monotonic()
        self._last = self._started

    def update(self, done: int, note: str = "") -> None:
        """Report that `done` of the total units are finished."""
        now = time.monotonic()
        if now - self._last < self._seconds and done < self._total:
            return
        self._last = now
        rate = (done - self._first_done) / max(now - self._started, 1e-9)
        left = (self._total - done) / rate if rate > 0 else float("inf")
        estimate = f", about {left:.0f} s left" if done < self._total and rate > 0 else ""
        self._context.log(f"{self._unit} {done}/{self._total}{estimate}{'; ' + note if note else ''}")
