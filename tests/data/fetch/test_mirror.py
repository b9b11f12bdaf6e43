import errno
import hashlib
import os

import pytest

from robustft.data.fetch import mirror as module
from robustft.data.fetch.mirror import MIRROR, missing
from robustft.data.fetch.published import checked
from robustft.data.formats.archives import read
from robustft.errors import ConfigError
from tests.data.fetch.bench import DATA, OTHER, WHOLE, described, mirror, stopped


@pytest.mark.parametrize("place", ["m/toy.tar.gz", "m/toy/toy.tar.gz"])
def test_a_mirror_is_looked_in_first(bench, server, tmp_path, monkeypatch, place):
    mirror(tmp_path, monkeypatch, {place: DATA})
    bench.fetch(server.script("/a", WHOLE))
    assert bench.output.read_bytes() == DATA
    assert (bench.facts["came_from"], bench.facts["place"]) == ("mirror", str(tmp_path / place))
    assert server.asked == []


def test_the_mirrors_file_is_copied_so_that_nothing_done_to_the_result_is_done_to_it(bench, tmp_path, monkeypatch):
    mirror(tmp_path, monkeypatch, {"m/toy.tar.gz": DATA})
    theirs = tmp_path / "m" / "toy.tar.gz"
    theirs.chmod(0o444)
    before = theirs.stat()
    bench.fetch()
    os.utime(bench.output, (0, 0))
    bench.output.write_bytes(b"edited")
    after = theirs.stat()
    assert theirs.read_bytes() == DATA
    assert (after.st_mode, after.st_mtime_ns, after.st_nlink) == (before.st_mode, before.st_mtime_ns, 1)


@pytest.mark.parametrize("error", [errno.EXDEV, errno.ENOSYS, errno.EINVAL])
def test_a_mirror_from_which_the_kernel_cannot_copy(bench, tmp_path, monkeypatch, error):
    def cannot(*_):
        raise OSError(error, os.strerror(error))

    monkeypatch.setattr(module.os, "copy_file_range", cannot)
    mirror(tmp_path, monkeypatch, {"m/toy.tar.gz": DATA})
    bench.fetch()
    assert bench.output.read_bytes() == DATA


def test_a_full_disk_while_copying_from_a_mirror_is_one_clear_message(bench, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(module.os, "copy_file_range", full)
    mirror(tmp_path, monkeypatch, {"m/toy.tar.gz": DATA})
    assert "the disk is full" in bench.fails()


def test_a_folder_whose_name_no_record_can_hold_is_an_error(bench, tmp_path, monkeypatch):
    folder = tmp_path / os.fsdecode(b"donn\xe9es")
    folder.mkdir()
    monkeypatch.setenv(MIRROR, str(folder))
    with pytest.raises(ConfigError, match="not UTF-8"):
        bench.fetch()


@pytest.mark.parametrize("wrong", [OTHER, DATA[:-1]])
def test_a_wrong_file_in_a_mirror_is_passed_over_and_named(bench, server, tmp_path, monkeypatch, wrong):
    mirror(tmp_path, monkeypatch, {"m1/toy.tar.gz": wrong, "m2/toy.tar.gz": DATA})
    bench.fetch(server.script("/a", WHOLE))
    assert bench.facts["place"] == str(tmp_path / "m2" / "toy.tar.gz")
    assert any(line.startswith(f"{tmp_path / 'm1'}/toy.tar.gz: it is not the published file (") for line in bench.lines)


def test_a_file_of_another_size_is_not_even_copied_from_a_mirror(bench, tmp_path, monkeypatch):
    mirror(tmp_path, monkeypatch, {"m/toy.tar.gz": DATA[:-1]})
    monkeypatch.setattr(module, "copy", stopped)
    assert "bytes: expected 100000, observed 99999" in bench.fails()


def test_a_folder_of_the_mirror_that_is_not_there_is_an_error_not_a_download(bench, server, tmp_path, monkeypatch):
    monkeypatch.setenv(MIRROR, str(tmp_path / "unmounted"))
    with pytest.raises(ConfigError, match="names a folder that does not exist"):
        bench.fetch(server.script("/a", WHOLE))
    assert server.asked == []


def test_what_is_missing_is_listed_with_size_and_way(tmp_path, monkeypatch):
    mirror(tmp_path, monkeypatch, {"m/here.zip": b"", "m/sized.zip": b"12", "m/images.zip": b"of another data set"})
    files = {
        "sized": {"name": "sized.zip", "bytes": 2},
        "images": {"name": "images.zip", "bytes": 3, "urls": ["https://example.org/images.zip"]},
        "here": {"name": "here.zip", "urls": ["https://example.org/here.zip"]},
        "done": {"name": "done.zip", "urls": ["https://example.org/done.zip"]},
        "free": {"name": "free.zip", "bytes": 1_500_000, "urls": ["https://example.org/1", "https://example.org/2"]},
        "closed": {"name": "closed.tar", "manual": "register at example.org"},
    }
    assert missing(files, lambda key: key == "done") == [
        "images: images.zip (0.0 MB), from https://example.org/images.zip",
        "free: free.zip (1.5 MB), from https://example.org/1",
        "closed: closed.tar (size unknown), by hand: register at example.org",
    ]


INNER = {"toy-py/meta": b"names", "toy-py/batch": DATA}
ARCHIVE = described(members={name: hashlib.md5(data).hexdigest() for name, data in INNER.items()})
"""A published archive, with the published hashes of the files in it."""


@pytest.mark.parametrize("place", ["m/", "m/toy/"])
@pytest.mark.parametrize("inside", [False, True], ids=["above", "the folder itself"])
def test_an_archive_may_lie_unpacked_in_a_mirror(bench, tmp_path, monkeypatch, place, inside):
    mirror(tmp_path, monkeypatch, {place + name: data for name, data in INNER.items()})
    if inside:
        monkeypatch.setenv(MIRROR, str(tmp_path / place / "toy-py"))
    assert missing({"toy": ARCHIVE}, lambda _: False) == []
    bench.fetch(file=ARCHIVE)
    assert dict(read(bench.output)) == INNER
    assert bench.facts["place"] == str(tmp_path / place.rstrip("/"))
    assert checked(bench.output, ARCHIVE, log=print)[1] is None
    before = bench.output.read_bytes()
    os.utime(tmp_path / place / "toy-py" / "meta", (0, 0))
    bench.fetch(file=ARCHIVE)
    assert bench.output.read_bytes() == before, "the bytes follow from those of the files alone"


def test_an_unpacked_file_of_other_bytes_is_named_and_refused(bench, tmp_path, monkeypatch):
    mirror(tmp_path, monkeypatch, {"m/toy-py/meta": b"names", "m/toy-py/batch": OTHER})
    message = bench.fails(file=ARCHIVE)
    assert (
        f"toy-py/batch: expected {hashlib.md5(DATA).hexdigest()}, observed {hashlib.md5(OTHER).hexdigest()}" in message
    )


def test_an_unpacked_archive_that_lacks_a_file_is_no_archive(bench, tmp_path, monkeypatch):
    mirror(tmp_path, monkeypatch, {"m/toy-py/meta": b"names"})
    assert "and no toy-py with its files" in bench.fails(file=ARCHIVE)
    assert len(missing({"toy": ARCHIVE}, lambda _: False)) == 1
