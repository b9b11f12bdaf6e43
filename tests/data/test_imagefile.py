from __future__ import annotations

import numpy as np
import pytest
from safetensors.numpy import save_file

from pipeline.data.imagefile import load_split, save
from pipeline.errors import IntegrityError

IMAGES = np.arange(6 * 4, dtype=np.uint8).reshape(6, 1, 2, 2)
LABELS = np.array([7, 5, 9, 5, 7, 1])
ABOUT = {"levels": 16, "source": "made up", "datasets": {"odd": {"classes": [5, 7, 9]}, "one": {"classes": [1]}}}
SPLITS = {"odd/train": np.array([4, 1]), "odd/test": np.array([0, 2, 3]), "one/test": np.array([5])}


def write(path, *, images=IMAGES, labels=LABELS, splits=SPLITS, about=ABOUT):
    save(path, images=images, labels=labels, splits=splits, about=about)


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "images.safetensors"
    write(path)
    return path


def test_round_trip(path):
    split = load_split(path, dataset="odd", split="test")
    assert np.array_equal(split.images, IMAGES[[0, 2, 3]])
    assert split.images.dtype == np.uint8
    # Labels 7, 9, 5 counted within the classes (5, 7, 9).
    assert split.labels.tolist() == [1, 2, 0]
    assert split.labels.dtype == np.int64
    assert split.levels == 16
    assert split.indices.tolist() == [0, 2, 3]


def test_labels_are_counted_in_the_order_of_the_classes_that_the_data_set_gives(tmp_path):
    write(tmp_path / "f", about={**ABOUT, "datasets": {"odd": {"classes": [9, 7, 5]}}})
    assert load_split(tmp_path / "f", dataset="odd", split="test").labels.tolist() == [1, 0, 2]


def test_each_split_holds_its_own_images(path):
    assert load_split(path, dataset="odd", split="train").indices.tolist() == [4, 1]
    assert np.array_equal(load_split(path, dataset="one", split="test").images, IMAGES[[5]])


def test_writing_twice_gives_equal_bytes(path, tmp_path):
    other = tmp_path / "other.safetensors"
    write(other, splits=dict(reversed(SPLITS.items())), about=dict(reversed(ABOUT.items())))
    assert other.read_bytes() == path.read_bytes()


def test_an_array_that_is_a_view_is_written_as_what_it_shows(path, tmp_path):
    other = tmp_path / "other.safetensors"
    write(other, images=np.asfortranarray(IMAGES), labels=np.repeat(LABELS, 2)[::2])
    assert other.read_bytes() == path.read_bytes()


def test_a_file_cut_anywhere_is_an_integrity_error(path):
    data = path.read_bytes()
    for kept in (0, 4, 8, 100, len(data) // 2, len(data) - 1):
        path.write_bytes(data[:kept])
        with pytest.raises(IntegrityError, match="cannot give odd/test") as error:
            load_split(path, dataset="odd", split="test")
        assert str(path) in str(error.value)


@pytest.mark.parametrize(("dataset", "split"), [("odd", "validation"), ("even", "test"), ("one", "train")])
def test_a_missing_split_is_an_integrity_error_that_names_it(path, dataset, split):
    with pytest.raises(IntegrityError, match=f"cannot give {dataset}/{split}"):
        load_split(path, dataset=dataset, split=split)


def test_a_missing_file_is_an_integrity_error(tmp_path):
    with pytest.raises(IntegrityError, match="cannot give odd/test"):
        load_split(tmp_path / "none", dataset="odd", split="test")


@pytest.mark.parametrize("metadata", [None, {"format": "np"}, {"robustft": "{half"}])
def test_a_safetensors_file_of_other_origin_is_an_integrity_error(tmp_path, metadata):
    save_file({"odd/test": np.array([0]), "images": IMAGES, "labels": LABELS}, tmp_path / "f", metadata=metadata)
    with pytest.raises(IntegrityError):
        load_split(tmp_path / "f", dataset="odd", split="test")
