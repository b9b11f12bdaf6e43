from __future__ import annotations

import builtins
import io

import h5py
import numpy as np
import pytest

from robustft.data.datasets import pcam
from robustft.data.decoded import decoded
from robustft.errors import IntegrityError, RobustftError
from tests.data.samples import gzipped


def stored(**arrays) -> bytes:
    stream = io.BytesIO()
    with h5py.File(stream, "w") as file:
        for name, array in arrays.items():
            file[name] = array
    return stream.getvalue()


@pytest.fixture
def files(tmp_path):
    patches = np.zeros((3, 96, 96, 3), dtype=np.uint8)
    patches[:, :, :, 1] = np.array([11, 12, 13]).reshape(3, 1, 1)
    return {
        "images": gzipped(tmp_path / "x", stored(x=patches)),
        "labels": gzipped(tmp_path / "y", stored(y=np.array([0, 1, 1], dtype=np.uint8).reshape(3, 1, 1, 1))),
    }


def test_patches_and_labels(files):
    source = pcam.load({"geometry": {"resize": 256, "crop": 224}}, files)
    assert source.labels.tolist() == [0, 1, 1]
    assert source.labels.dtype == np.int64
    images = list(decoded(source.images))
    assert {image.shape for image in images} == {(3, 224, 224)}
    assert [image[1].min() for image in images] == [11, 12, 13]
    assert not any(image[[0, 2]].any() for image in images)


def test_a_patch_without_a_label_is_an_error(files, tmp_path):
    files["labels"] = gzipped(tmp_path / "z", stored(y=np.zeros((2, 1, 1, 1))))
    with pytest.raises(IntegrityError, match="not every patch has a label"):
        list(pcam.load({}, files).images)


@pytest.mark.parametrize(
    ("content", "message"), [(b"no HDF5", "cannot be opened"), (stored(z=np.zeros(1)), "expected: y")]
)
def test_another_file_is_named(files, tmp_path, content, message):
    files["labels"] = gzipped(tmp_path / "z", content)
    with pytest.raises(IntegrityError, match=message) as error:
        pcam.load({}, files)
    assert str(files["labels"]) in str(error.value)


def test_a_file_that_is_not_compressed_is_named(files):
    files["labels"].write_bytes(b"plain")
    with pytest.raises(IntegrityError, match="cannot be opened"):
        pcam.load({}, files)


def test_without_h5py_the_error_says_what_to_install(files, monkeypatch):
    imported = builtins.__import__

    def missing(name, *args, **kwargs):
        if name == "h5py":
            raise ImportError(name)
        return imported(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(RobustftError, match="h5py is not installed"):
        pcam.load({}, files)
