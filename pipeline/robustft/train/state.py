"""Resume state: one file that is whole or absent, and that says itself if it is damaged."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from robustft.files import read_checked, write_checked


def save_state(path: Path, state: dict[str, Any]) -> None:
    """Write tensors and plain values atomically, with their hash."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    write_checked(path, buffer.getvalue())


def load_state(path: Path, *, log: Callable[[str], None] = print) -> dict[str, Any] | None:
    """Return the state, or None if there is none or if it is damaged (which is said; the work starts again).

    Its tensors are on the CPU, wherever they were: the work may go on on another GPU.
    """
    if not path.is_file():
        return None
    data = read_checked(path)
    if data is None:
        log(f"the resume state {path} is damaged; it is put aside and the work starts again")
        with contextlib.suppress(FileNotFoundError):  # another process of the group was faster
            path.replace(path.with_suffix(".damaged"))
        return None
    state: dict[str, Any] = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    return state
