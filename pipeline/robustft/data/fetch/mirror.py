"""Folders on this machine that already hold published files: ROBUSTFT_MIRROR, separated as PATH is."""

from __future__ import annotations

import errno
import os
import shutil
import tarfile
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from robustft.data.fetch.meter import Meter
from robustft.errors import ConfigError, RobustftError

MIRROR = "ROBUSTFT_MIRROR"
OFFLINE = "ROBUSTFT_OFFLINE"

_COPY_BYTES = 1 << 28
"""A multiple of every file system's block: a clone of a part of a file needs that."""


def folders() -> list[Path]:
    """Return the folders of the mirror. Raises ConfigError for one that does not exist or has no UTF-8 name."""
    names = [name for name in os.environ.get(MIRROR, "").split(os.pathsep) if name]
    for name in names:
        if not Path(name).is_dir():
            raise ConfigError(
                f"{MIRROR} names a folder that does not exist",
                where=ascii(name),
                next_step=f"mount its disk, or remove it from {MIRROR}",
            )
        if not name.isprintable() and name != name.encode("utf-8", "ignore").decode():
            raise ConfigError(
                f"{MIRROR} names a folder whose name is not UTF-8, and a record could not hold it",
                where=ascii(name),
                next_step="rename the folder, or make a link to it and name the link",
            )
    return [Path(name) for name in names]


def mirrored(file: Mapping[str, Any]) -> list[Path]:
    """Return the files of the mirror that have the name of `file` {key, name}, those in a folder of its key first.

    Nothing is read.
    """
    places = [folder / inner for folder in folders() for inner in (Path(file["key"], file["name"]), file["name"])]
    return [place for place in places if place.is_file()]


def unpacked(file: Mapping[str, Any]) -> list[Path]:
    """Return the folders of the mirror in which the archive `file` {key, members} lies unpacked. Nothing is read.

    A folder of the mirror may also be the one that the archive holds, such as `cifar-10-batches-py`.
    """
    members = file.get("members", {})
    tops = {Path(name).parts[0] for name in members}
    places = [place for folder in folders() for place in (folder / file["key"], folder)]
    places += [folder.parent for folder in folders() if tops == {folder.resolve().name}]
    return [place for place in places if members and all((place / name).is_file() for name in members)]


def pack(folder: Path, members: Collection[str], target: Path) -> None:
    """Write the files of a folder as a tar archive, whose bytes follow from theirs alone."""
    check_space(target.parent, sum((folder / name).stat().st_size for name in members))
    with tarfile.open(target, "w", format=tarfile.USTAR_FORMAT) as archive:
        for name in sorted(members):
            member = tarfile.TarInfo(name)
            member.size = (folder / name).stat().st_size
            with open(folder / name, "rb") as stream:
                archive.addfile(member, stream)


def lacking(file: Mapping[str, Any]) -> list[str]:
    """Return a line for each folder of the mirror that does not have the file, or one line if there is no mirror."""
    places = [*mirrored(file), *(place / name for place in unpacked(file) for name in file["members"])]
    without = [folder for folder in folders() if not any(folder in place.parents for place in places)]
    tops = sorted({Path(name).parts[0] for name in file.get("members", {})})
    inner = "".join(f" and no {top} with its files" for top in tops)
    lines = [f"{folder}: there is no {file['name']} and no {file['key']}/{file['name']}{inner}" for folder in without]
    return lines if folders() else [f"{MIRROR} is not set"]


def missing(files: Mapping[str, Mapping[str, Any]], done: Callable[[str], bool]) -> list[str]:
    """Return a line for each file that is neither downloaded nor in the mirror: key, name, size, how to get it.

    Sizes are compared, nothing is hashed, and the network is not touched.

    Args:
        files: entries of `files:` in the configuration, by key.
        done: whether the file of a key was downloaded.
    """
    lines = []
    for key, file in files.items():
        sizes = [place.stat().st_size for place in mirrored({"key": key, **file})]
        if done(key) or unpacked({"key": key, **file}) or any(file.get("bytes") in (None, size) for size in sizes):
            continue
        size = f"{file['bytes'] / 1e6:.1f} MB" if file.get("bytes") is not None else "size unknown"
        urls = file.get("urls") or []
        way = f"from {urls[0]}" if urls else f"by hand: {file.get('manual') or 'no address is on record'}"
        lines.append(f"{key}: {file['name']} ({size}), {way}")
    return lines


def copy(source: Path, target: Path, *, log: Callable[[str], None]) -> None:
    """Copy the bytes: as a clone where the file system can, else inside the kernel or the file server where these can.

    A hard link would share bytes, times and mode with a file that is not ours: `snakemake --touch` would change its
    date, and an edit of one would edit both. Raises RobustftError or OSError for a full disk.
    """
    size, done = source.stat().st_size, 0
    if source.stat().st_dev != target.stat().st_dev:  # else it may become a clone, which takes no room
        check_space(target.parent, size)
    meter = Meter(log, "copied", total=size)
    with open(source, "rb", buffering=0) as reader, open(target, "wb", buffering=0) as writer:
        try:
            while done < size and (step := os.copy_file_range(reader.fileno(), writer.fileno(), _COPY_BYTES)):
                done += step
                meter.update(done)
        except (AttributeError, OSError) as error:  # the system cannot, or not between these two places
            if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT):
                raise
    if done < size:
        shutil.copyfile(source, target)


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
