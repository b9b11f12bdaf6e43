from __future__ import annotations

import numpy as np
import pytest

from robustft.data.decoded import decoded
from robustft.data.formats import folders
from robustft.errors import IntegrityError
from tests.data.samples import greys, lines, packed, picture, tar, zipped


def load(path, **parameters):
    return folders.load({"parameters": parameters}, {"archive": path})


@pytest.fixture
def imagenette(tmp_path):
    return tar(
        tmp_path / "x",
        {
            "imagenette/val/n02/b.JPEG": picture(1),
            "imagenette/train/n02/z.JPEG": picture(2),
            "imagenette/train/n01/y.JPEG": picture(3),
            "imagenette/train/n01/.DS_Store": b"",
            "imagenette/val/n01/a.JPEG": picture(4),
            "imagenette/train/n01/x.JPEG": picture(5),
        },
    )


PARTS = {"train": "imagenette/train", "test": "imagenette/val"}


def test_labels_count_the_folders_and_images_keep_the_order_of_the_archive(imagenette):
    content = load(imagenette, parts=PARTS)
    assert content.labels.tolist() == [1, 1, 0, 0, 0]
    assert content.labels.dtype == np.int64
    assert greys(content.images) == [1, 2, 3, 4, 5]
    assert {group: places.tolist() for group, places in content.groups.items()} == {"train": [1, 2, 4], "test": [0, 3]}
    assert content.names == ["n01", "n02"]


def test_the_geometry_of_the_source_is_used(imagenette):
    source = {"parameters": {"parts": PARTS}, "geometry": {"resize": [4, 5]}}
    images = list(decoded(folders.load(source, {"archive": imagenette}).images))
    assert {image.shape for image in images} == {(3, 4, 5)}
    assert greys(images) == [1, 2, 3, 4, 5]


def test_a_part_that_is_not_there_is_named(imagenette):
    with pytest.raises(IntegrityError, match="no pictures in folders of 'imagenette2/train'") as error:
        load(imagenette, parts={"train": "imagenette2/train"})
    assert "6 files, the first imagenette/val/n02/b.JPEG" in str(error.value)


def test_parts_with_other_classes_are_refused(tmp_path):
    path = tar(tmp_path / "x", {"a/cat/1.jpg": picture(1), "a/dog/1.jpg": picture(1), "b/cat/1.jpg": picture(1)})
    with pytest.raises(IntegrityError, match="classes of 'test' differ") as error:
        load(path, parts={"train": "a", "test": "b"})
    assert "1; not in both: dog" in str(error.value)


def test_caltech256_takes_the_first_of_each_class_by_name(tmp_path):
    # As in the publisher's archive: numbered folders, a stray file, and pictures in no order.
    names = [
        "001.ak47/001_0003",
        "001.ak47/001_0001",
        "001.ak47/001_0002",
        "002.crab-101/002_0002",
        "002.crab-101/002_0001",
    ]
    files = {f"256_ObjectCategories/{name}.jpg": picture(place) for place, name in enumerate(names)}
    files["256_ObjectCategories/002.crab-101/RENAME2"] = b"#"
    content = load(
        tar(tmp_path / "x", files, mode="w"), parts={"all": "256_ObjectCategories"}, cut=4, drop="-101", first=2
    )
    assert content.names == ["ak47", "crab"]
    assert content.labels.tolist() == [0, 0, 0, 1, 1]
    assert content.groups["all"].tolist() == [0, 1, 2, 3, 4]
    assert content.groups["first"].tolist() == [1, 2, 3, 4]
    assert content.groups["rest"].tolist() == [0]


def test_caltech101_is_an_archive_inside_an_archive_without_its_background(tmp_path):
    inner = packed(
        {
            "101_ObjectCategories/BACKGROUND_Google/image_0001.jpg": picture(1),
            "101_ObjectCategories/wild_cat/image_0001.jpg": picture(2),
            "101_ObjectCategories/Faces_easy/image_0001.jpg": picture(3),
        }
    )
    path = zipped(
        tmp_path / "x",
        {
            "caltech-101/101_ObjectCategories.tar.gz": inner,
            "caltech-101/Annotations.tar": packed({"Annotations/a.mat": b""}, mode="w"),
            "caltech-101/show_annotation.m": b"",
        },
    )
    folder = "caltech-101/101_ObjectCategories.tar.gz/101_ObjectCategories"
    content = load(path, nested=True, parts={"all": folder}, without=["BACKGROUND_Google"])
    assert content.names == ["faces easy", "wild cat"]  # capital letters come first, as in the papers' loaders
    assert content.labels.tolist() == [1, 0]
    assert greys(content.images) == [2, 3]


@pytest.fixture
def tiny(tmp_path):
    files = {
        "tiny-imagenet-200/wnids.txt": lines("n02", "n01"),
        "tiny-imagenet-200/words.txt": lines("n01\tgoldfish, Carassius auratus", "n02\tT-shirt", "n03\tentity"),
        "tiny-imagenet-200/val/images/val_0.JPEG": picture(10),
        "tiny-imagenet-200/val/images/val_1.JPEG": picture(11),
        "tiny-imagenet-200/val/val_annotations.txt": lines(
            "val_0.JPEG\tn02\t0\t0\t1\t1", "val_1.JPEG\tn01\t0\t0\t1\t1"
        ),
        "tiny-imagenet-200/train/n01/n01_boxes.txt": b"",
        "tiny-imagenet-200/train/n01/images/n01_0.JPEG": picture(12),
        "tiny-imagenet-200/train/n02/images/n02_0.JPEG": picture(13),
        "tiny-imagenet-200/test/images/test_0.JPEG": picture(14),
    }
    return lambda **changes: {"archive": zipped(tmp_path / "x", {**files, **changes})}


def test_tiny_imagenet_sorts_its_validation_part_by_the_list(tiny):
    content = folders.tiny_imagenet({}, tiny())
    assert content.labels.tolist() == [1, 0, 0, 1]
    assert greys(content.images) == [10, 11, 12, 13]
    assert content.names == ["goldfish", "t shirt"]
    assert {group: places.tolist() for group, places in content.groups.items()} == {"train": [2, 3], "test": [0, 1]}


def test_tiny_imagenet_names_a_missing_list_and_a_class_that_is_not_listed(tiny):
    with pytest.raises(IntegrityError, match=r"tiny-imagenet-200/words\.txt"):
        folders.tiny_imagenet({}, {"archive": _without(tiny(), "words.txt")})
    with pytest.raises(IntegrityError, match="observed: n09"):
        folders.tiny_imagenet({}, tiny(**{"tiny-imagenet-200/train/n09/images/n09_0.JPEG": picture(1)}))


def _without(files, name):
    import zipfile

    with zipfile.ZipFile(files["archive"]) as archive:
        kept = {entry: archive.read(entry) for entry in archive.namelist() if not entry.endswith(name)}
    return zipped(files["archive"].with_name("y"), kept)
