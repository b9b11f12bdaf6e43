import numpy as np
import pytest

from robustft.data.own.arrays import collection_of, read_npz
from robustft.errors import IntegrityError, RobustftError

IMAGES, LABELS = np.arange(3 * 4 * 4 * 3, dtype=np.uint8).reshape(3, 4, 4, 3), np.array([0, 1, 1])


def test_images_and_labels_are_found_and_laid_out_channels_first(tmp_path):
    path = tmp_path / "mine.npz"
    np.savez(path, x_test=IMAGES, y_test=LABELS[:, None])
    found = read_npz(path)
    assert found.read(1).tolist() == np.moveaxis(IMAGES[1], 2, 0).tolist()
    assert found.labels.tolist() == [0, 1, 1]
    assert found.size_of(0) == (4, 4)
    assert list(found.files) == ["mine.npz"]
    assert len(found.files["mine.npz"]) == 64


def test_grey_images_get_a_channel_and_floats_stay():
    found = collection_of(np.full((3, 8, 8), 0.25), LABELS, place="here", classes=["a", "b"])
    assert found.read(0).shape == (1, 8, 8)
    assert found.read(0).dtype == np.float32
    assert found.count == 2


@pytest.mark.parametrize(
    ("images", "labels", "said"),
    [
        (IMAGES.astype(np.float64), LABELS, "lie in"),
        (IMAGES / 255 - 0.5, LABELS, "undo the normalisation"),
        (np.full((3, 4, 4), np.nan), LABELS, "lie in"),
        (IMAGES[0], LABELS[:1], "whole numbers"),
        (IMAGES.reshape(3, -1), LABELS, "another form"),
        (IMAGES, LABELS[:2], "do not fit"),
        (IMAGES, LABELS - 1, "from -1"),
        (IMAGES, np.eye(3), "do not fit"),
        (IMAGES, LABELS + 0.5, "whole numbers"),
    ],
)
def test_arrays_of_another_form_or_range_are_refused(images, labels, said):
    with pytest.raises(RobustftError, match=said):
        collection_of(images, labels, place="here")


def test_arrays_are_not_resized():
    assert collection_of(IMAGES, LABELS, place="here").read(0, side=4).shape == (3, 4, 4)
    with pytest.raises(RobustftError, match="not resized"):
        collection_of(IMAGES, LABELS, place="here").read(0, side=8)


def test_a_file_of_something_else_is_refused(tmp_path):
    path = tmp_path / "bad.npz"
    path.write_bytes(b"PK\x03\x04 no archive")
    with pytest.raises(IntegrityError, match="cannot be read"):
        read_npz(path)
    np.savez(path, weights=IMAGES)
    with pytest.raises(RobustftError, match="has no images"):
        read_npz(path)
    np.savez(path, images=np.array([object()], dtype=object), labels=LABELS)
    with pytest.raises(IntegrityError, match="cannot be read"):
        read_npz(path)
