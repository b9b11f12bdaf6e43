"""Reading tar and zip archives in place: nothing is extracted to the disk.

The first bytes determine the kind of an archive, not its name. Only regular files are read: folders, links and devices
are left out. An archive with a name that leads out of its folder is refused as a whole. No library does this: tarfile
takes a damaged header for the end of an archive.
"""

from __future__ import annotations

import bz2
import contextlib
import gzip
import lzma
import re
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Collection, Iterator
from functools import partial
from pathlib import Path
from typing import IO, Any, NamedTuple, cast

from robustft.errors import IntegrityError

LIMIT_BYTES = 1 << 30
"""The default limit of a member's bytes: a small archive can announce any size."""

_BLOCK = tarfile.BLOCKSIZE
_DECOMPRESSORS: dict[bytes, Callable[[IO[bytes]], Any]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ\x00": lzma.open,
}
_ZIP = (b"PK\x03\x04", b"PK\x05\x06")
_BROKEN = (
    tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError,
    EOFError, OSError, ValueError, NotImplementedError,
)  # fmt: skip
"""What the standard library raises for damaged archives."""


class _Member(NamedTuple):
    """A regular file of an archive; `open` is valid until the next member is asked for."""

    name: str
    size: int
    open: Callable[[], IO[bytes]]


def sizes(path: Path) -> dict[str, int]:
    """Return the bytes of each regular file by name, in the archive's order. Raises IntegrityError as `read`."""
    with _opened(path) as stream:
        return {member.name: member.size for member in _members(stream, path, limit_bytes=None)}


def read(
    path: Path, names: Collection[str] | None = None, *, limit_bytes: int = LIMIT_BYTES
) -> Iterator[tuple[str, bytes]]:
    """Yield (name, content) of each regular file, or of those with `names`, in the archive's order.

    One member at a time is in memory, and reading stops after the last of `names`. Raises IntegrityError for an archive
    that is cut off or damaged, holds a name that leads out of its folder, lacks one of `names` as a regular file, or
    has more than `limit_bytes` in a member that is read.
    """
    left = None if names is None else set(names)
    with _opened(path) as stream:
        for member in _members(stream, path, limit_bytes=None):
            if left is None or member.name in left:
                if member.size > limit_bytes:
                    raise _too_large(path, member, limit_bytes)
                yield member.name, _content(member)
            if left is not None:
                left.discard(member.name)
                if not left:
                    return
    if left:
        raise IntegrityError(
            "an archive lacks a file",
            where=path,
            expected=f"{min(left)}" + (f" and {len(left) - 1} more" if len(left) > 1 else ""),
            next_step="compare with the names of its regular files (`sizes`); the publisher may have packed it anew",
        )


def nested(path: Path, *, limit_bytes: int = LIMIT_BYTES) -> Iterator[tuple[str, Iterator[tuple[str, bytes]]]]:
    """Yield (name, its (name, content) pairs) for each archive inside an archive, in order.

    Members that are no archives are left out. The pairs are read lazily from the outer archive and are invalid once the
    next inner archive is read. Raises IntegrityError as `read`; the limit is for the innermost members.
    """
    for name, stream in _inner(path):
        yield name, _pairs(stream, f"{path}: {name}", limit_bytes)


def nested_sizes(path: Path) -> Iterator[tuple[str, dict[str, int]]]:
    """Yield (name, size in bytes of each regular file by name) for each archive inside an archive, in order.

    Content is skipped where possible. Raises IntegrityError as `read`.
    """
    for name, stream in _inner(path):
        with _explained(where := f"{path}: {name}"):
            files = {member.name: member.size for member in _members(stream, where, limit_bytes=None)}
        yield name, files


def _inner(path: Path) -> Iterator[tuple[str, IO[bytes]]]:
    with _opened(path) as stream:
        for outer in _members(stream, path, limit_bytes=None):
            with outer.open() as inside:
                if _is_archive(inside):
                    yield outer.name, inside


def _pairs(stream: IO[bytes], where: str, limit_bytes: int) -> Iterator[tuple[str, bytes]]:
    with _explained(where):
        for member in _members(stream, where, limit_bytes=limit_bytes):
            yield member.name, _content(member)


def _content(member: _Member) -> bytes:
    with member.open() as stream:
        return stream.read()


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    with open(path, "rb") as stream, _explained(path):
        yield stream


@contextlib.contextmanager
def _explained(where: object) -> Iterator[None]:
    """Turn the readers' errors for damaged archives into IntegrityError."""
    try:
        yield
    except _BROKEN as error:
        raise _damaged(where, error or type(error).__name__) from error


def _damaged(where: object, observed: object) -> IntegrityError:
    return IntegrityError(
        "an archive is cut off or damaged",
        where=where,
        observed=observed,
        next_step="delete it and run snakemake, which fetches it again (from ROBUSTFT_MIRROR, if it came from there)",
    )


def _start(stream: IO[bytes], count: int) -> bytes:
    """Return the first bytes of a stream, and go back to its beginning."""
    start = stream.read(count)
    stream.seek(0)
    return start


def _is_tar(block: bytes) -> bool:
    """Tell whether a block is a tar header: by its checksum, since old archives have no magic bytes."""
    try:
        tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except tarfile.HeaderError:
        return False
    return True


def _decompressor(start: bytes) -> Callable[[IO[bytes]], Any] | None:
    return next((opened for magic, opened in _DECOMPRESSORS.items() if start.startswith(magic)), None)


def _is_archive(stream: IO[bytes]) -> bool:
    start = _start(stream, _BLOCK)
    return start.startswith(_ZIP) or _decompressor(start) is not None or _is_tar(start)


def _members(stream: IO[bytes], where: object, *, limit_bytes: int | None) -> Iterator[_Member]:
    """Yield the regular files of an archive of any kind, after checking each member's name and type."""
    start = _start(stream, _BLOCK)
    if start.startswith(_ZIP):
        members = _zip_members(stream, where)
    elif decompressor := _decompressor(start):
        members = _tar_members(decompressor(stream), where, limit_bytes=limit_bytes, marked=False)
    elif _is_tar(start):
        members = _tar_members(stream, where, limit_bytes=limit_bytes, marked=isinstance(where, Path))
    else:
        raise _damaged(where, f"it is no tar and no zip: it begins with {start[:16]!r}")
    for member in members:
        if limit_bytes is not None and member.size > limit_bytes:
            raise _too_large(where, member, limit_bytes)
        yield member


def _too_large(where: object, member: _Member, limit_bytes: int) -> IntegrityError:
    return _hostile(where, member.name, f"has {member.size} bytes, more than the limit of {limit_bytes}")


class _Blocks:
    """A tar's stream that keeps the last block read: tarfile takes a damaged header for the end of the archive."""

    def __init__(self, stream: IO[bytes], limit_bytes: int) -> None:
        self._stream, self._limit_bytes = stream, limit_bytes
        self.seek, self.tell, self.seekable = stream.seek, stream.tell, stream.seekable
        self.last = b""

    def read(self, count: int) -> bytes:
        if count > self._limit_bytes:  # a header may announce anything
            raise tarfile.ReadError(f"a header asks for {count} bytes")
        self.last = self._stream.read(count)
        return self.last


def _tar_members(stream: IO[bytes], where: object, *, limit_bytes: int | None, marked: bool) -> Iterator[_Member]:
    """Yield a tar's members. `marked`: the zeros at its end are the only sign that it is complete."""
    blocks = _Blocks(stream, max(limit_bytes or 0, LIMIT_BYTES))
    with tarfile.open(fileobj=cast(IO[bytes], blocks), mode="r:") as tar:
        while (info := tar.next()) is not None:
            cast(Any, tar).members.clear()  # else tarfile keeps every header in memory
            name = _checked(info.name, where)
            if info.isreg():
                yield _Member(name, info.size, partial(cast(Any, tar.extractfile), info))
    if blocks.last != bytes(_BLOCK) and (marked or blocks.last):
        raise _damaged(where, f"{len(blocks.last)} bytes that are no header where the archive should end")
    while stream.read(1 << 16):  # so that a compressed archive's own checksum is compared
        pass


def _zip_members(stream: IO[bytes], where: object) -> Iterator[_Member]:
    with zipfile.ZipFile(stream) as archive:
        for info in archive.infolist():
            mode = stat.S_IFMT(info.external_attr >> 16) if info.create_system == 3 else 0  # 3: made on Unix
            name = _checked(info.filename, where)
            if info.flag_bits & 1:
                raise _hostile(where, name, "is encrypted")
            if mode in (0, stat.S_IFREG) and not info.is_dir():
                yield _Member(name, info.file_size, partial(archive.open, info))


def _checked(name: str, where: object) -> str:
    """Return a member's name without a leading `./`. Raises IntegrityError for one that leads out of the folder."""
    parts = name.replace("\\", "/").split("/")
    if parts[0] == "" or re.match("[A-Za-z]:", parts[0]):
        raise _hostile(where, name, "has an absolute name")
    if ".." in parts:
        raise _hostile(where, name, "has a name that leads out of its folder")
    return name.removeprefix("./")


def _hostile(where: object, name: str, what: str) -> IntegrityError:
    return IntegrityError(
        f"a member of an archive {what}",
        where=where,
        observed=name,
        next_step="do not use this archive; if its hash is the published one, report it",
    )
