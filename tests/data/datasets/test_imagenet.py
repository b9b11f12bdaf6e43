from __future__ import annotations

import io

import numpy as np
import pytest

from robustft.data.datasets import imagenet
from robustft.data.decoded import decoded
from robustft.errors import IntegrityError
from tests.data.samples import greys, lines, matlab, packed, picture, tar, zipped

KIT = "ILSVRC2012_devkit_t12/data"


@pytest.fixture
def files(tmp_path):
    kind = [("ILSVRC2012_ID", object), ("WNID", object), ("words", object), ("gloss", object), ("num_children", object)]
    # The devkit's numbers do not follow the ids; the last synset is no class but holds some.
    synsets = [
        (1, "n03", "crane", "lifts", 0),
        (2, "n01", "tench, Tinca tinca", "a fish", 0),
        (3, "n02", "T-shirt", "is worn", 0),
        (1001, "n00", "entity", "anything", 3),
    ]
    devkit = {
        f"{KIT}/meta.mat": matlab(synsets=np.array([[row] for row in synsets], dtype=kind)),
        f"{KIT}/ILSVRC2012_validation_ground_truth.txt": lines("3", "1", "2"),
    }
    train = {
        "n02.tar": packed({"n02_7.JPEG": picture(20), "n02_3.JPEG": picture(21)}, mode="w"),
        "n01.tar": packed({"n01_1.JPEG": picture(22)}, mode="w"),
        "n03.tar": packed({"n03_1.JPEG": picture(23)}, mode="w"),
    }
    validation = {f"ILSVRC2012_val_{n:08d}.JPEG": picture(n) for n in (2, 1, 3)}
    return {
        "devkit": tar(tmp_path / "devkit", devkit),
        "train": tar(tmp_path / "train", train, mode="w"),
        "validation": tar(tmp_path / "validation", validation, mode="w"),
    }


def test_labels_count_the_ids_and_not_the_numbers_of_the_devkit(files):
    source = imagenet.load({}, files)
    assert source.names == ["tench", "t shirt", "crane"]
    # n02 n02 n01 n03, then the validation pictures 2 (n03), 1 (n02), 3 (n01) as they lie in the archive.
    assert source.labels.tolist() == [1, 1, 0, 2, 2, 1, 0]
    assert greys(source.images) == [20, 21, 22, 23, 2, 1, 3]
    assert source.groups["train"].tolist() == [0, 1, 2, 3]
    assert source.groups["test"].tolist() == [4, 5, 6]


def test_the_validation_part_alone_has_the_same_labels(files):
    del files["train"]
    source = imagenet.load({"geometry": {"resize": 4, "crop": 3}}, files)
    assert source.labels.tolist() == [2, 1, 0]
    assert list(source.groups) == ["test"]
    assert {image.shape for image in decoded(source.images)} == {(3, 3, 3)}


def test_a_class_that_the_devkit_lacks_is_named(files, tmp_path):
    files["train"] = tar(tmp_path / "x", {"n09.tar": packed({"n09_1.JPEG": picture(1)}, mode="w")}, mode="w")
    with pytest.raises(IntegrityError, match="observed: n09"):
        imagenet.load({}, files)


def test_a_validation_picture_without_truth_or_the_other_way_round_is_an_error(files, tmp_path):
    few = {"ILSVRC2012_val_00000001.JPEG": picture(1)}
    files["validation"] = tar(tmp_path / "x", few, mode="w")
    with pytest.raises(IntegrityError, match="3 pictures, also ILSVRC2012_val_00000002"):
        imagenet.load({}, files)


def test_the_names_are_those_of_the_papers_map_with_its_three_ties():
    """The papers read names from a list of their own; the first words of WordNet are the same, with the same ties."""
    from importlib.resources import files as package

    folder = package("timm.data").joinpath("_info")
    ids = folder.joinpath("imagenet_synsets.txt").read_text(encoding="utf-8").split()
    rows = folder.joinpath("imagenet_synset_to_lemma.txt").read_text(encoding="utf-8").splitlines()
    words = dict(row.split("\t", 1) for row in rows)
    named = [imagenet.wording(words[id].split(",")[0]) for id in sorted(ids)]
    assert len(named) == 1000
    assert sorted({name for name in named if named.count(name) > 1}) == ["cardigan", "crane", "maillot"]
    assert len(set(named)) == 997


def arrays(**content) -> bytes:
    stream = io.BytesIO()
    np.savez(stream, **content)
    return stream.getvalue()


def batch(*labels: int) -> bytes:
    data = np.zeros((len(labels), 3072), dtype=np.uint8)
    data[:, 0], data[:, 1025] = labels, 7  # the first red pixel, and green in row 0, column 1
    return arrays(data=data, labels=np.array(labels), mean=np.zeros(3072))


def downsampled(tmp_path, files, **changes):
    train = {f"Imagenet32_train_npz/train_data_batch_{n}.npz": batch(*labels) for n, *labels in BATCHES}
    validation = {"val_data.npz": batch(3)}
    return {
        "devkit": files["devkit"],
        "train": zipped(tmp_path / "train", {**train, **changes}),
        "validation": zipped(tmp_path / "validation", validation),
    }


BATCHES = [(10, 3, 1), (1, 1, 2), (2, 2, 3)]


def test_downsampled_labels_count_the_ids_too_and_not_the_numbers_of_the_devkit(tmp_path, files):
    """Heads trained on ImageNet are in the order of the ids; number 1 is the kit fox, the 279th id."""
    source = imagenet.downsampled({}, downsampled(tmp_path, files))
    # Batch 10 is after batch 2. Of the devkit's numbers 1 is n03, 2 is n01 and 3 is n02.
    assert source.labels.tolist() == [2, 0, 0, 1, 1, 2, 1]
    assert source.groups["train"].tolist() == [0, 1, 2, 3, 4, 5]
    assert source.groups["test"].tolist() == [6]
    assert source.names is None
    images = list(source.images)
    assert {image.shape for image in images} == {(3, 32, 32)}
    assert [int(image[0, 0, 0]) for image in images] == [1, 2, 2, 3, 3, 1, 3]
    assert all(image[1, 0, 1] == 7 for image in images)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (arrays(data=np.zeros((1, 3072), dtype=np.uint8)), "expected: labels"),
        (arrays(labels=np.array([{}], dtype=object)), "cannot be read"),
        (b"no archive", "cannot be read"),
    ],
    ids=["no labels", "pickled", "text"],
)
def test_downsampled_batches_of_another_form_are_refused(tmp_path, files, content, message):
    changes = {"Imagenet32_train_npz/train_data_batch_2.npz": content}
    with pytest.raises(IntegrityError, match=message) as error:
        imagenet.downsampled({}, downsampled(tmp_path, files, **changes))
    assert "train_data_batch_2.npz" in str(error.value)


@pytest.mark.parametrize("number", [0, 4, 1001])
def test_a_label_that_is_no_class_of_the_devkit_is_refused(tmp_path, files, number):
    changes = {"Imagenet32_train_npz/train_data_batch_2.npz": arrays(labels=np.array([1, number]))}
    with pytest.raises(IntegrityError, match="a label is no number of the devkit"):
        imagenet.downsampled({}, downsampled(tmp_path, files, **changes))
