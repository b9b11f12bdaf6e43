from __future__ import annotations

import numpy as np
import pytest

from robustft.data.formats import matlab
from robustft.errors import IntegrityError
from tests.data.samples import cells, greys, picture, tar
from tests.data.samples import matlab as written


@pytest.fixture
def flowers(tmp_path):
    images = {f"jpg/image_{number:05d}.jpg": picture(number) for number in (2, 1, 3, 4)}
    files = {"images": tar(tmp_path / "images", images), "labels": tmp_path / "labels", "splits": tmp_path / "splits"}
    files["labels"].write_bytes(written(labels=np.array([[5, 1, 2, 5]], dtype=np.uint8)))
    splits = {"trnid": np.array([[2]]), "valid": np.array([[3]]), "tstid": np.array([[4, 1]])}
    files["splits"].write_bytes(written(**splits))
    return files


def test_flowers102_labels_are_by_number_of_picture(flowers):
    source = matlab.flowers102({}, flowers)
    assert source.labels.tolist() == [4, 4]
    assert greys(source.images) == [1, 4]
    assert source.groups["test"].tolist() == [0, 1]


def test_a_part_of_one_picture_is_still_a_list(flowers):
    flowers["splits"].write_bytes(written(tstid=np.array([[3]])))
    assert matlab.flowers102({}, flowers).labels.tolist() == [1]


@pytest.mark.parametrize(
    ("data", "seen"),
    [
        (b"no matlab file", "cannot be read"),
        (written(other=1), "lacks a variable"),
        (written(tstid=np.array([[5]])), "pictures 5 to 5, and 4 labels"),
        (written(tstid=np.array(["a"], dtype=object)), "do not fit together"),
    ],
)
def test_a_file_that_is_not_what_it_should_be_is_named(flowers, data, seen):
    flowers["splits"].write_bytes(data)
    with pytest.raises(IntegrityError, match=seen) as error:
        matlab.flowers102({}, flowers)
    assert str(flowers["splits"]) in str(error.value)


def test_stanford_dogs_reads_both_lists(tmp_path):
    chihuahua, sealyham = "n02085620-Chihuahua/n02085620_1", "n02095889-Sealyham_terrier/n02095889_2"
    images = {f"Images/{sealyham}.jpg": picture(1), f"Images/{chihuahua}.jpg": picture(2)}
    lists = {
        "file_list.mat": b"",
        "test_list.mat": written(file_list=cells(f"{sealyham}.jpg"), labels=np.array([[2]])),
        "train_list.mat": written(file_list=cells(f"{chihuahua}.jpg"), labels=np.array([[1]])),
    }
    files = {"images": tar(tmp_path / "i", images, mode="w"), "lists": tar(tmp_path / "l", lists, mode="w")}
    source = matlab.stanford_dogs({}, files)
    assert source.labels.tolist() == [1, 0]
    assert source.names == ["chihuahua", "sealyham terrier"]
    assert {group: places.tolist() for group, places in source.groups.items()} == {"train": [1], "test": [0]}
    assert greys(source.images) == [1, 2]
    del lists["train_list.mat"]
    with pytest.raises(IntegrityError, match=r"train_list\.mat"):
        matlab.stanford_dogs({}, {**files, "lists": tar(tmp_path / "m", lists, mode="w")})


@pytest.fixture
def cars(tmp_path):
    kind = [("bbox_x1", object), ("class", object), ("fname", object)]
    rows = np.array([[(39, 2, "00002.jpg"), (36, 1, "00001.jpg")]], dtype=kind)
    names = np.array([["AM General Hummer SUV 2000", "Ram C/V Mercedes-Benz Van 2012"]], dtype=object)
    files = {
        "images": tar(tmp_path / "i", {"cars_test/00001.jpg": picture(1), "cars_test/00002.jpg": picture(2)}),
        "labels": tmp_path / "labels",
        "devkit": tar(tmp_path / "d", {"devkit/cars_meta.mat": written(class_names=names)}),
    }
    files["labels"].write_bytes(written(annotations=rows))
    return files


def test_stanford_cars_lose_the_year_and_keep_the_slash(cars):
    source = matlab.stanford_cars({}, cars)
    assert source.labels.tolist() == [0, 1]
    assert greys(source.images) == [1, 2]
    assert source.names == ["am general hummer suv", "ram c/v mercedes benz van"]


def test_labels_without_classes_are_refused(cars):
    # The publisher's first list of the test part has no classes.
    rows = np.array([[(39, "00002.jpg")]], dtype=[("bbox_x1", object), ("fname", object)])
    cars["labels"].write_bytes(written(annotations=rows))
    with pytest.raises(IntegrityError, match="expected: class"):
        matlab.stanford_cars({}, cars)
