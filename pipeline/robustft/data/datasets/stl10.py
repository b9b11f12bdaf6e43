"""STL-10: Coates, Lee, Ng. An Analysis of Single-Layer Networks in Unsupervised Feature Learning. AISTATS 2011."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from robustft.data.decoded import Decoded
from robustft.data.formats.dataset_index import FlatArchive, wording
from robustft.data.formats.members import text_of
from robustft.errors import IntegrityError

_SIDE = 96


def load(source: Mapping[str, Any], files: Mapping[str, Path]) -> Decoded:
    """Return the test images (3, 96, 96) uint8 of role `archive`, with labels from 0 (from 1 in the files).

    An image's bytes are ordered by plane and column, so rows and columns are exchanged. Raises IntegrityError if the
    archive is damaged, lacks a file, or images and labels differ in number.
    """
    path, root = files["archive"], "stl10_binary"
    listed = (f"{root}/class_names.txt", f"{root}/test_X.bin", f"{root}/test_y.bin")
    names, data, numbers = FlatArchive(path).contents(*listed)
    if len(data) != len(numbers) * 3 * _SIDE**2:
        raise IntegrityError(
            "the images of STL-10 are not as many as its labels",
            where=path,
            expected=f"{len(numbers) * 3 * _SIDE**2} bytes",
            observed=len(data),
        )
    images = np.frombuffer(data, dtype=np.uint8).reshape(-1, 3, _SIDE, _SIDE).transpose(0, 1, 3, 2)
    labels = np.frombuffer(numbers, dtype=np.uint8).astype(np.int64) - 1
    return Decoded(labels=labels, images=images, names=[wording(name) for name in text_of(names).split()])
