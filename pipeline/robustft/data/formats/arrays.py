"""Arrays of numpy's files and of HDF5: what they declare is checked before memory is taken for it."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Collection
from typing import Any

import numpy as np

from robustft.errors import IntegrityError
from robustft.runtime.sandbox.decoding import decoding

_HEADER_BYTES = 1 << 16
"""Of an array in numpy's format, at most."""


def from_npy(data: bytes, *, where: object) -> np.ndarray:
    """Return the array of an .npy file. Raises IntegrityError if it is none, or holds Python objects."""
    with decoding("an array cannot be read", where=where):
        array: np.ndarray = np.load(io.BytesIO(data), allow_pickle=False)
        return array


def from_npz(
    data: bytes, *, where: object, most_bytes: int, names: Collection[str] | None = None
) -> dict[str, np.ndarray]:
    """Return the arrays of an .npz file, or those with `names`.

    Raises IntegrityError if it lacks one, or declares more than `most_bytes` for them, and for damage whatever numpy
    and zipfile raise: call it in a block of `decoding`.
    """
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
        missing = sorted(set(names or ()) - set(members))
        if missing:
            observed = ", ".join(members) or "none"
            raise IntegrityError("an array is missing", where=where, expected=missing[0], observed=observed)
        wanted = {name: members[name] for name in (members if names is None else names)}
        declared = sum(info.file_size for info in wanted.values())
        if declared > most_bytes + _HEADER_BYTES * len(wanted):
            raise IntegrityError(
                "the arrays of a file are larger than they can be",
                where=where,
                expected=f"at most {most_bytes} bytes in {', '.join(list(wanted)[:5])}",
                observed=f"{declared} bytes",
            )
        return {name: _array(archive, info) for name, info in wanted.items()}


def _array(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> np.ndarray:
    with archive.open(info) as stream:
        array: np.ndarray = np.lib.format.read_array(stream, allow_pickle=False)
        return array


def from_hdf5(file: Any, name: str, *, where: object) -> Any:
    """Return a dataset of an open h5py.File, unread.

    Raises IntegrityError if it is missing, or its numbers are not all stored in this file: HDF5 can take them from any
    other file of this machine, or invent them.
    """
    import h5py

    with decoding("an HDF5 array cannot be opened", where=where):
        if name not in file:
            raise IntegrityError(
                "an HDF5 file lacks its array", where=where, expected=name, observed=", ".join(file) or "nothing"
            )
        array = file[name] if isinstance(file.get(name, getlink=True), h5py.HardLink) else None
        if not isinstance(array, h5py.Dataset) or array.external or array.is_virtual or not _is_stored(array):
            raise IntegrityError(
                "the numbers of an HDF5 array are not all stored in its file",
                where=where,
                expected=f"{name}: a dataset without links, external or virtual storage, with all of its chunks",
                observed=array,
                next_step="do not use this file; if its hash is the published one, report it",
            )
        return array


def _is_stored(array: Any) -> bool:
    """Tell whether every element of an HDF5 dataset was written: else a byte can stand for gigabytes."""
    if array.chunks is None:
        return bool(array.id.get_storage_size() >= array.nbytes)
    needed = [-(-length // chunk) for length, chunk in zip(array.shape, array.chunks, strict=True)]
    return bool(array.id.get_num_chunks() >= np.prod(needed, dtype=object))
