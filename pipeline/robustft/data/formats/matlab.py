"""Pictures whose classes and parts are listed in Matlab files.

Every loader raises IntegrityError if a file is damaged or lacks a variable.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from robustft.data.decoded import Decoded
from robustft.data.formats.dataset_index import DatasetIndex, FlatArchive, pictures, wording
from robustft.errors import IntegrityError
from robustft.runtime.sandbox.decoding import decoding


def variables(data: bytes, *names: str, where: object) -> list[np.ndarray]:
    """Return named variables of a Matlab file as flat arrays; cells and structures are arrays of objects.

    `where` is the file's name in errors. Raises IntegrityError if it is no Matlab file or lacks a variable.
    """
    from scipy.io import loadmat

    with decoding("a Matlab file cannot be read", where=where):
        # Only these: what is not read can do no harm.
        table = loadmat(io.BytesIO(data), squeeze_me=True, variable_names=names)
        missing = [name for name in names if name not in table]
        if missing:
            raise IntegrityError(
                "a Matlab file lacks a variable",
                where=where,
                expected=", ".join(missing),
                observed=", ".join(name for name in table if name[0] != "_") or "none of them",
            )
        return [np.atleast_1d(table[name]) for name in names]


def _field(table: np.ndarray, name: str, *, where: object) -> list[Any]:
    """Return a field of every element of an array of structures."""
    if table.dtype.names is None or name not in table.dtype.names:
        raise IntegrityError("a structure lacks a field", where=where, expected=name, observed=table.dtype.names)
    return [value.item() if isinstance(value, np.ndarray | np.generic) else value for value in table[name]]


def flowers102(source: Mapping[str, Any], files: Mapping[str, Path]) -> Decoded:
    """Return the test pictures of Oxford 102 Flowers: Nilsback, Zisserman. ICVGIP 2008.

    Roles `images`, `labels` (of every picture, from 1) and `splits` (the numbers of each part's pictures, from 1).
    """
    (labels,) = variables(files["labels"].read_bytes(), "labels", where=files["labels"])
    (test,) = variables(files["splits"].read_bytes(), "tstid", where=files["splits"])
    with decoding("the numbers of Oxford 102 Flowers do not fit together", where=files["splits"]):
        if test.min() < 1 or test.max() > len(labels):
            raise ValueError(f"pictures {test.min()} to {test.max()}, and {len(labels)} labels")
        labelled = {f"jpg/image_{number:05d}.jpg": int(labels[number - 1]) - 1 for number in test}
    return pictures(FlatArchive(files["images"]), DatasetIndex(labelled, groups={"test": labelled}), source)


def stanford_dogs(source: Mapping[str, Any], files: Mapping[str, Path]) -> Decoded:
    """Return Stanford Dogs with the publisher's groups train and test: Khosla et al. FGVC workshop, CVPR 2011.

    Roles `images` and `lists`. Classes count from 1; a folder is named as in `n02085620-Chihuahua`.
    """
    lists = files["lists"]
    parts = {}
    for group, data in zip(
        ("train", "test"), FlatArchive(lists).contents("train_list.mat", "test_list.mat"), strict=True
    ):
        paths, numbers = variables(data, "file_list", "labels", where=lists)
        with decoding("a list of Stanford Dogs is malformed", where=lists):
            parts[group] = {f"Images/{path}": int(number) - 1 for path, number in zip(paths, numbers, strict=True)}
    labels = parts["train"] | parts["test"]
    breeds = {label: path.split("/")[1].partition("-")[2] for path, label in labels.items()}
    names = [wording(breeds[label]) for label in sorted(breeds)]
    return pictures(FlatArchive(files["images"]), DatasetIndex(labels, names, parts), source)


def stanford_cars(source: Mapping[str, Any], files: Mapping[str, Path]) -> Decoded:
    """Return the test pictures of Stanford Cars: Krause et al. 3dRR workshop, ICCV 2013.

    Roles `images`, `labels` (with labels, from 1) and `devkit`. Names lose their last five characters, a blank and the
    year, as in the code of TeCoA and PMG-AFT: classes that differ by the year only get the same prompt.
    """
    (table,) = variables(files["labels"].read_bytes(), "annotations", where=files["labels"])
    (meta,) = FlatArchive(files["devkit"]).contents("devkit/cars_meta.mat")
    (classes,) = variables(meta, "class_names", where=files["devkit"])
    names, numbers = (_field(table, name, where=files["labels"]) for name in ("fname", "class"))
    with decoding("the labels of Stanford Cars are malformed", where=files["labels"]):
        labels = {f"cars_test/{name}": int(label) - 1 for name, label in zip(names, numbers, strict=True)}
    names = [wording(str(name)[:-5], blanks="_-") for name in classes]
    return pictures(FlatArchive(files["images"]), DatasetIndex(labels, names, {"test": labels}), source)
