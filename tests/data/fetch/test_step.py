import errno
import hashlib
import os
import subprocess
import sys

import pytest

from robustft.data.fetch import step
from robustft.data.fetch.step import OFFLINE
from robustft.errors import ConfigError
from robustft.files import ROOT
from tests.data.fetch.bench import DATA, OTHER, WHOLE, described, mirror, stopped
from tests.data.fetch.server import Answer


def test_a_good_answer_is_stored_and_its_origin_and_hashes_are_facts(bench, server):
    url = server.script("/a", WHOLE)
    bench.fetch(url)
    assert bench.output.read_bytes() == DATA
    observed = {"bytes": 100_000, "md5": hashlib.md5(DATA).hexdigest(), "sha256": hashlib.sha256(DATA).hexdigest()}
    assert bench.facts == {"came_from": url, "place": url, "observed": observed}
    assert bench.parts == []
    assert bench.waits == []
    assert not any("published" in line for line in bench.lines), "nothing is in doubt"
    umask = os.umask(0)
    os.umask(umask)
    assert bench.output.stat().st_mode & 0o777 == 0o666 & ~umask, "results are readable like any other file"


def test_an_empty_file_is_a_file(bench, server):
    bench.fetch(server.script("/a", Answer()), file=described(b""))
    assert bench.output.read_bytes() == b""


def test_a_file_without_a_hash_is_taken_and_its_hash_is_said(bench, server):
    bench.fetch(server.script("/a", WHOLE), file=described(hashed=False))
    assert f"no hash of it was published; observed SHA-256 {hashlib.sha256(DATA).hexdigest()}" in bench.lines


def test_a_prefix_of_a_sha256_is_a_hash(bench, server):
    url = server.script("/a", WHOLE)
    bench.fetch(url, file=described(hashed=False, sha256_prefix=hashlib.sha256(DATA).hexdigest()[:8]))
    assert any(line.startswith("only the first 8 digits of its SHA-256 were published; ") for line in bench.lines)
    bench.output.unlink()
    assert "sha256_prefix: expected 00000000, observed" in bench.fails(
        url, file=described(hashed=False, sha256_prefix="00000000")
    )


def test_pieces_that_do_not_make_the_published_file_are_fetched_again_as_one(bench, server):
    """No validator, but a hash: continued in good faith, and found to be two files glued together."""
    bench.fetch(server.script("/a", Answer(data=OTHER, stop=50_000), Answer(data=DATA)))
    assert bench.output.read_bytes() == DATA
    assert [asked.range for asked in server.asked] == [None, "bytes=50000-", None]
    assert any("received in pieces" in line and "starting over" in line for line in bench.lines)


def test_wrong_bytes_are_removed_and_the_next_address_is_tried(bench, server):
    wrong, right = server.script("/wrong", Answer(data=OTHER)), server.script("/right", WHOLE)
    bench.fetch(wrong, right)
    assert bench.output.read_bytes() == DATA
    assert bench.facts["came_from"] == right
    assert bench.parts == []
    assert len(server.sent["/wrong"]) == 1, "it came in one answer: no use in asking again"


def test_at_the_end_each_address_is_named_with_what_was_wrong(bench, server):
    urls = [
        server.script("/other", Answer(data=OTHER)),
        server.script("/short", Answer(data=DATA[:-1])),
        server.script("/gone", Answer(status=404)),
    ]
    message = bench.fails(*urls)
    expected, observed = hashlib.sha256(DATA).hexdigest(), hashlib.sha256(OTHER).hexdigest()
    assert f"{urls[0]}: it is not the published file (sha256: expected {expected}, observed {observed}; md5:" in message
    assert f"{urls[1]}: the server's file has 99999 bytes, the published one 100000" in message
    assert f"{urls[2]}: HTTP 404 Not Found" in message
    assert f"expected: bytes 100000, sha256 {expected}, md5 " in message
    assert "place it as FOLDER/toy.tar.gz and set ROBUSTFT_MIRROR=FOLDER" in message


def test_results_on_another_disk_than_scratch(bench, server, monkeypatch):
    def elsewhere(*_):
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))

    monkeypatch.setattr(os, "rename", elsewhere)
    bench.fetch(server.script("/a", WHOLE))
    assert bench.output.read_bytes() == DATA
    assert bench.parts == []


def test_offline_takes_from_a_mirror_and_never_asks_the_network(bench, server, tmp_path, monkeypatch):
    monkeypatch.setenv(OFFLINE, "1")
    url = server.script("/a", WHOLE)
    message = bench.fails(url)
    assert "is in no mirror, and ROBUSTFT_OFFLINE forbids the network" in message
    assert "ROBUSTFT_MIRROR is not set" in message
    assert f"fetch it elsewhere from {url} and place it as FOLDER/toy.tar.gz" in message
    mirror(tmp_path, monkeypatch, {"m/other": b""})
    assert f"{tmp_path / 'm'}: there is no toy.tar.gz and no toy/toy.tar.gz" in bench.fails(url)
    mirror(tmp_path, monkeypatch, {"m/toy.tar.gz": DATA})
    bench.fetch(url)
    assert bench.output.read_bytes() == DATA
    assert server.asked == []


def test_a_process_stopped_before_the_file_has_its_name_asks_for_nothing_again(bench, server, monkeypatch):
    url = server.script("/a", WHOLE)
    with monkeypatch.context() as patch:
        patch.setattr(step, "_move", stopped)
        with pytest.raises(KeyboardInterrupt):
            bench.fetch(url)
    bench.fetch(url)
    assert bench.output.read_bytes() == DATA
    assert len(server.asked) == 1


def test_a_file_to_be_placed_by_hand_says_what_to_register_for_and_where_it_goes(bench):
    message = bench.fails(manual="register at https://example.org and accept the terms.")
    assert "the file toy.tar.gz (toy) cannot be downloaded freely" in message
    assert f"bytes 100000, sha256 {hashlib.sha256(DATA).hexdigest()}, md5 {hashlib.md5(DATA).hexdigest()}" in message
    assert (
        "to do:    register at https://example.org and accept the terms; then place it as FOLDER/toy.tar.gz and set "
        "ROBUSTFT_MIRROR=FOLDER" in message
    )


def test_a_name_that_leads_elsewhere_is_refused(bench):
    with pytest.raises(ConfigError, match="must not hold a folder"):
        bench.fetch(file=described(name="../toy.tar.gz"))


def test_only_the_download_step_imports_requests():
    """Planning, the audit and `robustft files` import the modules beside it."""
    modules = "robustft.data.fetch.mirror, robustft.data.fetch.published, robustft.plan, robustft.provenance.audit"
    code = f"import sys, {modules}; sys.exit('requests' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


@pytest.mark.parametrize(
    "bad", [b"version https://git-lfs.github.com/spec/v1\n", b"<html></html>", b"PK\x03\x04 cut off", b""]
)
def test_a_bad_file_of_a_mirror_that_no_hash_can_tell_is_refused_until_the_mirror_is_mended(
    bench, tmp_path, monkeypatch, bad
):
    """It was taken, and its reader failed again and again after the mirror was mended."""
    file = described(hashed=False, bytes=None, name="weights.npz")
    mirror(tmp_path, monkeypatch, {"m/weights.npz": bad})
    assert f"{tmp_path / 'm' / 'weights.npz'}: it is " in bench.fails(file=file)
    mirror(tmp_path, monkeypatch, {"m/weights.npz": DATA})
    bench.fetch(file=file)
    assert bench.output.read_bytes() == DATA
