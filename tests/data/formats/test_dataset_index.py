import pytest

from robustft.data.decoded import decoded
from robustft.data.formats.dataset_index import (
    Classes,
    DatasetIndex,
    FlatArchive,
    NestedArchive,
    pictures,
    positions,
    wording,
)
from robustft.errors import IntegrityError
from tests.data.samples import greys, packed, picture, tar


def test_pictures_keep_the_order_of_the_archive_and_groups_are_places_in_it(tmp_path):
    path = tar(tmp_path / "x", {"b": picture(1), "c": picture(2), "a": picture(3)})
    index = DatasetIndex({"a": 7, "b": 8}, names=["one"], groups={"test": ["a"]})
    content = pictures(FlatArchive(path), index, {"geometry": {"resize": [4, 5]}})
    assert content.labels.tolist() == [8, 7]
    assert content.groups["test"].tolist() == [1]
    assert content.names == ["one"]
    images = list(decoded(content.images))
    assert greys(images) == [1, 3]
    assert {image.shape for image in images} == {(3, 4, 5)}


def test_a_nested_archive_puts_the_inner_archives_name_in_front(tmp_path):
    path = tar(
        tmp_path / "x", {"n02.tar": packed({"a": picture(1)}), "readme": b"", "n01.tar": packed({"a": picture(2)})}
    )
    archive = NestedArchive(path)
    assert archive.names == ["n02.tar/a", "n01.tar/a"]
    assert greys(pictures(archive, DatasetIndex({"n01.tar/a": 0}), {}).images) == [2]


def test_a_picture_that_the_archive_lacks_is_named_and_so_is_an_empty_index(tmp_path):
    archive = FlatArchive(tar(tmp_path / "x", {"a": picture(1)}))
    with pytest.raises(IntegrityError, match="lacks pictures that its lists name") as error:
        pictures(archive, DatasetIndex({"a": 0, "b": 1}), {})
    assert "2 pictures, also b" in str(error.value)
    with pytest.raises(IntegrityError, match="no picture is listed"):
        pictures(archive, DatasetIndex({}), {})


def test_a_broken_picture_is_named_when_its_turn_comes(tmp_path):
    path = tar(tmp_path / "x", {"1.jpg": picture(9), "2.jpg": b"broken"})
    images = decoded(pictures(FlatArchive(path), DatasetIndex({"1.jpg": 0, "2.jpg": 0}), {}).images)
    assert greys([next(images)]) == [9]
    with pytest.raises(IntegrityError, match=r"x: 2\.jpg"):
        next(images)


def test_members_come_in_the_order_asked_for_and_rows_without_empty_lines(tmp_path):
    archive = FlatArchive(tar(tmp_path / "x", {"a": b" one \r\n\n two\n", "b": b"three"}))
    assert archive.contents("b", "a") == [b"three", b" one \r\n\n two\n"]
    assert archive.rows("b", "a") == [["three"], ["one", "two"]]
    with pytest.raises(IntegrityError, match="expected: c"):
        archive.contents("c")


def test_a_list_with_a_byte_order_mark_or_in_latin_1_is_read(tmp_path):
    """A mark became part of the first class, and Latin-1 was a UnicodeDecodeError."""
    archive = FlatArchive(tar(tmp_path / "x", {"a": "\ufeffcafé\r\n".encode(), "b": "café\n".encode("latin-1")}))
    assert archive.rows("a", "b") == [["café"], ["café"]]


def test_a_malformed_row_is_told_with_its_list_and_number(tmp_path):
    """A row without all of its columns, or with a word for a number, was a ValueError."""
    archive = FlatArchive(
        tar(tmp_path / "x", {"l": b"a 1 the rest\nb 2 of it\n", "short": b"a 1 x\n\nb\n", "word": b"a b c"})
    )
    assert archive.table("l", str, int, str) == [("a", 1, "the rest"), ("b", 2, "of it")]
    for name, row in (("short", 2), ("word", 1)):
        with pytest.raises(IntegrityError, match=rf"x: {name}, row {row}\n  expected: a text, a whole number, a text"):
            archive.table(name, str, int, str)


def test_classes_count_from_zero_and_name_the_one_they_lack():
    label = Classes(["b", "a"], where="x.tar")
    assert (label["b"], label["a"]) == (0, 1)
    with pytest.raises(IntegrityError, match="observed: c"):
        label["c"]


def test_small_helpers():
    assert positions(["c", "a", "b"], {"b", "c"}).tolist() == [0, 2]
    assert wording("Golden_Retriever-x/y ") == "golden retriever x y"
    assert wording("F/A-18_x", blanks="_") == "f/a-18 x"
