"""Resume state: one file that is whole or absent, and that says itself if it is damaged."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from pipeline.files import write_bytes

_MAGIC = b"robustft-state-1\n"


def save_state(path: Path, state: dict[str, Any]) -> None:
    """Write tensors and plain values atomically, with their SHA-256 in front."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    data = buffer.getvalue()
    write_bytes(path, _MAGIC + hashlib.sha256(data).digest() + data)


def load_state(path: Path, *, say: Callable[[str], None] = print) -> dict[str, Any] | None:
    """Return the state, or None if there is none or if it is damaged (which is said; the work starts again)."""
    if not path.is_file():
        return None
    data = path.read_bytes()
    head, body = data[: len(_MAGIC) + 32], data[len(_MAGIC) + 32 :]
    if head != _MAGIC + hashlib.sha256(body).digest():
        say(f"the resume state {path} is damaged; it is put aside and the work starts again")
        path.replace(path.with_suffix(".damaged"))
        return None
    state: dict[str, Any] = torch.load(io.BytesIO(body), weights_only=True)
    return state
