"""Members as odd tools pack them: read as tar, gzip and unzip read them, or refused with the reason."""

from __future__ import annotations

import gzip
import io
import struct
import tarfile
import tracemalloc
import zipfile

import pytest

from robustft.data.formats.archives import read
from robustft.data.formats.members import is_archive, members, text_of
from robustft.errors import IntegrityError
from tests.data.samples import packed, tar, zipped

FORK = b"\x00\x05\x16\x07\x00\x02\x00\x00Mac OS X        " + bytes(96)


def names(data: bytes) -> list[str]:
    return [member.name for member in members(io.BytesIO(data), "toy")]


def test_the_companions_of_a_mac_are_no_members(tmp_path):
    """`._1.jpg` was taken for a picture that is damaged."""
    files = {"a/._1.jpg": FORK, "a/1.jpg": b"1", "__MACOSX/a/._1.jpg": FORK, "._a": FORK, "__MACOSX/x": b""}
    assert dict(read(tar(tmp_path / "t", files))) == dict(read(zipped(tmp_path / "z", files))) == {"a/1.jpg": b"1"}


def test_empty_parts_and_dots_are_no_part_of_a_name():
    assert names(packed({"././a//b": b"", "c/./d": b"", ".": b""})) == ["a/b", "c/d"]


def test_a_name_that_is_not_utf8_is_latin_1():
    """It became half a letter that no file could be written with, nor a message."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.GNU_FORMAT, encoding="latin-1") as archive:
        archive.addfile(tarfile.TarInfo("café/1.png"))
    assert names(stream.getvalue()) == ["café/1.png"]
    assert text_of(b"caf\xe9") == text_of("café".encode()) == text_of("\ufeffcafé".encode()) == "café"


@pytest.mark.parametrize("behind", [bytes(512), b"\r\nEND"])
def test_what_follows_a_gzip_stream_and_is_none_is_ignored_as_gzip_does(behind):
    data = packed({"a": b"1"})
    assert names(data + behind) == ["a"]
    wrong = bytearray(data)
    wrong[-6] ^= 1  # of the checksum
    with pytest.raises(gzip.BadGzipFile, match="CRC"):
        names(bytes(wrong) + behind)


def test_a_chain_of_headers_is_damage_and_no_recursion_error(tmp_path):
    header = tarfile.TarInfo("p")
    header.type, header.size = tarfile.XHDTYPE, 13
    chain = (header.tobuf() + b"13 mtime=1.0\n".ljust(512, b"\0")) * 2000
    path = tmp_path / "chain"
    path.write_bytes(chain + tarfile.TarInfo("a").tobuf() + bytes(1024))
    with pytest.raises(IntegrityError, match="cut off or damaged"):
        list(read(path))


def test_a_member_that_unpacks_to_more_than_it_says_is_not_unpacked(tmp_path):
    """A directory that says 10 bytes of a member of 200 MB took all of them."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a", bytes(200 << 20))
    data = bytearray(stream.getvalue())
    entry = data.rfind(b"PK\x01\x02")
    data[entry + 24 : entry + 28] = struct.pack("<I", 10)
    (tmp_path / "z").write_bytes(data)
    tracemalloc.start()
    with pytest.raises(IntegrityError, match="cut off or damaged"):
        list(read(tmp_path / "z"))
    assert tracemalloc.get_traced_memory()[1] < 20 << 20
    tracemalloc.stop()


def test_what_begins_as_an_archive():
    assert is_archive(io.BytesIO(packed({"a": b""})))
    assert is_archive(io.BytesIO(packed({"a": b""}, mode="w")))
    assert not is_archive(io.BytesIO(b"no archive"))
