"""Folders and archives that are complete or absent."""

from __future__ import annotations

import contextlib
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock

from robustft.errors import RobustftError
from robustft.files import atomic_path

EPOCH = (1980, 1, 1, 0, 0, 0)
"""The date of every file in an archive, the earliest of the format, so that equal content gives equal bytes."""


@contextlib.contextmanager
def whole_folder(target: Path, *, mark: str) -> Iterator[Path]:
    """Yield an empty folder that replaces `target` once it is complete; a killed export leaves the old folder.

    `mark` is a file of every such export. Raises RobustftError if the target exists without it.
    """
    target = target.absolute()
    if target.exists() and not (target / mark).is_file() and (not target.is_dir() or any(target.iterdir())):
        raise RobustftError(
            "the target of an export exists and is no earlier export",
            where=target,
            expected=f"nothing there, or a folder with {mark}",
            next_step="choose another with --to, or move it away",
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    part, old = (target.with_name(f".{target.name}.{word}") for word in ("part", "old"))
    with FileLock(target.with_name(f".{target.name}.lock")):
        if old.exists() and not target.exists():
            old.rename(target)  # an export was killed between the two renames below
        shutil.rmtree(part, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)
        part.mkdir()
        try:
            yield part
            if target.exists():
                target.rename(old)
            part.rename(target)
        finally:
            shutil.rmtree(part, ignore_errors=True)
            shutil.rmtree(old, ignore_errors=True)


def archive(folder: Path, target: Path) -> None:
    """Write a folder's files as a ZIP archive, in order and without dates."""
    with atomic_path(target) as part, zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED) as stream:
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            entry = zipfile.ZipInfo(path.relative_to(folder).as_posix(), EPOCH)
            entry.compress_type, entry.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
            with open(path, "rb") as source, stream.open(entry, "w", force_zip64=True) as sink:
                shutil.copyfileobj(source, sink, 1 << 20)
