"""What a step's function gets besides its specification: a `Context`, and `Progress` for its messages."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from robustft.files import sha256_file
from robustft.parallel.launcher import Launcher


@dataclass
class Context:
    """The files that a step reads and writes, its folder for resume state, its settings and its log."""

    inputs: dict[str, Path]
    outputs: dict[str, Path]
    scratch: Path
    """A folder of this step alone. It stays if the job dies and is removed when the job succeeds."""
    settings: dict[str, Any] = field(default_factory=dict)
    log: Callable[[str], None] = print
    launcher: Launcher = field(default_factory=Launcher)
    """The place of this process among those of the step."""
    facts: dict[str, Any] = field(default_factory=dict)
    """Circumstances of the step, such as its device and where it resumed, for the record."""

    def take_over(self, path: Path) -> None:
        """Tell the record of a file in scratch that an earlier attempt made and this one builds on."""
        piece = {"file": path.name, "sha256": sha256_file(path)}
        self.facts["taken_over"] = [*self.facts.get("taken_over", []), piece]


class Progress:
    """Logs at most every `seconds` how much of the work is done and how long the rest will take.

    Args:
        context: whose log it writes to.
        total: units of the whole work.
        unit: name of a unit, such as "image".
        done: units that are done already.
        seconds: between two messages at least; the last unit is always logged.
    """

    def __init__(self, context: Context, *, total: int, unit: str, done: int = 0, seconds: float = 10.0) -> None:
        self._context, self._total, self._unit, self._seconds = context, total, unit, seconds
        self._first_done, self._started = done, time.monotonic()
        self._last = self._started

    def update(self, done: int, note: str = "") -> None:
        """Report that `done` of the total units are finished; `note` is appended to the message."""
        now = time.monotonic()
        if now - self._last < self._seconds and done < self._total:
            return
        self._last = now
        rate = (done - self._first_done) / max(now - self._started, 1e-9)
        left = (self._total - done) / rate if rate > 0 else float("inf")
        estimate = f", about {left:.0f} s left" if done < self._total and rate > 0 else ""
        self._context.log(f"{self._unit} {done}/{self._total}{estimate}{'; ' + note if note else ''}")
