"""The handwritten digits that scikit-learn ships: Alpaydin, Kaynak. Optical Recognition of Handwritten Digits. 1998."""

from __future__ import annotations

import gzip
import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from robustft.data.decoded import Decoded
from robustft.errors import IntegrityError, RobustftError
from robustft.files import sha256_file

WHITE = 16
"""Full white."""


def load(source: dict[str, Any], files: Mapping[str, Path]) -> Decoded:
    """Return images (N, 1, 8, 8) uint8 with levels 0..16, labels (N,) int64, and the SHA-256 of the file read.

    A package ships the file, so `files` is empty. The file is located without importing scikit-learn (a second of
    start-up) and hashed before use. Raises RobustftError if scikit-learn is not installed and IntegrityError if the
    file is not the one on record.
    """
    package, *rest = Path(source["package_file"]).parts
    module = importlib.util.find_spec(package)
    if module is None or module.origin is None:
        raise RobustftError(
            f"the package '{package}' that ships the digits is not installed",
            next_step="install the packages of envs/run.txt (make install)",
        )
    path = Path(module.origin).parent.joinpath(*rest)
    observed = sha256_file(path)
    if observed != source["sha256"]:
        raise IntegrityError(
            "the digits file is not the one on record",
            where=path,
            expected=source["sha256"],
            observed=observed,
            next_step="install the locked scikit-learn of envs/run.txt (make install)",
        )
    with gzip.open(path, "rt", encoding="ascii") as stream:
        table = np.loadtxt(stream, delimiter=",", dtype=np.int64)
    images = table[:, :-1].reshape(-1, *source["shape"]).astype(np.uint8)
    return Decoded(labels=table[:, -1], images=images, sha256=observed)
