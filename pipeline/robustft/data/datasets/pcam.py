"""PatchCamelyon: Veeling et al. Rotation Equivariant CNNs for Digital Pathology. MICCAI 2018."""

from __future__ import annotations

import gzip
import math
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import IO, Any

import numpy as np
import PIL.Image

from robustft.data.decoded import Decoded, Image
from robustft.data.formats.arrays import from_hdf5
from robustft.data.formats.pictures import fit
from robustft.errors import IntegrityError, RobustftError
from robustft.runtime.sandbox.decoding import decoding

_SHAPE = (96, 96, 3)
"""Of a patch."""
_MOST = 1 << 20
"""Patches, where the source does not say how many there are: the largest part has a quarter of them."""
_HEADER_BYTES = 1 << 24
"""For what HDF5 stores beside the numbers."""


def load(source: Mapping[str, Any], files: Mapping[str, Path]) -> Decoded:
    """Return the patches of role `images` at the source's `geometry`, and the labels (1: tumour) of role `labels`.

    Both are compressed HDF5 files: `x` (N, 96, 96, 3) uint8 and `y` (N, 1, 1, 1). Raises IntegrityError if a file is
    damaged or they disagree, and RobustftError without the package h5py.
    """
    count = source.get("images", _MOST)
    with _dataset(files["labels"], "y", most_bytes=8 * count) as column:
        if len(column) > count:
            raise IntegrityError(
                "there are more labels than images", where=files["labels"], expected=count, observed=len(column)
            )
        labels = np.asarray(column[:], dtype=np.int64).reshape(-1)
    return Decoded(labels=labels, images=_images(files["images"], source.get("geometry", {}), count=len(labels)))


def _images(path: Path, geometry: Mapping[str, Any], *, count: int) -> Iterator[Image]:
    with _dataset(path, "x", most_bytes=math.prod(_SHAPE) * count) as patches:
        if len(patches) != count:
            raise IntegrityError("not every patch has a label", where=path, expected=count, observed=len(patches))
        for patch in patches:
            if patch.shape != _SHAPE or patch.dtype != np.uint8:
                raise IntegrityError("a patch has another form", where=path, expected=_SHAPE, observed=patch.shape)
            yield partial(_fitted, patch, geometry)


def _fitted(patch: np.ndarray, geometry: Mapping[str, Any]) -> np.ndarray:
    return fit(PIL.Image.fromarray(patch).convert("RGB"), geometry)


@contextmanager
def _dataset(path: Path, name: str, *, most_bytes: int) -> Iterator[Any]:
    """Open one array of a compressed HDF5 file, which is decompressed to a temporary file of about `most_bytes`."""
    try:
        import h5py
    except ImportError as error:
        raise RobustftError(
            "PatchCamelyon is stored as HDF5, and the package h5py is not installed",
            next_step="install the packages of envs/run.txt (make install)",
        ) from error
    with tempfile.TemporaryFile() as plain:
        with decoding("a compressed HDF5 file cannot be opened", where=path):
            with gzip.open(path) as packed:
                _unpack(packed, plain, most_bytes + _HEADER_BYTES)
            file = h5py.File(plain, "r")
        with file:
            yield from_hdf5(file, name, where=path)


def _unpack(packed: gzip.GzipFile, plain: IO[bytes], most_bytes: int) -> None:
    while piece := packed.read(1 << 20):
        plain.write(piece)
        if plain.tell() > most_bytes:
            raise ValueError(f"it unpacks to more than {most_bytes} bytes, which its images cannot take")
