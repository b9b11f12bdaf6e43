"""Reading tar and zip archives in place: nothing is extracted to the disk.

Of two members with one name the last one counts, as it does after extracting. A hard link is another name of a file,
and is read with it. So an archive is listed first, then read from front to back.
"""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import IO

from robustft.data.formats.members import LIMIT_BYTES, is_archive, members
from robustft.errors import IntegrityError
from robustft.runtime.sandbox.decoding import decoding

Listing = Mapping[str, int]
"""The names in an archive, in the order of their contents; each has the number of the member that holds its content."""


def listing(path: Path) -> Listing:
    """Return the names in an archive. Raises IntegrityError as `read`."""
    with _opened(path) as stream:
        return _listed(stream, path)


def read(
    path: Path, names: Collection[str] | None = None, *, listed: Listing | None = None, limit_bytes: int = LIMIT_BYTES
) -> Iterator[tuple[str, bytes]]:
    """Yield (name, content) of each file, or of those with `names`, in the order of `listing`.

    One member at a time is in memory, and reading stops after the last of `names`. Raises IntegrityError for an archive
    that is cut off or damaged, holds a name that leads out of its folder, lacks one of `names` as a regular file, or
    has more than `limit_bytes` in a member that is read.

    Args:
        path: of the archive.
        names: those that are wanted.
        listed: what `listing` returned of this archive; listed here if it is not given.
        limit_bytes: of a member.
    """
    listed = listing(path) if listed is None else listed
    missing = set(names or ()) - set(listed)
    if missing:
        raise IntegrityError(
            "an archive lacks a file",
            where=path,
            expected=f"{min(missing)}" + (f" and {len(missing) - 1} more" if len(missing) > 1 else ""),
            next_step="compare with the names of its regular files; the publisher may have packed it anew",
        )
    with _opened(path) as stream:
        yield from _contents(stream, path, listed, names, limit_bytes)


def nested_listing(path: Path) -> dict[str, Listing]:
    """Return the names in each archive inside an archive, in order. Raises IntegrityError as `read`.

    Content is skipped where possible. Members that are no archives are left out.
    """
    found = {}
    outer = listing(path)
    with _opened(path) as stream:
        for number, member in enumerate(members(stream, path)):
            if outer.get(member.name) != number:
                continue
            with member.open() as inside:
                if is_archive(inside):
                    with _explained(where := f"{path}: {member.name}"):
                        found[member.name] = _listed(inside, where)
    return found


def nested(
    path: Path, *, listed: Mapping[str, Listing] | None = None, limit_bytes: int = LIMIT_BYTES
) -> Iterator[tuple[str, Iterator[tuple[str, bytes]]]]:
    """Yield (name, its (name, content) pairs) for each archive inside an archive, in order.

    The pairs are read lazily from the outer archive and are invalid once the next inner archive is read. Raises
    IntegrityError as `read`. `listed` is what `nested_listing` returned; the limit is for the innermost members.
    """
    outer, listed = listing(path), nested_listing(path) if listed is None else listed
    with _opened(path) as stream:
        for number, member in enumerate(members(stream, path)):
            if outer.get(member.name) == number and member.name in listed:
                with member.open() as inside:
                    where = f"{path}: {member.name}"
                    yield member.name, _pairs(inside, where, listed[member.name], limit_bytes)


def _pairs(stream: IO[bytes], where: str, listed: Listing, limit_bytes: int) -> Iterator[tuple[str, bytes]]:
    with _explained(where):
        yield from _contents(stream, where, listed, None, limit_bytes)


def _listed(stream: IO[bytes], where: object) -> Listing:
    numbers: dict[str, int] = {}
    for number, member in enumerate(members(stream, where)):
        if member.link is not None and member.link not in numbers:
            raise IntegrityError(
                "a hard link of an archive has no file before it",
                where=where,
                expected=member.link,
                observed=member.name,
            )
        content = number if member.link is None else numbers[member.link]
        numbers.pop(member.name, None)  # the last one counts, in its own place
        numbers[member.name] = content
    return dict(sorted(numbers.items(), key=lambda item: item[1]))


def _contents(
    stream: IO[bytes], where: object, listed: Listing, names: Collection[str] | None, limit_bytes: int
) -> Iterator[tuple[str, bytes]]:
    wanted = defaultdict(list)
    for name, number in listed.items():
        if names is None or name in names:
            wanted[number].append(name)
    left = len(wanted)
    for number, member in enumerate(members(stream, where) if wanted else ()):
        if number in wanted:
            data = member.read(limit_bytes=limit_bytes, where=where)
            for name in wanted[number]:
                yield name, data
            del data  # else it stays while the next one is read
            left -= 1
            if not left:
                return
    if left:
        raise EOFError("it ends earlier than when it was listed")


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    with _explained(path), open(path, "rb") as stream:
        yield stream


def _explained(where: object) -> AbstractContextManager[None]:
    """Turn the readers' errors for damaged archives into IntegrityError."""
    next_step = "delete it and run snakemake, which fetches it again (from ROBUSTFT_MIRROR, if it came from there)"
    return decoding("an archive is cut off or damaged", where=where, next_step=next_step)
