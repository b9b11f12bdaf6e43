"""PatchCamelyon: Veeling et al. Rotation Equivariant CNNs for Digital Pathology. MICCAI 2018."""

from __future__ import annotations

import gzip
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image

from robustft.data.decoded import Decoded, Image
from robustft.data.formats.pictures import fit
from robustft.errors import IntegrityError, RobustftError
from robustft.files import storage_error


def load(source: Mapping[str, Any], files: Mapping[str, Path]) -> Decoded:
    """Return the patches of role `images` at the source's `geometry`, and the labels (1: tumour) of role `labels`.

    Both are compressed HDF5 files: `x` (N, 96, 96, 3) uint8 and `y` (N, 1, 1, 1). Raises IntegrityError if a file is
    damaged or they disagree, and RobustftError without the package h5py.
    """
    with _dataset(files["labels"], "y") as column:
        labels = np.asarray(column[:], dtype=np.int64).reshape(-1)
    return Decoded(labels=labels, images=_images(files["images"], source.get("geometry", {}), count=len(labels)))


def _images(path: Path, geometry: Mapping[str, Any], *, count: int) -> Iterator[Image]:
    with _dataset(path, "x") as patches:
        if len(patches) != count:
            raise IntegrityError("not every patch has a label", where=path, expected=count, observed=len(patches))
        for patch in patches:
            yield partial(_fitted, patch, geometry)


def _fitted(patch: np.ndarray, geometry: Mapping[str, Any]) -> np.ndarray:
    return fit(PIL.Image.fromarray(patch).convert("RGB"), geometry)


@contextmanager
def _dataset(path: Path, name: str) -> Iterator[Any]:
    """Open one array of a compressed HDF5 file, which is decompressed to a temporary file."""
    try:
        import h5py
    except ImportError as error:
        raise RobustftError(
            "PatchCamelyon is stored as HDF5, and the package h5py is not installed",
            next_step="install the packages of envs/run.txt (make install)",
        ) from error
    with tempfile.TemporaryFile() as plain:
        try:
            with gzip.open(path) as packed:
                shutil.copyfileobj(packed, plain, 1 << 20)
            file = h5py.File(plain, "r")
        except (OSError, EOFError) as error:
            if problem := storage_error(error, doing=f" while unpacking {path.name}", where=tempfile.gettempdir()):
                raise problem from error
            raise IntegrityError("a compressed HDF5 file cannot be opened", where=path, observed=error) from error
        with file:
            if name not in file:
                raise IntegrityError(
                    "an HDF5 file lacks its array", where=path, expected=name, observed=", ".join(file) or "nothing"
                )
            yield file[name]
