"""Bringing one URL's bytes into a partial file that outlives the process. Knows nothing of steps or hashes.

Continued with Range and If-Range as in RFC 9110 (sections 13.1.5, 14 and 15.5.17).
"""

from __future__ import annotations

import errno
import http.client
import io
import json
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from robustft.data.fetch.web import (
    Interrupted,
    Refused,
    answer_to,
    chunks,
    length_of,
    page_error,
    status_error,
    validator_of,
)
from robustft.errors import RobustftError
from robustft.files import read_checked, write_checked

_HEAD_BYTES = 4096
_DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@dataclass(frozen=True, kw_only=True)
class Patience:
    """How long to wait for a server, and how often to ask again."""

    timeout_s: float = 60.0
    """For a connection, and for each next byte of an answer."""
    attempts: int = 6
    """In a row that may bring fewer than `progress_bytes`."""
    first_wait_s: float = 2.0
    """Before the second attempt; doubled for each further one."""
    longest_wait_s: float = 300.0
    progress_bytes: int = 1 << 20
    """So many new bytes make the count of attempts start again."""
    sleep: Callable[[float], None] = time.sleep

    def wait_s(self, failures: int, *, asked_s: float) -> float:
        """Return the seconds to wait after some failures in a row (from 1) when the server asked for `asked_s`."""
        return min(max(self.first_wait_s * 2 ** (failures - 1), asked_s), self.longest_wait_s)


class Meter:
    """Says at most every `seconds` how many bytes are done, how fast, and how long the rest will take."""

    def __init__(
        self,
        log: Callable[[str], None],
        what: str,
        *,
        total: int | None,
        done: int = 0,
        seconds: float = 10.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._say, self._what, self._total, self._seconds, self._clock = log, what, total, seconds, clock
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
        self._say(f"{self._what} {done / 1e6:.1f}{of} MB, {rate / 1e6:.2f} MB/s{left}")


class Part:
    """The bytes of one URL received so far and what is known of them; both survive the process."""

    def __init__(self, path: Path) -> None:
        self.path, self._about = path, path.with_name(f"{path.name}.about")

    @property
    def size(self) -> int:
        """Bytes received so far."""
        return self.path.stat().st_size if self.path.exists() else 0

    @property
    def about(self) -> dict[str, Any]:
        """`validator` (for If-Range) and `total` bytes, each None if the server did not say; {} if nothing is kept."""
        stored = read_checked(self._about)
        return json.loads(stored) if stored is not None else {}

    def restart(self, about: dict[str, Any]) -> None:
        """Forget the bytes; what comes next belongs to the file that `about` tells of."""
        self.path.unlink(missing_ok=True)
        write_checked(self._about, json.dumps(about).encode())

    def learn(self, about: dict[str, Any]) -> None:
        """Keep the bytes and replace what is known of them."""
        write_checked(self._about, json.dumps(about).encode())

    def remove(self) -> None:
        """Forget everything."""
        self.path.unlink(missing_ok=True)
        self._about.unlink(missing_ok=True)


def check_space(folder: Path, needed: int) -> None:
    """Raise RobustftError if the file system of `folder` has fewer than `needed` bytes free."""
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise RobustftError(
            "the disk has too little room for this file",
            where=folder.resolve(),
            expected=f"{needed / 1e6:.1f} MB free",
            observed=f"{free / 1e6:.1f} MB free",
            next_step="free some space and run the same command again; what was received is kept",
        )


class Transfer:
    """One URL into one part, in as many answers as it takes.

    `bytes` is the size that was published, None if none was. `hashed` tells whether a hash was: if so, an answer that
    cannot be proven to continue the same file is put behind what is there, since the hash will tell; if not, it all
    starts over.
    """

    def __init__(
        self,
        url: str,
        part: Part,
        *,
        bytes: int | None,
        hashed: bool,
        patience: Patience,
        log: Callable[[str], None],
    ) -> None:
        self.url, self.part, self.bytes, self.hashed, self.patience = url, part, bytes, hashed, patience
        self._say = log
        self.whole = False
        """Whether all bytes came in one answer, so that nothing can be glued wrongly."""

    def run(self) -> None:
        """Bring all bytes. Raises Refused, also after too many attempts, and RobustftError for a full disk."""
        failures, best = 0, self.part.size
        while True:
            try:
                return self._attempt()
            except Interrupted as problem:
                grown = self.part.size - best >= self.patience.progress_bytes
                failures, best = 1 if grown else failures + 1, max(best, self.part.size)
                if failures >= self.patience.attempts:
                    raise Refused(f"{problem}; given up after {failures} attempts") from problem
                wait_s = self.patience.wait_s(failures, asked_s=problem.wait_s)
                attempt = f"attempt {failures + 1} of {self.patience.attempts}"
                self._say(f"{self.url}: {problem}; {attempt} in {wait_s:g} s")
                self.patience.sleep(wait_s)

    def _attempt(self) -> None:
        about, offset = self.part.about, self.part.size
        total = about.get("total") if self.bytes is None else self.bytes
        if not about or not (about["validator"] or self.hashed):
            self.part.remove()
            offset = 0
        if offset and offset == total:
            return  # the process was stopped after the last byte
        headers = {"Range": f"bytes={offset}-"} if offset else {}
        if offset and about["validator"]:
            headers["If-Range"] = about["validator"]
        with answer_to(self.url, headers, timeout_s=self.patience.timeout_s) as answer:
            start = self._start(answer, offset)
            if start is not None:
                self._receive(answer, start)
                self.whole = start == 0

    def _start(self, answer: http.client.HTTPResponse, offset: int) -> int | None:
        """Return the position that the answer's first byte belongs to; None if there is nothing left to receive."""
        if answer.status == 206 and offset:
            return self._continue(answer, offset)
        if answer.status == 416 and offset:
            if answer.headers.get("Content-Range", "").replace(" ", "") == f"bytes*/{offset}":
                return None
            self.part.remove()
            raise Interrupted("the server's file is shorter than what was received of it; starting over")
        if answer.status != 200:
            raise status_error(answer)
        total = length_of(answer)
        if total is not None and self.bytes is not None and total != self.bytes:
            head = next(chunks(answer, first=_HEAD_BYTES, timeout_s=self.patience.timeout_s), b"")
            other = Refused(f"the server's file has {total} bytes, the published one {self.bytes}")
            raise page_error(answer, head) or other
        if offset:
            self._say(f"{self.url}: the server sends it from the beginning; {offset / 1e6:.1f} MB are given up")
        self.part.restart({"validator": validator_of(answer), "total": total})
        return 0

    def _continue(self, answer: http.client.HTTPResponse, offset: int) -> int:
        about, sent = self.part.about, answer.headers.get("Content-Range", "")
        span, _, total = sent.removeprefix("bytes").strip().partition("/")
        validator = validator_of(answer)
        changed = (
            span.partition("-")[0] != str(offset)
            or (total.isdigit() and about["total"] is not None and int(total) != about["total"])
            or (validator is not None and about["validator"] is not None and validator != about["validator"])
        )
        if changed:
            self.part.remove()
            raise Interrupted(f"the server continues another file than the one begun ({sent}); starting over")
        if total.isdigit():  # the first answer may not have told
            self.part.learn({**about, "total": int(total)})
        self._say(f"{self.url}: resumed at {offset / 1e6:.1f} MB")
        return offset

    def _receive(self, answer: http.client.HTTPResponse, position: int) -> None:
        total = self.bytes if self.part.about["total"] is None else self.part.about["total"]
        if total is not None:
            check_space(self.part.path.parent, total - position)
        meter = Meter(self._say, "received", total=total, done=position)
        first = 0 if position else _HEAD_BYTES
        with open(self.part.path, "ab", buffering=0) as sink:
            for data in chunks(answer, first=first, timeout_s=self.patience.timeout_s):
                error = page_error(answer, data) if position == 0 else None
                if total is not None and position + len(data) > total:
                    error = Refused(f"the server sends more than {total} bytes")
                if error:
                    self.part.remove()
                    raise error
                _write(sink, data, self.part.path)
                position += len(data)
                meter.update(position)
        if total is not None and position < total:
            raise Interrupted(f"the connection ended after {position} of {total} bytes")


def _write(sink: io.FileIO, data: bytes, path: Path) -> None:
    """Write all of `data` at once, so that a killed process loses nothing that it received."""
    view = memoryview(data)
    try:
        while view:
            view = view[sink.write(view) :]
    except OSError as error:
        if error.errno not in _DISK_FULL:
            raise
        raise RobustftError(
            "the disk is full while downloading",
            where=path.parent.resolve(),
            observed=error.strerror,
            next_step="free some space and run the same command again; what was received is kept",
        ) from error
