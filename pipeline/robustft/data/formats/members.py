"""The members of one tar or zip archive, from front to back.

The first bytes determine the kind of an archive, not its name. Regular files and hard links count: folders, symbolic
links and devices are left out, and so are the companions that a Mac puts beside every file (`._name`, `__MACOSX`). An
archive with a name that leads out of its folder is refused as a whole. No library does this: tarfile takes a damaged
header for the end of an archive.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import re
import stat
import tarfile
import zipfile
from collections.abc import Callable, Iterator
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


class Member(NamedTuple):
    """A file of an archive; `open` is valid until the next member is asked for."""

    name: str
    size: int
    open: Callable[[], IO[bytes]]
    link: str | None = None
    """Of a hard link: the name of the earlier member whose content it shares."""

    def read(self, *, limit_bytes: int = LIMIT_BYTES, where: object) -> bytes:
        """Return the content. Raises IntegrityError if it is said to be larger than the limit."""
        if self.size > limit_bytes:
            raise _hostile(where, self.name, f"has {self.size} bytes, more than the limit of {limit_bytes}")
        with self.open() as stream:
            data = stream.read(self.size)  # no more, whatever it unpacks to
        if len(data) < self.size:
            raise EOFError(f"{self.name} has {len(data)} bytes of {self.size}")
        return data


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


def is_archive(stream: IO[bytes]) -> bool:
    """Tell whether a stream begins as an archive does, and go back to its beginning."""
    start = _start(stream, _BLOCK)
    return start.startswith(_ZIP) or _decompressor(start) is not None or _is_tar(start)


def members(stream: IO[bytes], where: object) -> Iterator[Member]:
    """Yield the members of an archive of any kind, after checking the name and type of each.

    Raises IntegrityError for a member that may not be, and whatever the standard library raises for damage.
    """
    start = _start(stream, _BLOCK)
    if start.startswith(_ZIP):
        found = _zip_members(stream, where)
    elif decompressor := _decompressor(start):
        found = _tar_members(decompressor(stream), where, marked=False)
    elif _is_tar(start):
        found = _tar_members(stream, where, marked=isinstance(where, Path))
    else:
        raise tarfile.ReadError(f"it is no tar and no zip: it begins with {start[:16]!r}")
    for member in found:
        parts = member.name.split("/")
        if member.name and "__MACOSX" not in parts and not parts[-1].startswith("._"):
            yield member


class _Blocks:
    """A tar's stream that keeps the last block read: tarfile takes a damaged header for the end of the archive."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self.seek, self.tell, self.seekable = stream.seek, stream.tell, stream.seekable
        self.last = b""

    def read(self, count: int) -> bytes:
        if count > LIMIT_BYTES:  # a header may announce anything
            raise tarfile.ReadError(f"a header asks for {count} bytes")
        self.last = self._stream.read(count)
        return self.last


def _tar_members(stream: IO[bytes], where: object, *, marked: bool) -> Iterator[Member]:
    """Yield a tar's members. `marked`: the zeros at its end are the only sign that it is complete."""
    blocks = _Blocks(stream)
    with tarfile.open(fileobj=cast(IO[bytes], blocks), mode="r:") as tar:
        while (info := tar.next()) is not None:
            cast(Any, tar).members.clear()  # else tarfile keeps every header in memory
            name = _checked(info.name, where)
            link = _checked(info.linkname, where) if info.islnk() else None
            if info.isreg() or link:
                yield Member(name, info.size, partial(cast(Any, tar.extractfile), info), link)
    if blocks.last != bytes(_BLOCK) and (marked or blocks.last):
        raise tarfile.ReadError(f"{len(blocks.last)} bytes that are no header where the archive should end")
    _read_on(stream)


def _read_on(stream: IO[bytes]) -> None:
    """Read what is behind a tar, so that a compressed archive's own checksum is compared.

    gzip and tar ignore what follows the last gzip stream and is none, with a warning.
    """
    try:
        while stream.read(1 << 16):
            pass
    except gzip.BadGzipFile as error:
        if not str(error).startswith("Not a gzipped file"):
            raise


def _zip_members(stream: IO[bytes], where: object) -> Iterator[Member]:
    with zipfile.ZipFile(stream) as archive:
        for info in archive.infolist():
            mode = stat.S_IFMT(info.external_attr >> 16) if info.create_system == 3 else 0  # 3: made on Unix
            name = _checked(info.filename, where)
            if info.flag_bits & 1:
                raise _hostile(where, name, "is encrypted")
            if mode in (0, stat.S_IFREG) and not info.is_dir():
                yield Member(name, info.file_size, partial(archive.open, info))


def _checked(name: str, where: object) -> str:
    """Return a member's name without `.` and empty parts. Raises IntegrityError for one that leads out of the folder.

    A name that is not UTF-8 is read as Latin-1, in which every byte is a letter.
    """
    if not name.isascii():
        name = text_of(name.encode("utf-8", "surrogateescape"))
    parts = name.replace("\\", "/").split("/")
    if parts[0] == "" or re.match("[A-Za-z]:", parts[0]):
        raise _hostile(where, name, "has an absolute name")
    if ".." in parts:
        raise _hostile(where, name, "has a name that leads out of its folder")
    return "/".join(part for part in name.split("/") if part not in ("", "."))


def text_of(data: bytes) -> str:
    """Return a text in UTF-8, with or without a byte order mark, or else in Latin-1: what publishers wrote before."""
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def _hostile(where: object, name: str, what: str) -> IntegrityError:
    return IntegrityError(
        f"a member of an archive {what}",
        where=where,
        observed=name,
        next_step="do not use this archive; if its hash is the published one, report it",
    )
