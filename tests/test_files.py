"""Hashes of files: right, one for each, and of the very bytes that were read."""

import hashlib
import os

import pytest

from robustft.errors import RobustftError
from robustft.files import read_hashed_json, sha256_file, sha256_files, unreadable


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


def no_file(path, kind):
    """Put something there that is no file that a step could have written."""
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "loop":
        path.symlink_to(path.name)
    elif kind == "folder":
        path.mkdir()
    else:
        path.touch()
        os.truncate(path, 1 << 40)


@pytest.mark.parametrize("kind", ["fifo", "device", "loop", "folder", "holes"])
def test_what_could_be_read_for_ever_is_refused_at_once(kind, tmp_path):
    path = tmp_path / "value.json"
    no_file(path, kind)
    assert sha256_files([str(path)]) == {str(path): None}
    assert unreadable(path)
    with pytest.raises((RobustftError, OSError)):
        read_hashed_json(path)


def test_a_name_that_no_file_can_have_is_a_missing_file():
    assert sha256_files(["a\0b", "a" * 5000]) == {"a\0b": None, "a" * 5000: None}


@pytest.mark.parametrize(
    "text",
    ["[" * 100_000, '{"a":' * 100_000, '{"a": NaN}', '{"a": 1, "a": 2}', "9" * 10_000],
    ids=["deep list", "deep mapping", "NaN", "a key twice", "a number of 10,000 digits"],
)
def test_json_that_readers_would_differ_about_or_die_of_is_refused(text, tmp_path):
    (tmp_path / "value.json").write_text(text)
    with pytest.raises(RobustftError, match="cannot be read"):
        read_hashed_json(tmp_path / "value.json")
