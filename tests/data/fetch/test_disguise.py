from __future__ import annotations

import io
import zipfile

import pytest

from robustft.data.fetch.disguise import HEAD_BYTES, disguised, is_text, stranger

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 346293852\n"
STRANGERS = {
    POINTER: "a pointer of Git LFS",
    b" <!DOCTYPE HTML><html>": "a web page",
    b"<html><title>Google Drive - Quota exceeded": "a page of Google Drive",
    b'<?xml version="1.0"?><Error><Code>SlowDown': "an XML message in the place of the file: <?xml",
    b'{"error": "Rate limit"}': 'a JSON message in the place of the file: {"error": "Rate limit"}',
    b"Too many requests": "a text in the place of the file: Too many requests",
    b"\xef\xbb\xbf[1, 2]": "a JSON message",
    b"": "an empty file",
}


@pytest.mark.parametrize("head", STRANGERS)
def test_what_is_no_file_of_weights_is_told_apart(head):
    assert stranger(head, text=False).startswith(STRANGERS[head])


@pytest.mark.parametrize(
    "head", [b"PK\x03\x04", b"\x80\x02}", b"\x1f\x8b\x08\x00", bytes(9) + b"{", b"\x93NUMPY\x01\x00"]
)
def test_a_binary_file_is_no_stranger(head):
    assert stranger(head + bytes(HEAD_BYTES), text=False) is None
    assert stranger(head, text=False, page=True) is None


def test_a_text_may_be_a_text_but_no_page_and_no_pointer():
    assert stranger(b"apple_pie\n", text=True) is None
    assert stranger(b"<html>", text=True) is not None
    assert stranger(POINTER, text=True) is not None
    assert is_text("classes.TXT")
    assert not is_text("weights.npz")


def test_a_zip_archive_without_its_end_is_a_part(tmp_path):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("a", bytes(1000))
    (tmp_path / "x").write_bytes(stream.getvalue())
    assert disguised(tmp_path / "x", text=False) is None
    (tmp_path / "x").write_bytes(stream.getvalue()[:-30])
    assert disguised(tmp_path / "x", text=False) == "it is a zip archive without its end: a part of the file"
    (tmp_path / "x").write_bytes(POINTER)
    assert disguised(tmp_path / "x", text=False).startswith("it is a pointer of Git LFS in the place of the file")
