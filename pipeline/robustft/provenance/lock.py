"""One process at a time for one step: two that write the same files would undo each other's work."""

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
"""Resume state, attempts and locks of unfinished steps; Snakemake does not know it and so never deletes it."""


@contextlib.contextmanager
def held(name: str, *, what: str) -> Iterator[None]:
    """Hold the lock `name` of this checkout's results, or raise BusyError that says which process holds it.

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
        path.unlink(missing_ok=True)  # while it is held: who waits for it sees that the name is gone, and makes it anew
        lock.release()


def _holder(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8") or "a process that has only just begun"
    except (OSError, UnicodeDecodeError):
        return "a process that is just ending"
