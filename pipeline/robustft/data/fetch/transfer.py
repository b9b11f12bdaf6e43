"""Bring the bytes of one URL into a part: a file that outlives the process, and is continued after a cut.

The loop is ours because requests and urllib3 only repeat whole requests: none continues a body that was cut, in a
later process too, and proves that it is still the same file (Range and If-Range, RFC 9110, 13.1.5, 14, 15.5.17).
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

from robustft.data.fetch.disguise import is_text
from robustft.data.fetch.meter import Meter
from robustft.data.fetch.mirror import check_space
from robustft.data.fetch.published import is_hashed
from robustft.data.fetch.web import (
    Interrupted,
    Refused,
    answer_to,
    number,
    page_error,
    pieces,
    status_error,
    validator_of,
)
from robustft.files import read_checked, storage_error, write_checked


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
    """After so many new bytes the count of attempts starts again."""
    slowest: float = 1000.0
    """Bytes a second, on average over `timeout_s`: a slower answer is given up."""
    deadline_s: float = 7 * 86400.0
    """For the whole file, with all attempts."""
    most_bytes: int = 1 << 35
    """Of a file of which neither a size nor a hash was published."""
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic

    def wait_s(self, failures: int, *, asked_s: float) -> float:
        """Return the seconds to wait after some failures in a row (from 1) when the server asked for `asked_s`."""
        return min(max(self.first_wait_s * 2 ** (failures - 1), asked_s), self.longest_wait_s)


class Transfer:
    """One URL on its way into one part, in as many answers as it takes.

    A note beside the part holds the validator that the server gave for If-Range. Without one, an answer is appended
    only if a hash of the file was published: then the hash decides.

    Args:
        url: of http or https.
        part: the file for the bytes; what it holds is continued.
        file: {name, bytes?, sha256?, md5?, sha256_prefix?}, as published.
        patience: waits and attempts.
        log: takes one line.
    """

    def __init__(
        self, url: str, part: Path, file: Mapping[str, Any], *, patience: Patience, log: Callable[[str], None]
    ) -> None:
        self._url, self._part, self._file, self._patience, self._log = url, part, file, patience, log
        self._note = part.with_name(f"{part.name}.about")
        self._text = is_hashed(file) or is_text(file["name"])
        self._most = None if is_hashed(file) else file.get("bytes") or patience.most_bytes
        self._end = patience.clock() + patience.deadline_s

    def run(self) -> bool:
        """Bring all bytes and return whether one answer brought them, so that no two files can be glued together.

        Raises Refused, also after too many attempts, and RobustftError for a full disk.
        """
        failures, most = 0, self._size
        while True:
            try:
                return self._attempt()
            except Interrupted as problem:
                grown = self._size - most >= self._patience.progress_bytes
                failures, most = 1 if grown else failures + 1, max(most, self._size)
                self._check_deadline()
                if failures >= self._patience.attempts:
                    raise Refused(f"{problem}; given up after {failures} attempts") from problem
                wait_s = self._patience.wait_s(failures, asked_s=problem.wait_s)
                attempt = f"attempt {failures + 1} of {self._patience.attempts}"
                self._log(f"{self._url}: {problem}, {self._size} bytes are here; {attempt} in {wait_s:g} s")
                self._patience.sleep(wait_s)

    def remove(self) -> None:
        """Remove the part and its note."""
        self._part.unlink(missing_ok=True)
        self._note.unlink(missing_ok=True)

    @property
    def _size(self) -> int:
        return self._part.stat().st_size if self._part.exists() else 0

    @property
    def _validator(self) -> str:
        """What proves that an answer continues the part, "" if the server gave nothing."""
        return (read_checked(self._note) or b"").decode()

    def _attempt(self) -> bool:
        """Ask once for what the part lacks; return whether the answer brought the file from its first byte."""
        validator = self._validator
        if not (validator or is_hashed(self._file)):
            self.remove()
        offset, published = self._size, self._file.get("bytes")
        if offset and offset == published:
            return False  # an earlier process was stopped after the last byte
        headers = {"Range": f"bytes={offset}-"} if offset else {}
        if offset and validator:
            headers["If-Range"] = validator
        with answer_to(self._url, headers, timeout_s=self._patience.timeout_s) as answer:
            place = answer.headers.get("Content-Range", "").replace(" ", "")
            if answer.status_code == 416 and place == f"bytes*/{offset}":
                return False
            if answer.status_code in (206, 416) and offset:
                other = validator and validator_of(answer) not in (None, validator)
                if other or not place.startswith(f"bytes{offset}-"):
                    self.remove()
                    raise Interrupted(f"the server's file is not the one begun ({place}); starting over")
                self._log(f"{self._url}: resumed at {offset / 1e6:.1f} MB")
                length = number(place.rpartition("/")[2])
            else:
                length = number(answer.headers.get("Content-Length", ""))
                self._begin(answer, length, given_up=offset)
                offset = 0
            self._receive(answer, offset, length if published is None else published)
            return offset == 0

    def _begin(self, answer: requests.Response, length: int | None, *, given_up: int) -> None:
        """Accept an answer that holds the file from its first byte. Raises Refused or Interrupted."""
        if answer.status_code != 200:
            raise status_error(answer)
        published, coding = self._file.get("bytes"), answer.headers.get("Content-Encoding", "identity").lower()
        packed = Path(self._file["name"]).suffix.lower() in (".gz", ".tgz", ".bz2", ".xz", ".zst")
        if coding != "identity" and not (packed or is_hashed(self._file)):
            raise Refused(
                f"the server sends it in another coding ({coding[:20]}), though it was asked for the file itself"
            )
        if length is not None and self._most is not None and length > self._most:
            raise Refused(f"the server's file has {length} bytes, more than {self._most}")
        if length is not None and published not in (None, length):
            other = Refused(f"the server's file has {length} bytes, the published one {published}")
            raise page_error(answer, next(self._pieces(answer)), text=True) or other
        if given_up:
            self._log(f"{self._url}: the server sends it from the beginning; {given_up / 1e6:.1f} MB are given up")
        self.remove()
        write_checked(self._note, (validator_of(answer) or "").encode())

    def _receive(self, answer: requests.Response, position: int, total: int | None) -> None:
        """Append the answer's bytes to the part; the first of them is at `position` of the file's `total` bytes."""
        if total is not None:
            check_space(self._part.parent, total - position)
        meter = Meter(self._log, "received", total=total, done=position)
        with open(self._part, "ab", buffering=0) as sink:
            for piece in self._pieces(answer):
                problem = page_error(answer, piece, text=self._text) if position == 0 else None
                position += len(piece)
                most = self._most if total is None else total
                if most is not None and position > most:
                    problem = problem or Refused(f"the server sends more than {most} bytes")
                if problem:
                    self.remove()
                    raise problem
                self._write(sink, piece)
                meter.update(position)
                self._check_deadline()
        if total is not None and position < total:
            raise Interrupted(f"the connection ended after {position} of {total} bytes")

    def _pieces(self, answer: requests.Response) -> Iterator[bytes]:
        patience = self._patience
        return pieces(answer, timeout_s=patience.timeout_s, slowest=patience.slowest, clock=patience.clock)

    def _check_deadline(self) -> None:
        if self._patience.clock() > self._end:
            raise Refused(f"it is not there after {self._patience.deadline_s:g} s; what was received is kept")

    def _write(self, sink: io.FileIO, data: bytes) -> None:
        """Write all of `data` at once, so that a killed process loses nothing that it received."""
        view = memoryview(data)
        try:
            while view:
                view = view[sink.write(view) :]
        except OSError as error:
            where = self._part.parent.resolve()
            raise storage_error(error, doing=" while downloading", where=where) or error from error
