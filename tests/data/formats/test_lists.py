from __future__ import annotations

import pytest

from robustft.data.formats import lists
from robustft.errors import IntegrityError
from tests.data.samples import greys, lines, picture, tar


def test_dtd_has_the_groups_of_its_partition(tmp_path):
    files = {
        "dtd/images/banded/banded_0001.jpg": picture(1),
        "dtd/images/polka-dotted/polka-dotted_0002.jpg": picture(2),
        "dtd/images/polka-dotted/polka-dotted_0003.jpg": picture(3),
        "dtd/labels/train2.txt": lines("polka-dotted/polka-dotted_0003.jpg"),
        "dtd/labels/val2.txt": lines("banded/banded_0001.jpg"),
        "dtd/labels/test2.txt": lines("polka-dotted/polka-dotted_0002.jpg"),
    }
    path = tar(tmp_path / "x", files)
    source = lists.dtd({"parameters": {"partition": 2}}, {"archive": path})
    assert source.labels.tolist() == [0, 1, 1]
    assert source.names == ["banded", "polka dotted"]
    groups = {group: places.tolist() for group, places in source.groups.items()}
    assert groups == {"train": [2], "validation": [0], "test": [1]}
    assert greys(source.images) == [1, 2, 3]
    with pytest.raises(IntegrityError, match=r"dtd/labels/test1\.txt and 2 more"):
        lists.dtd({"parameters": {"partition": 1}}, {"archive": path})


def test_food101_takes_the_test_list(tmp_path):
    files = {
        "food-101/images/waffles/7.jpg": picture(1),
        "food-101/images/apple_pie/8.jpg": picture(2),
        "food-101/images/apple_pie/9.jpg": picture(3),
        "food-101/meta/classes.txt": lines("apple_pie", "waffles"),
        "food-101/meta/test.txt": lines("apple_pie/9", "waffles/7"),
    }
    source = lists.food101({}, {"archive": tar(tmp_path / "x", files)})
    assert source.labels.tolist() == [1, 0]
    assert greys(source.images) == [1, 3]
    assert source.names == ["apple pie", "waffles"]


def test_sun397_takes_all_pictures_and_leaves_the_letter_out_of_the_names(tmp_path):
    files = {
        "SUN397/ClassName.txt": lines("/a/abbey", "/a/apse/indoor", "/b/bow_window/outdoor"),
        "SUN397/README.txt": b"",
        "SUN397/a/apse/indoor/sun_x.jpg": picture(1),
        "SUN397/a/abbey/sun_y.jpg": picture(2),
        "SUN397/b/bow_window/outdoor/sun_z.jpg": picture(3),
    }
    source = lists.sun397({}, {"archive": tar(tmp_path / "x", files)})
    assert source.labels.tolist() == [1, 0, 2]
    assert source.names == ["abbey", "apse indoor", "bow window outdoor"]
    files["SUN397/c/cave/sun_q.jpg"] = picture(4)
    with pytest.raises(IntegrityError, match="observed: /c/cave"):
        lists.sun397({}, {"archive": tar(tmp_path / "y", files)})


def test_fgvc_aircraft_reads_variants_with_blanks_in_their_names(tmp_path):
    root = "fgvc-aircraft-2013b/data"
    files = {
        f"{root}/images/0000001.jpg": picture(1),
        f"{root}/images/0000002.jpg": picture(2),
        f"{root}/images/0000003.jpg": picture(3),
        f"{root}/variants.txt": lines("707-320", "BAE 146-200", "F/A-18"),
        f"{root}/images_variant_test.txt": lines("0000003 707-320", "0000001 BAE 146-200"),
    }
    source = lists.fgvc_aircraft({}, {"archive": tar(tmp_path / "x", files)})
    assert source.labels.tolist() == [1, 0]
    assert greys(source.images) == [1, 3]
    assert source.names == ["boeing 707-320", "bae 146-200", "f/a-18"]


def test_oxford_pets_number_breeds_from_one(tmp_path):
    images = {"images/Abyssinian_201.jpg": picture(1), "images/great_pyrenees_3.jpg": picture(2), "images/x.mat": b""}
    annotations = {"annotations/test.txt": lines("Abyssinian_201 1 1 1", "great_pyrenees_3 2 2 1")}
    files = {"images": tar(tmp_path / "i", images), "annotations": tar(tmp_path / "a", annotations)}
    source = lists.oxford_pets({}, files)
    assert source.labels.tolist() == [0, 1]
    assert source.names == ["abyssinian", "great pyrenees"]
    assert greys(source.images) == [1, 2]
    files["annotations"] = tar(tmp_path / "b", {"annotations/test.txt": lines("Abyssinian_201 2 1 1")})
    with pytest.raises(IntegrityError, match="without gaps"):
        lists.oxford_pets({}, files)


@pytest.fixture
def cub():
    return {
        "CUB_200_2011/images/002.Laysan_Albatross/B.jpg": picture(1),
        "CUB_200_2011/images/001.Black_footed_Albatross/A.jpg": picture(2),
        "CUB_200_2011/images/001.Black_footed_Albatross/C.jpg": picture(3),
        "CUB_200_2011/images.txt": lines(
            "1 001.Black_footed_Albatross/A.jpg", "2 001.Black_footed_Albatross/C.jpg", "3 002.Laysan_Albatross/B.jpg"
        ),
        "CUB_200_2011/image_class_labels.txt": lines("1 1", "2 1", "3 2"),
        "CUB_200_2011/train_test_split.txt": lines("1 1", "2 0", "3 1"),
        "CUB_200_2011/classes.txt": lines("1 001.Black_footed_Albatross", "2 002.Laysan_Albatross"),
    }


def test_cub200_joins_its_lists_by_number(tmp_path, cub):
    source = lists.cub200({}, {"archive": tar(tmp_path / "x", cub)})
    assert source.labels.tolist() == [1, 0, 0]
    assert greys(source.images) == [1, 2, 3]
    assert {group: places.tolist() for group, places in source.groups.items()} == {"train": [0, 1], "test": [2]}
    assert source.names == ["black footed albatross", "laysan albatross"]


def test_cub200_refuses_lists_of_other_pictures(tmp_path, cub):
    cub["CUB_200_2011/train_test_split.txt"] = lines("1 1", "2 0")
    with pytest.raises(IntegrityError, match="do not number the same pictures"):
        lists.cub200({}, {"archive": tar(tmp_path / "x", cub)})
