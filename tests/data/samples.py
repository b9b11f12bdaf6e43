"""Tiny archives in the layouts of the publishers."""

from __future__ import annotations

import gzip
import io
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from scipy.io import savemat

from robustft.data.decoded import decoded


def picture(grey: int, *, size: tuple[int, int] = (8, 6)) -> bytes:
    """Return a PNG of one colour, (grey, 0, 255), and of (width, height) `size`; PIL goes by content, not by name."""
    stream = io.BytesIO()
    Image.new("RGB", size, (grey, 0, 255)).save(stream, "PNG")
    return stream.getvalue()


def tar(path: Path, files: Mapping[str, bytes], *, mode: str = "w:gz") -> Path:
    """Write a tar archive with the files in this order."""
    with tarfile.open(path, mode) as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return path


def packed(files: Mapping[str, bytes], *, mode: str = "w:gz") -> bytes:
    """Return a tar archive as bytes, to be put into another."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode=mode) as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return stream.getvalue()


def zipped(path: Path, files: Mapping[str, bytes]) -> Path:
    """Write a zip archive with the files in this order."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def gzipped(path: Path, data: bytes) -> Path:
    path.write_bytes(gzip.compress(data))
    return path


def matlab(**variables: Any) -> bytes:
    """Return a Matlab file."""
    stream = io.BytesIO()
    savemat(stream, variables)
    return stream.getvalue()


def cells(*texts: str) -> np.ndarray:
    """Return a Matlab cell array of texts in a column."""
    return np.array(texts, dtype=object).reshape(-1, 1)


def lines(*texts: str) -> bytes:
    return "".join(f"{text}\n" for text in texts).encode()


def pickled_2(content: Mapping[str, Any]) -> bytes:
    """Return a dictionary of uint8 arrays, lists of small numbers or texts, and texts as Python 2 pickles it."""

    def of(value: Any) -> bytes:
        if isinstance(value, np.ndarray):
            shape = b"(" + b"".join(b"I%d\n" % size for size in value.shape) + b"t"
            state = b"(I1\n" + shape + b"cnumpy\ndtype\n(S'u1'\nI0\nI1\ntR(I3\nS'|'\nNNNI-1\nI-1\nI0\ntbI00\n"
            raw = value.tobytes()
            return (
                b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR"
                + state + b"T" + len(raw).to_bytes(4, "little") + raw + b"tb"
            )  # fmt: skip
        if isinstance(value, list):
            return b"(" + b"".join(map(of, value)) + b"l"
        return b"I%d\n" % value if isinstance(value, int) else b"U" + bytes([len(value)]) + value.encode()

    return b"\x80\x02(" + b"".join(of(key) + of(value) for key, value in content.items()) + b"d."


def greys(images: Any) -> list[int]:
    """Return the first red pixel of each image: the grey that `picture` was given."""
    return [int(image[0, 0, 0]) for image in decoded(images)]
