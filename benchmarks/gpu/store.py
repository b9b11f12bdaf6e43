"""What a GPU run has found so far: a file for each piece, written as it ends, so that a run can be restarted."""

from __future__ import annotations

import sys
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.rows import machine
from robustft.files import read_json, write_json

SCHEMA = "robustft-gpu-1"
Piece = Callable[[], Any]


@dataclass
class Store:
    """The folder of one run on one device.

    Args:
        folder: where the files go.
        device: "cpu" or "cuda".
        quick: whether everything is cut to seconds.
    """

    folder: Path
    device: str
    quick: bool
    failed: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.about = {"schema": SCHEMA, "quick": self.quick, **machine(self.device)}

    def path(self, part: str, piece: str) -> Path:
        """Return the file of a piece."""
        return self.folder / self.device / part / f"{piece}.json"

    def done(self, part: str, piece: str) -> bool:
        """Tell whether a piece ended well on this hardware, with these versions and of this commit."""
        path = self.path(part, piece)
        if not path.is_file():
            return False
        then = read_json(path)
        keys = ("schema", "quick", "hardware", "versions", "git")
        return "error" not in then and all(then.get(key) == self.about[key] for key in keys)

    def run(self, part: str, pieces: Mapping[str, Piece], *, budget_s: float) -> None:
        """Run the pieces of a part one by one, and keep each result; a piece that fails does not end the part.

        Pieces that are done are skipped. None is begun after `budget_s` seconds: it is named as left out.
        """
        started = time.monotonic()
        for piece, function in pieces.items():
            if self.done(part, piece):
                self._say(part, piece, "done before")
            elif time.monotonic() - started > budget_s:
                self.left_out.append(f"{part}/{piece}")
                self._say(part, piece, f"left out: the part's {budget_s:.0f} s are over")
            else:
                self._one(part, piece, function)

    def _one(self, part: str, piece: str, function: Piece) -> None:
        started = time.monotonic()
        try:
            found = {"result": function()}
        except Exception as error:  # noqa: BLE001 - the other pieces are still worth their time
            found = {"error": f"{type(error).__name__}: {error}", "traceback": traceback.format_exc()}
            self.failed.append(f"{part}/{piece}")
        took = time.monotonic() - started
        write_json(self.path(part, piece), {**self.about, "part": part, "piece": piece, "seconds": took, **found})
        self._say(part, piece, f"{found.get('error', 'ok')} ({took:.1f} s)")

    def _say(self, part: str, piece: str, text: str) -> None:
        sys.stdout.write(f"{part} {piece}: {text}\n")
        sys.stdout.flush()
