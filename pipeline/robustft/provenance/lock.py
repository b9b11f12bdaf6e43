"""Locks: one process at a time runs a step, because two would overwrite each other's files."""

from __future__ import annotations

import contextlib
import datetime
import os
import socket
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from robustft.errors import BusyError
from robustft.files import digest_of

SCRATCH = "scratch"
"""The folder of resume state, attempts and locks; Snakemake does not know it and so never deletes it."""


@contextlib.contextmanager
def held(name: str, *, what: str) -> Iterator[None]:
    """Hold the lock `name` of this checkout's results, or raise BusyError, which names the process that holds it.

    The operating system drops the lock of a process that dies, so a crash never blocks a step.
    """
    path = Path(SCRATCH) / f"{digest_of(name)[:16]}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path)
    try:
        lock.acquire(blocking=False)
    except Timeout as error:
        raise BusyError(
            f"{what} is being run by another process",
            where=path,
            observed=_holder(path),
            next_step="wait until it has ended, or end it, and run the same command again",
        ) from error
    try:
        with contextlib.suppress(OSError):  # a full disk: the lock holds without its text
            started = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
            path.write_text(f"process {os.getpid()} on {socket.gethostname()}, since {started}", encoding="utf-8")
        yield
    finally:
        path.unlink(missing_ok=True)  # before the release: a waiting process then creates a new file
        lock.release()


def _holder(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8") or "a process that has only just begun"
    except (OSError, UnicodeDecodeError):
        return "a process that is just ending"
