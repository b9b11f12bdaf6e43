from __future__ import annotations

import io

import numpy as np
import pytest

from robustft.data.datasets import cifar
from robustft.errors import IntegrityError
from tests.data.samples import lines, pickled_2, tar

COARSE = 9


def record(label: int, *, fine: bool = False) -> bytes:
    """One image whose pixels tell their place: 100 label + plane in its first pixel, 1 to its right, 2 below."""
    image = np.zeros((3, 32, 32), dtype=np.uint8)
    image[:, 0, 0] = 20 * label + np.arange(3)
    image[:, 0, 1], image[:, 1, 0] = 1, 2
    return bytes([COARSE] * fine + [label]) + image.tobytes()


def check(image, label):
    assert image.shape == (3, 32, 32)
    assert image.dtype == np.uint8
    assert image[:, 0, 0].tolist() == [20 * label, 20 * label + 1, 20 * label + 2]
    assert image[:, 0, 1].tolist() == [1, 1, 1]
    assert image[:, 1, 0].tolist() == [2, 2, 2]


def batch(*labels: int, **changes) -> bytes:
    pixels = np.frombuffer(b"".join(record(label)[1:] for label in labels), dtype=np.uint8).reshape(-1, 3072)
    return pickled_2({"batch_label": "a batch", "labels": list(labels), "data": pixels, **changes})


@pytest.fixture
def ten():
    root = "cifar-10-batches-py"
    # The archive holds the batches in another order than they count.
    batches = {f"{root}/data_batch_{n}": batch(n) for n in (1, 5, 4, 3, 2)}
    return {
        **batches,
        f"{root}/batches.meta": pickled_2({"label_names": ["airplane", "automobile"]}),
        f"{root}/test_batch": batch(7, 8),
    }


def test_cifar10_counts_the_training_batches_and_then_the_test_batch(tmp_path, ten):
    source = cifar.cifar10({}, {"archive": tar(tmp_path / "x", ten)})
    assert source.labels.tolist() == [1, 2, 3, 4, 5, 7, 8]
    assert source.groups["train"].tolist() == [0, 1, 2, 3, 4]
    assert source.groups["test"].tolist() == [5, 6]
    assert source.names == ["airplane", "automobile"]
    for image, label in zip(source.images, source.labels, strict=True):
        check(image, label)


def test_cifar10_names_a_missing_batch_and_a_cut_one(tmp_path, ten):
    cut = {**ten, "cifar-10-batches-py/data_batch_3": batch(3, labels=[3, 3])}
    with pytest.raises(IntegrityError, match=r"data_batch_3 does not hold whole images"):
        cifar.cifar10({}, {"archive": tar(tmp_path / "x", cut)})
    del ten["cifar-10-batches-py/data_batch_2"]
    with pytest.raises(IntegrityError, match=r"data_batch_2"):
        cifar.cifar10({}, {"archive": tar(tmp_path / "y", ten)})


def test_cifar100_has_fine_labels(tmp_path):
    root = "cifar-100-binary"
    files = {
        f"{root}/fine_label_names.txt": lines("apple", "aquarium_fish"),
        f"{root}/coarse_label_names.txt": lines("fish"),
        f"{root}/train.bin": record(1, fine=True) + record(0, fine=True),
        f"{root}/test.bin": record(2, fine=True),
    }
    source = cifar.cifar100({}, {"archive": tar(tmp_path / "x", files)})
    assert source.labels.tolist() == [1, 0, 2]
    assert (source.groups["train"].tolist(), source.groups["test"].tolist()) == ([0, 1], [2])
    assert source.names == ["apple", "aquarium fish"]
    for image, label in zip(source.images, source.labels, strict=True):
        check(image, label)


def saved(array, **options) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array, **options)
    return stream.getvalue()


@pytest.fixture
def corrupted():
    def block(start):
        images = np.zeros((4, 32, 32, 3), dtype=np.uint8)
        images[:, 0, 1, 2] = start + np.arange(4)
        return saved(images)

    return {
        "CIFAR-10-C/snow.npy": block(40),
        "CIFAR-10-C/labels.npy": saved(np.array([3, 8, 3, 8])),
        "CIFAR-10-C/fog.npy": block(20),
    }


def test_cifar10_c_lays_out_a_block_for_each_type_in_the_order_asked_for(tmp_path, corrupted):
    files = {"archive": tar(tmp_path / "x", corrupted, mode="w")}
    source = cifar.cifar10_c({"corruptions": ["fog", "snow"]}, files)
    assert source.labels.tolist() == [3, 8, 3, 8] * 2
    assert source.labels.dtype == np.int64
    images = list(source.images)
    assert {image.shape for image in images} == {(3, 32, 32)}
    assert [int(image[2, 0, 1]) for image in images] == [20, 21, 22, 23, 40, 41, 42, 43]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (saved(np.zeros((3, 32, 32, 3), dtype=np.uint8)), "another form"),
        (saved(np.zeros((4, 32, 32, 3))), "another form"),
        (saved(np.array([{}], dtype=object), allow_pickle=True), "cannot be read"),
        (b"\x93NUMPY", "cannot be read"),
    ],
    ids=["short", "float", "pickled", "cut"],
)
def test_cifar10_c_unpickles_nothing_and_takes_no_other_form(tmp_path, corrupted, content, message):
    files = {"archive": tar(tmp_path / "x", {**corrupted, "CIFAR-10-C/fog.npy": content}, mode="w")}
    with pytest.raises(IntegrityError, match=message):
        list(cifar.cifar10_c({"corruptions": ["fog"]}, files).images)


def test_a_type_that_the_archive_lacks_is_named(tmp_path, corrupted):
    files = {"archive": tar(tmp_path / "x", corrupted, mode="w")}
    with pytest.raises(IntegrityError, match=r"CIFAR-10-C/frost\.npy"):
        list(cifar.cifar10_c({"corruptions": ["frost"]}, files).images)
