"""Pictures in a folder for each class, as torchvision's ImageFolder reads them, straight from the disk."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from robustft.data.formats.pictures import decode
from robustft.data.own.collection import Collection
from robustft.errors import IntegrityError, RobustftError
from robustft.files import sha256_files

PICTURES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm")
SPLITS = {"train": "train", "training": "train", "test": "test", "testing": "test"} | dict.fromkeys(
    ("val", "valid", "validation", "dev"), "validation"
)
"""Names of folders that are splits, not classes, if every folder at the top has such a name."""

RESIZED = (8, 7)
"""The shorter side over the side of the crop, 256 over 224, as for the weights of torchvision and most of timm."""


def read_folder(path: Path, *, hashed: bool = True) -> Collection:
    """Return the pictures below a folder: CLASS/PICTURE at any depth, or SPLIT/CLASS/PICTURE.

    Classes are the sorted folder names, pictures are sorted by class and path. Hidden files and folders do not count.

    Raises:
        RobustftError: no class folder, a class without a picture, or splits whose classes differ.
    """
    top = _folders(path)
    splits = bool(top) and all(name.lower() in SPLITS for name in top)
    parts = {SPLITS[name.lower()]: path / name for name in top} if splits else {"": path}
    found = {split: _classes(folder, of=path) for split, folder in parts.items()}
    classes = sorted(next(iter(found.values())))
    for split, folders in found.items():
        if sorted(folders) != classes:
            raise RobustftError(
                f"the classes of '{split}' differ from those of '{next(iter(found))}'",
                where=path,
                expected=", ".join(classes[:5]),
                observed=f"not in both: {', '.join(sorted(set(folders) ^ set(classes))[:5])}",
                next_step="give every split the same class folders",
            )
    names: list[str] = []
    labels: list[int] = []
    groups = {}
    for split, folders in found.items():
        start = len(names)
        for label, name in enumerate(classes):
            names += folders[name]
            labels += [label] * len(folders[name])
        if split:
            groups[split] = np.arange(start, len(names), dtype=np.int64)
    hashes = sha256_files(str(path / name) for name in names) if hashed else {}
    return Collection(
        place=str(path),
        labels=np.array(labels, dtype=np.int64),
        files={name: hashes.get(str(path / name)) or "" for name in names},
        read=_Pictures(path, names),
        size_of=lambda position: _size(path / names[position]),
        classes=classes,
        groups=groups,
    )


class _Pictures:
    """Decodes one picture when it is asked for."""

    def __init__(self, path: Path, names: list[str]) -> None:
        self.path, self.names = path, names

    def __call__(self, position: int, /, *, side: int | None = None) -> np.ndarray:
        """Return one picture in RGB, (3, H, W) uint8."""
        where = self.path / self.names[position]
        geometry = {} if side is None else {"resize": side * RESIZED[0] // RESIZED[1], "crop": side}
        try:
            return decode(where.read_bytes(), where=where, geometry=geometry)
        except OSError as error:
            raise IntegrityError("a picture cannot be read", where=where, observed=error) from error


def _size(path: Path) -> tuple[int, int]:
    """Return height and width from the head of a picture's file."""
    try:
        with Image.open(path) as image:
            return image.height, image.width
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise IntegrityError(
            "a picture cannot be decoded",
            where=path,
            observed=f"{path.stat().st_size} bytes; {type(error).__name__}",
            next_step="take the file out of the folder, or get it again",
        ) from error


def _folders(path: Path) -> list[str]:
    return sorted(entry.name for entry in os.scandir(path) if entry.is_dir() and entry.name[0] != ".")


def _classes(folder: Path, *, of: Path) -> dict[str, list[str]]:
    """Return the pictures of each class folder, as paths below `of`. Raises RobustftError if a class has none."""
    classes = {name: sorted(_pictures(folder / name, of=of)) for name in _folders(folder)}
    if not classes:
        loose = sum(1 for entry in folder.iterdir() if entry.suffix.lower() in PICTURES)
        raise RobustftError(
            "there is no folder for each class",
            where=folder,
            expected="CLASS/PICTURE, such as cats/1.png",
            observed=f"{loose} pictures and no folder" if loose else "no folder and no picture",
            next_step="put the pictures of each class into a folder with the class's name",
        )
    empty = [name for name, pictures in classes.items() if not pictures]
    if empty:
        raise RobustftError(
            "a class folder holds no picture",
            where=folder / empty[0],
            expected=f"at least one of {', '.join(PICTURES)}",
            observed=f"empty: {', '.join(empty[:5])}",
            next_step="add pictures, or take the folder away",
        )
    return classes


def _pictures(folder: Path, *, of: Path) -> Iterator[str]:
    for place, folders, files in os.walk(folder, followlinks=True):
        folders[:] = [name for name in folders if name[0] != "."]
        for name in files:
            if name[0] != "." and name.lower().endswith(PICTURES):
                yield (Path(place) / name).relative_to(of).as_posix()
