"""Hashes of files: right, one for each, and of the very bytes that were read."""

import hashlib
import os

import pytest

from robustft.errors import RobustftError
from robustft.files import read_hashed_json, sha256_file, sha256_files


@pytest.mark.parametrize("size", [0, 1, (1 << 18) - 1, 1 << 18, (1 << 20) + 7])
def test_a_file_of_any_size_has_the_hash_of_its_bytes(tmp_path, size):
    data = os.urandom(size)
    (tmp_path / "file").write_bytes(data)
    assert sha256_file(tmp_path / "file") == hashlib.sha256(data).hexdigest()


def test_many_files_have_their_own_hashes_and_a_missing_one_none(tmp_path):
    names = [str(tmp_path / f"{number}") for number in range(40)]
    for name in names:
        (tmp_path / name).write_text(name)
    hashes = {name: hashlib.sha256(name.encode()).hexdigest() for name in names}
    assert sha256_files([*names, names[0], "absent"]) == {**hashes, "absent": None}
    assert sha256_files([]) == {}


def test_the_hash_beside_a_json_value_is_that_of_the_bytes_that_it_was_read_from(tmp_path):
    path = tmp_path / "value.json"
    path.write_text('{"a": "\u00fc"}', encoding="utf-8")
    assert read_hashed_json(path) == ({"a": "\u00fc"}, sha256_file(path))


@pytest.mark.parametrize(("data", "text"), [(b"{", "cannot be read"), (b"\xff", "cannot be read"), (None, "missing")])
def test_a_json_file_that_cannot_be_read_is_named(tmp_path, data, text):
    path = tmp_path / "value.json"
    if data is not None:
        path.write_bytes(data)
    with pytest.raises(RobustftError, match=text) as error:
        read_hashed_json(path)
    assert str(path) in str(error.value)
