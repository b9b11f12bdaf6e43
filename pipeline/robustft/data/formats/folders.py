"""Pictures in one folder for each class, as torchvision's ImageFolder reads them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from robustft.data.decoded import Decoded
from robustft.data.formats.dataset_index import (
    Archive,
    Classes,
    DatasetIndex,
    FlatArchive,
    NestedArchive,
    pictures,
    wording,
)
from robustft.errors import IntegrityError

_PICTURES = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")
"""The endings of torchvision's ImageFolder."""


def load(source: Mapping[str, Any], files: Mapping[str, Path]) -> Decoded:
    """Return the pictures of an archive (role `archive`) with a folder for each class.

    Labels are places among the sorted folder names. Raises IntegrityError if the archive is damaged, has no such
    folders, or its parts have different classes. `parameters`:

    - `parts`: {group: folder that holds the classes' folders}; all parts must have the same classes.
    - `nested`: true if the pictures are in archives inside the archive; their names then count as folders.
    - `without`: folders that are no classes.
    - `cut`: how many characters of a folder's name come before the class name; `drop`: text to leave out of it.
    - `first`: n makes two more groups, `first` and `rest`: of each class the first n pictures by name, and the others.
    """
    parameters = source["parameters"]
    archive: Archive = (NestedArchive if parameters.get("nested", False) else FlatArchive)(files["archive"])
    parts = {
        group: _classes(archive, folder, without=parameters.get("without", ()))
        for group, folder in parameters["parts"].items()
    }
    classes = sorted(next(iter(parts.values())))
    for group, folders in parts.items():
        if sorted(folders) != classes:
            raise IntegrityError(
                f"the classes of '{group}' differ from those of '{next(iter(parts))}'",
                where=archive.path,
                expected=f"{len(classes)} classes",
                observed=f"{len(folders)}; not in both: {', '.join(sorted(set(folders) ^ set(classes))[:5])}",
            )
    label = Classes(classes, where=archive.path)
    index = DatasetIndex(
        labels={path: label[name] for folders in parts.values() for name, paths in folders.items() for path in paths},
        names=[wording(name[parameters.get("cut", 0) :].replace(parameters.get("drop", ""), "")) for name in classes],
        groups={
            **{group: [path for paths in folders.values() for path in paths] for group, folders in parts.items()},
            **(_first(parts, parameters["first"]) if "first" in parameters else {}),
        },
    )
    return pictures(archive, index, source)


def _classes(archive: Archive, folder: str, *, without: Sequence[str]) -> dict[str, list[str]]:
    """Return the pictures of each class folder below a folder of an archive."""
    folders: dict[str, list[str]] = defaultdict(list)
    names = archive.names
    for name in names:
        within = name.removeprefix(f"{folder}/")
        if within != name and within.lower().endswith(_PICTURES) and within.count("/") == 1:
            folders[within.split("/")[0]].append(name)
    for name in without:
        folders.pop(name, None)
    if not folders:
        raise IntegrityError(
            f"the archive has no pictures in folders of '{folder}'",
            where=archive.path,
            expected=f"{folder}/CLASS/PICTURE",
            observed=f"{len(names)} files" + (f", the first {names[0]}" if names else ""),
        )
    return folders


def _first(parts: Mapping[str, Mapping[str, Sequence[str]]], count: int) -> dict[str, list[str]]:
    ordered = [sorted(paths) for folders in parts.values() for paths in folders.values()]
    return {
        "first": [path for paths in ordered for path in paths[:count]],
        "rest": [path for paths in ordered for path in paths[count:]],
    }


def tiny_imagenet(source: Mapping[str, Any], files: Mapping[str, Path]) -> Decoded:
    """Return Tiny ImageNet (role `archive`): groups `train` and `test`, which is the publisher's validation part.

    Labels are places among the sorted WordNet ids. A class's name is its first in `words.txt`. Raises IntegrityError if
    the archive is damaged, lacks a file or a name.
    """
    archive, root = FlatArchive(files["archive"]), "tiny-imagenet-200"
    (ids,) = archive.rows(f"{root}/wnids.txt")
    label = Classes(sorted(ids), where=archive.path)
    named = dict(archive.table(f"{root}/words.txt", str, str, separator="\t"))
    missing = sorted(set(label) - set(named))
    if missing:
        raise IntegrityError("words.txt has no name for a class", where=archive.path, expected=missing[0])
    annotations = archive.table(f"{root}/val/val_annotations.txt", str, str, str)
    test = {f"{root}/val/images/{picture}": label[wnid] for picture, wnid, _ in annotations}
    train = {
        name: label[name.split("/")[2]]
        for name in archive.names
        if name.startswith(f"{root}/train/") and name.lower().endswith(_PICTURES)
    }
    index = DatasetIndex(
        labels=train | test,
        names=[wording(named[name].split(",")[0]) for name in label],
        groups={"train": train, "test": test},
    )
    return pictures(archive, index, source)
