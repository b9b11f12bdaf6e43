import hashlib

import pytest

from robustft.data.fetch.published import Observed, checked, doubt, is_hashed
from tests.data.samples import tar

DATA = b"some bytes"
MD5, SHA256 = hashlib.md5(DATA).hexdigest(), hashlib.sha256(DATA).hexdigest()


@pytest.fixture
def observed(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(DATA)
    return Observed.of(path, log=lambda _: None)


def test_a_file_is_read_back_with_its_size_and_hashes(observed):
    assert observed == Observed(bytes=10, md5=MD5, sha256=SHA256)


@pytest.mark.parametrize(
    "file", [{}, {"bytes": 10, "md5": None}, {"sha256": SHA256.upper()}, {"md5": MD5}, {"sha256_prefix": SHA256[:8]}]
)
def test_what_was_published_and_agrees_is_no_problem(observed, file):
    assert observed.problem(file) is None


def test_each_difference_is_named(observed):
    problem = observed.problem({"bytes": 9, "sha256": SHA256, "md5": "0" * 32, "sha256_prefix": "ffff"})
    assert problem == (
        f"it is not the published file (bytes: expected 9, observed 10; md5: expected {'0' * 32}, observed {MD5}; "
        f"sha256_prefix: expected ffff, observed {SHA256})"
    )


@pytest.mark.parametrize(
    ("file", "hashed", "text"),
    [
        ({"md5": MD5}, True, None),
        ({"sha256": SHA256}, True, None),
        ({"sha256_prefix": SHA256[:8]}, True, "only the first 8 digits of its SHA-256 were published"),
        ({"bytes": 10, "md5": None}, False, "no hash of it was published"),
    ],
)
def test_how_little_was_published_is_said(file, hashed, text):
    assert is_hashed(file) is hashed
    assert doubt(file) == text


@pytest.mark.parametrize(
    ("inside", "fits"), [({"a/x": DATA}, True), ({"a/x": DATA + DATA}, False), ({"b": DATA}, False)]
)
def test_another_packing_of_the_published_files_is_as_good(tmp_path, inside, fits):
    file = {"md5": "0" * 32, "members": {"a/x": MD5}}
    observed, problem = checked(tar(tmp_path / "x.tar", inside, mode="w"), file, log=print)
    assert observed.bytes == (tmp_path / "x.tar").stat().st_size
    assert (problem is None) is fits


def test_what_is_no_archive_is_still_compared_with_the_archive(tmp_path):
    (tmp_path / "x").write_bytes(DATA)
    assert "md5: expected 0000" in checked(tmp_path / "x", {"md5": "0" * 32, "members": {"a/x": MD5}}, log=print)[1]
