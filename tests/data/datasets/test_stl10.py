import numpy as np
import pytest

from robustft.data.datasets import stl10
from robustft.errors import IntegrityError
from tests.data.samples import lines, tar


def test_stl10_goes_by_columns_and_labels_from_one(tmp_path):
    image = np.zeros((3, 96, 96), dtype=np.uint8)
    image[1, 0, 5] = 77  # row 0, column 5 of the green plane
    columns = image.transpose(0, 2, 1).tobytes()
    files = {
        "stl10_binary/class_names.txt": lines("airplane", "bird"),
        "stl10_binary/test_X.bin": bytes(len(columns)) + columns,
        "stl10_binary/test_y.bin": bytes([10, 2]),
        "stl10_binary/train_X.bin": b"",
    }
    source = stl10.load({}, {"archive": tar(tmp_path / "x", files)})
    assert source.labels.tolist() == [9, 1]
    assert source.names == ["airplane", "bird"]
    images = list(source.images)
    np.testing.assert_array_equal(images[1], image)
    assert not images[0].any()
    files["stl10_binary/test_y.bin"] = bytes([1])
    with pytest.raises(IntegrityError, match="not as many as its labels"):
        stl10.load({}, {"archive": tar(tmp_path / "y", files)})
