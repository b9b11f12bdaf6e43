from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from robustft.data.imagefile import centre, class_texts, load_split, save
from robustft.errors import IntegrityError

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


# -- pictures of their own sizes ---------------------------------------------------------------------------------------

PICTURES = [
    np.arange(1 * 4 * 6, dtype=np.uint8).reshape(1, 4, 6),
    np.arange(1 * 5 * 4, dtype=np.uint8).reshape(1, 5, 4) + 100,
    np.arange(1 * 4 * 4, dtype=np.uint8).reshape(1, 4, 4) + 200,
]


@pytest.fixture
def ragged(tmp_path):
    path = tmp_path / "ragged.safetensors"
    about = {"levels": 255, "shape": [1, 2, 4], "datasets": {"odd": {"classes": [3, 8]}}, "names": list("abcdefghi")}
    splits = {"odd/test": np.array([2, 0]), "odd/train": np.array([1])}
    save(path, images=iter(PICTURES), labels=np.array([3, 8, 8]), splits=splits, about=about, ragged=True)
    return path


def test_pictures_of_their_own_sizes_come_back_whole_and_as_their_middle(ragged):
    split = load_split(ragged, dataset="odd", split="test")
    assert np.array_equal(split.picture(0), PICTURES[2])
    assert np.array_equal(split.picture(1), PICTURES[0])
    # The middle 2 x 4 of 4 x 4 are rows 1 and 2; of 4 x 6 also columns 1 to 4.
    assert np.array_equal(split.take(np.array([0, 1])), np.stack([PICTURES[2][:, 1:3], PICTURES[0][:, 1:3, 1:5]]))
    assert split.labels.tolist() == [1, 0]
    assert split.image_bytes == 16
    assert load_split(ragged, dataset="odd", split="train").picture(0).tolist() == PICTURES[1].tolist()


def test_the_middle_is_rounded_as_torchvision_does():
    transforms = pytest.importorskip("torchvision.transforms.functional")
    torch = pytest.importorskip("torch")
    for height, width, want in ((7, 9, 4), (8, 9, 5), (5, 6, 5), (9, 7, 2)):
        picture = np.arange(height * width, dtype=np.uint8).reshape(1, height, width)
        expected = transforms.center_crop(torch.from_numpy(picture), [want, want]).numpy()
        assert np.array_equal(centre(picture, (1, want, want)), expected), (height, width, want)


def test_class_texts_come_from_the_sources_names_in_the_order_of_the_classes(ragged):
    split = load_split(ragged, dataset="odd", split="test")
    assert class_texts({"template": "a {}."}, split) == ["a d.", "a i."]
    assert class_texts(["x", "y"], split) == ["x", "y"]
    assert class_texts(None, split) is None


def test_a_template_without_names_is_an_integrity_error(path):
    with pytest.raises(IntegrityError, match="brings no class names"):
        class_texts({"template": "a {}"}, load_split(path, dataset="odd", split="test"))


def test_pixels_stay_in_the_file_until_they_are_taken(path):
    split = load_split(path, dataset="odd", split="test")
    assert split.pixels.shape == (6, 1, 2, 2)
    with path.open("r+b") as file:  # the last image, in the file that was opened before
        file.seek(-4, 2)
        file.write(bytes([9, 9, 9, 9]))
    assert load_split(path, dataset="one", split="test").images.ravel().tolist() == [9, 9, 9, 9]
    assert split.pixels[np.int64(5)].ravel().tolist() == [9, 9, 9, 9]


def test_rows_in_a_file_are_numpys_rows(path, ragged):
    pixels, flat = (load_split(p, dataset="odd", split="test").pixels for p in (path, ragged))
    for index in (np.array([3, 0, 3]), np.array([], dtype=np.int64), np.int64(5), slice(1, 4)):
        assert np.array_equal(pixels[index], IMAGES[index])
        assert pixels[index].dtype == np.uint8
        assert pixels[index].flags.writeable  # what torch takes over without a warning
    whole = np.concatenate([picture.ravel() for picture in PICTURES])
    assert np.array_equal(flat[slice(20, 30)], whole[20:30])


def test_a_data_file_that_was_cut_off_while_it_was_open_is_an_integrity_error(path):
    split = load_split(path, dataset="one", split="test")
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size - 1)
    with pytest.raises(IntegrityError, match="ends early"):
        split.take(np.array([0]))


def test_the_data_file_is_closed_with_the_last_split_that_reads_it(path):
    before = len(list(Path("/proc/self/fd").iterdir()))
    splits = [load_split(path, dataset="odd", split="test") for _ in range(4)]
    assert len(list(Path("/proc/self/fd").iterdir())) == before + 4
    del splits
    assert len(list(Path("/proc/self/fd").iterdir())) == before


@pytest.mark.parametrize("count", [2, 4])
def test_another_number_of_images_than_labels_is_refused_and_leaves_no_file(tmp_path, count):
    images = iter([np.zeros((1, 2, 2), np.uint8)] * count)
    with pytest.raises(IntegrityError):
        save(tmp_path / "f", images=images, labels=np.zeros(3, np.int64), splits={}, about=ABOUT)
    assert list(tmp_path.iterdir()) == []


def test_a_picture_of_another_size_is_refused_where_all_have_one(tmp_path):
    with pytest.raises(IntegrityError, match="image 2 does not fit"):
        save(tmp_path / "f", images=iter(PICTURES), labels=np.zeros(3, np.int64), splits={}, about=ABOUT)


def test_the_public_reader_of_the_format_reads_both_kinds(path, ragged):
    assert np.array_equal(load_file(path)["images"], IMAGES)
    flat = load_file(ragged)
    assert flat["sizes"].tolist() == [[1, 4, 6], [1, 5, 4], [1, 4, 4]]
    assert flat["images"].tolist() == [value for picture in PICTURES for value in picture.ravel().tolist()]
