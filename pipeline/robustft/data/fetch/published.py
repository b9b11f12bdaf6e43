"""What the configuration says of a published file, and whether a file on the disk is that one."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from robustft.data.fetch.meter import Meter
from robustft.data.formats.archives import read
from robustft.errors import IntegrityError

HASHES = ("sha256", "md5", "sha256_prefix")

_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True)
class Observed:
    """What a file on the disk is."""

    bytes: int
    md5: str
    sha256: str

    @classmethod
    def of(cls, path: Path, *, log: Callable[[str], None]) -> Observed:
        """Read a file once."""
        md5, sha256 = hashlib.md5(usedforsecurity=False), hashlib.sha256()
        size, meter = 0, Meter(log, "checked", total=path.stat().st_size)
        with open(path, "rb") as stream:
            while chunk := stream.read(_CHUNK_BYTES):
                md5.update(chunk)
                sha256.update(chunk)
                size += len(chunk)
                meter.update(size)
        return cls(size, md5.hexdigest(), sha256.hexdigest())

    def problem(self, file: Mapping[str, Any]) -> str | None:
        """Return how this differs from a published `file` {bytes?, sha256?, md5?, sha256_prefix?}, else None."""
        own = {**vars(self), "sha256_prefix": self.sha256}
        wrong = [
            f"{key}: expected {file[key]}, observed {own[key]}"
            for key in ("bytes", *HASHES)
            if file.get(key) is not None and not _agrees(key, file[key], own[key])
        ]
        return f"it is not the published file ({'; '.join(wrong)})" if wrong else None


def checked(path: Path, file: Mapping[str, Any], *, log: Callable[[str], None]) -> tuple[Observed, str | None]:
    """Return what a file on the disk is, and how it differs from a published `file`, else None.

    Another archive with the published `members` is as good as the published one.
    """
    observed = Observed.of(path, log=log)
    problem = observed.problem(file)
    if problem and file.get("members") and _holds(path, file["members"]):
        problem = None
    return observed, problem


def _holds(path: Path, members: Mapping[str, str]) -> bool:
    try:
        found = {name: hashlib.md5(data, usedforsecurity=False).hexdigest() for name, data in read(path, members)}
    except IntegrityError:
        return False
    return found == dict(members)


def _agrees(key: str, published: Any, observed: Any) -> bool:
    return observed.startswith(published.lower()) if key in HASHES else observed == published


def is_hashed(file: Mapping[str, Any]) -> bool:
    """Return whether any hash of the file, or a part of one, was published."""
    return any(file.get(key) is not None for key in HASHES)


def doubt(file: Mapping[str, Any]) -> str | None:
    """Return how little was published to check the file against; None if a whole hash was."""
    if file.get("sha256") is not None or file.get("md5") is not None:
        return None
    digits = len(file.get("sha256_prefix") or "")
    return f"only the first {digits} digits of its SHA-256 were published" if digits else "no hash of it was published"
