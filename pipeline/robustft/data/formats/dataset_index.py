"""The images of a source from an archive and the index of a data set, which has the label of each picture.

Pictures keep the order of the archive, not that of the publisher's lists. So an archive is read from front to back,
once for the names and once for the pictures, and a few pictures at a time are in memory.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from robustft.data.decoded import Decoded, Image
from robustft.data.formats.archives import Listing, listing, nested, nested_listing, read
from robustft.data.formats.members import text_of
from robustft.data.formats.pictures import decode
from robustft.errors import IntegrityError


@dataclass(frozen=True)
class DatasetIndex:
    """The publisher's labels and parts of an archive's pictures, by their names in the archive."""

    labels: Mapping[str, int]
    """The label of every picture of the source."""
    names: Sequence[str] | None = None
    """A name for each label, as prompts hold it."""
    groups: Mapping[str, Collection[str]] = field(default_factory=dict)
    """The publisher's parts: the names of their pictures."""


class Classes(dict[str, int]):
    """Labels by class, in the given order. An unknown class raises IntegrityError with the class and the archive."""

    def __init__(self, names: Iterable[str], *, where: object) -> None:
        super().__init__((name, number) for number, name in enumerate(names))
        self.where = where

    def __missing__(self, name: str) -> int:
        raise IntegrityError(
            "a picture is of a class that the list of classes lacks",
            where=self.where,
            expected=f"one of {len(self)} classes",
            observed=name,
        )


class Archive(Protocol):
    """Named files in a fixed order."""

    @property
    def path(self) -> Path:
        """Where the archive is."""

    @property
    def names(self) -> Sequence[str]:
        """Of all files, in order; listed once."""

    def read(self, names: Collection[str]) -> Iterator[tuple[str, bytes]]:
        """Yield (name, content) of the files with these names, in order."""


@dataclass(frozen=True)
class FlatArchive:
    """A tar or zip archive of the data set's files."""

    path: Path

    @cached_property
    def listing(self) -> Listing:
        """Of the archive, made once: it may decompress all of it."""
        return listing(self.path)

    @property
    def names(self) -> Sequence[str]:
        """Of all files, in order."""
        return list(self.listing)

    def read(self, names: Collection[str]) -> Iterator[tuple[str, bytes]]:
        """Yield (name, content) of the files with these names, in order."""
        return read(self.path, names, listed=self.listing)

    def contents(self, *names: str) -> list[bytes]:
        """Return the contents of named files, in the order of `names`. Raises IntegrityError if one is missing."""
        files = dict(self.read(frozenset(names)))
        return [files[name] for name in names]

    def rows(self, *names: str) -> list[list[str]]:
        """Return the non-empty lines, stripped, of each of these text files."""
        texts = [text_of(data) for data in self.contents(*names)]
        return [[line.strip() for line in text.splitlines() if line.strip()] for text in texts]

    def table(self, name: str, *types: Callable[[str], Any], separator: str | None = None) -> list[tuple[Any, ...]]:
        """Return the columns of each line of a text file, each of its type; the last one takes the rest of the line.

        Raises IntegrityError, with the line, if one has fewer columns or a column is not of its type.
        """
        (lines,) = self.rows(name)
        return [
            _columns(line, types, separator, where=f"{self.path}: {name}, row {number}")
            for number, line in enumerate(lines, start=1)
        ]


@dataclass(frozen=True)
class NestedArchive:
    """Archives inside an archive; a file's name is that of the inner archive, a slash, and its name there."""

    path: Path

    @cached_property
    def listing(self) -> Mapping[str, Listing]:
        """Of each inner archive, made once."""
        return nested_listing(self.path)

    @property
    def names(self) -> Sequence[str]:
        """Of the files of all inner archives, in order."""
        return [f"{inner}/{name}" for inner, files in self.listing.items() for name in files]

    def read(self, names: Collection[str]) -> Iterator[tuple[str, bytes]]:
        """Yield (name, content) of the files with these names, in order."""
        for inner, files in nested(self.path, listed=self.listing):
            for name, data in files:
                if f"{inner}/{name}" in names:
                    yield f"{inner}/{name}", data


def pictures(archive: Archive, index: DatasetIndex, source: Mapping[str, Any]) -> Decoded:
    """Return the listed pictures of an archive, (3, H, W) uint8 at the source's `geometry`, in the archive's order.

    Raises IntegrityError if the archive lacks a listed picture, or nothing is listed.
    """
    order = [name for name in archive.names if name in index.labels]
    missing = index.labels.keys() - set(order)
    if missing or not order:
        raise IntegrityError(
            "the archive lacks pictures that its lists name" if missing else "no picture is listed",
            where=archive.path,
            expected=f"{len(index.labels)} pictures" + (f", also {min(missing)}" if missing else ""),
            observed=len(order),
        )
    return Decoded(
        labels=np.array([index.labels[name] for name in order], dtype=np.int64),
        images=_undecoded(archive, order, index.labels.keys(), source.get("geometry")),
        names=index.names,
        groups={group: positions(order, of) for group, of in index.groups.items()},
    )


def positions(order: Sequence[str], names: Collection[str]) -> np.ndarray:
    """Return the places of names in an order, (n,) int64, ascending."""
    among = frozenset(names)
    return np.array([place for place, name in enumerate(order) if name in among], dtype=np.int64)


def _undecoded(
    archive: Archive, order: Sequence[str], names: Collection[str], geometry: Mapping[str, Any] | None
) -> Iterator[Image]:
    count = 0
    for count, (name, data) in enumerate(archive.read(names), start=1):
        if name != order[count - 1]:
            raise IntegrityError("an archive was read in another order", where=archive.path, observed=name)
        yield partial(decode, data, where=f"{archive.path}: {name}", geometry=geometry)
    if count != len(order):
        raise IntegrityError("an archive ended early", where=archive.path, expected=len(order), observed=count)


def _columns(line: str, types: Sequence[Callable[[str], Any]], separator: str | None, *, where: str) -> tuple[Any, ...]:
    parts = line.split(separator, len(types) - 1)
    with contextlib.suppress(ValueError):
        return tuple(kind(part.strip()) for kind, part in zip(types, parts, strict=True))
    raise IntegrityError(
        "a row of a list is malformed",
        where=where,
        expected=", ".join("a whole number" if kind is int else "a text" for kind in types),
        observed=repr(line[:200]),
    )


def wording(name: str, *, blanks: str = "_-/") -> str:
    """Return a class name as in the prompts of PMG-AFT: in lower case, with blanks in the place of `blanks`."""
    for character in blanks:
        name = name.replace(character, " ")
    return name.lower().strip()
