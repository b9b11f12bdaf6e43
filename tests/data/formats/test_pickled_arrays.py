from __future__ import annotations

import os
import pickle

import numpy as np
import pytest

from robustft.data.formats.pickled_arrays import read_arrays
from robustft.errors import IntegrityError
from tests.data.samples import pickled_2


def test_arrays_numbers_and_texts_of_python_2_are_read():
    pixels = np.arange(6, dtype=np.uint8).reshape(2, 3)
    content = read_arrays(pickled_2({"data": pixels, "labels": [3, 8], "batch_label": "x 1"}), where="x")
    assert np.array_equal(content["data"], pixels)
    assert (content["labels"], content["batch_label"]) == ([3, 8], "x 1")


class Stranger:
    def __reduce__(self):
        return os.mkdir, ("made-by-a-pickle",)


CHANGES_A_FUNCTION = b"cnumpy\ndtype\n}S'a'\nI1\nsb."
OBJECTS = b"cnumpy\ndtype\n(S'O'\nI0\nI1\ntR."


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (pickle.dumps(Stranger(), protocol=2), "names (posix|nt).mkdir"),
        (pickle.dumps(np.float64(1.0), protocol=2), "names numpy"),
        (CHANGES_A_FUNCTION, "tries to change a function"),
        (OBJECTS, "holds no numbers"),
        (pickled_2({"data": 1})[:-3], "cannot be read safely"),
        (pickle.dumps([1], protocol=2), "holds no dictionary"),
        (b"", "cannot be read safely"),
    ],
)
def test_nothing_else_is_read_and_no_code_is_run(tmp_path, monkeypatch, data, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(IntegrityError, match=message):
        read_arrays(data, where="x")
    assert list(tmp_path.iterdir()) == []
