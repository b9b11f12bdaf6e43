"""Downloads against a server on this machine whose answers are scripted."""

import datetime
import errno
import hashlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from ipaddress import ip_address
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from robustft.data.fetch import step as module
from robustft.data.fetch import transfer
from robustft.data.fetch.step import MIRROR, OFFLINE, download, missing
from robustft.data.fetch.transfer import Meter, Patience
from robustft.data.fetch.web import chunks
from robustft.errors import ConfigError, RobustftError
from robustft.runtime.context import Context
from tests.data.fetch.server import Answer, Server

DAY = datetime.timedelta(days=1)
ROOT = Path(__file__).resolve().parents[3]
DATA = random.Random(0).randbytes(100_000)
OTHER = random.Random(1).randbytes(100_000)
PAGE = b"<!DOCTYPE html><html><head><title>Not found</title></head></html>"
PROCESS = """
import json, resource, sys
from pathlib import Path
from robustft.runtime.context import Context
from robustft.data.fetch.step import download
from robustft.errors import RobustftError

file, url, output, scratch, limit = json.loads(sys.argv[1])
if limit:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
context = Context(inputs={}, outputs={"file": Path(output)}, scratch=Path(scratch), settings={"urls": [url]})
try:
    download({"file": file}, context)
except RobustftError as error:
    sys.exit(str(error))
"""
HALF = Answer(data=DATA, etag='"a"', stop=50_000)
WHOLE = Answer(data=DATA, etag='"a"')


@pytest.fixture
def server():
    with Server() as running:
        yield running


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch):
    for name in (MIRROR, OFFLINE, "http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


def described(data=DATA, *, hashed=True, **more):
    hashes = {"md5": hashlib.md5(data).hexdigest(), "sha256": hashlib.sha256(data).hexdigest()}
    return {"key": "toy", "name": "toy.tar.gz", "bytes": len(data), **(hashes if hashed else {}), **more}


class Usage(NamedTuple):
    """What shutil.disk_usage tells, as far as it is asked."""

    free: int


class Bench:
    """One step's folders, what it said, and how long it wanted to wait."""

    def __init__(self, folder):
        self.output, self.scratch, self.said, self.waits = folder / "toy.download", folder / "scratch", [], []
        self.scratch.mkdir()
        self.facts = {}

    def fetch(self, *urls, file=None, manual=None, **patience):
        context = Context(
            inputs={},
            outputs={"file": self.output},
            scratch=self.scratch,
            settings={"urls": list(urls), "manual": manual},
            log=self.said.append,
        )
        settings = {"timeout_s": 5.0, "attempts": 3, "progress_bytes": 1000, "sleep": self.waits.append, **patience}
        download({"file": file or described()}, context, patience=Patience(**settings))
        self.facts = context.facts

    def fails(self, *urls, **options):
        with pytest.raises(RobustftError) as error:
            self.fetch(*urls, **options)
        assert not self.output.exists()
        return str(error.value)

    def process(self, url, *, limit=None):
        arguments = json.dumps([described(), url, str(self.output), str(self.scratch), limit])
        return subprocess.Popen([sys.executable, "-c", PROCESS, arguments], cwd=ROOT, stderr=subprocess.PIPE, text=True)

    @property
    def parts(self):
        return sorted(path.stat().st_size for path in self.scratch.glob("*.part"))


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)


# -- what goes well ---------------------------------------------------------------------------------------------------


def test_a_good_answer_is_stored_and_its_origin_and_hashes_are_facts(bench, server):
    url = server.script("/a", WHOLE)
    bench.fetch(url)
    assert bench.output.read_bytes() == DATA
    observed = {"bytes": 100_000, "md5": hashlib.md5(DATA).hexdigest(), "sha256": hashlib.sha256(DATA).hexdigest()}
    assert bench.facts == {"came_from": url, "place": url, "observed": observed}
    assert bench.parts == []
    assert bench.waits == []
    assert not any("published" in line for line in bench.said), "nothing is in doubt"
    umask = os.umask(0)
    os.umask(umask)
    assert bench.output.stat().st_mode & 0o777 == 0o666 & ~umask, "results are readable like any other file"


def test_an_empty_file_is_a_file(bench, server):
    bench.fetch(server.script("/a", Answer()), file=described(b""))
    assert bench.output.read_bytes() == b""


@pytest.mark.parametrize("status", [408, 429, 500, 503])
def test_a_server_in_trouble_is_asked_again_after_twice_the_wait(bench, server, status):
    trouble = Answer(status=status)
    bench.fetch(server.script("/a", trouble, trouble, WHOLE), first_wait_s=2.0)
    assert bench.output.read_bytes() == DATA
    assert bench.waits == [2.0, 4.0]
    assert f"HTTP {status}" in bench.said[0]
    assert "attempt 2 of 3 in 2 s" in bench.said[0]


def test_retry_after_is_obeyed_up_to_the_longest_wait(bench, server):
    asks = [Answer(status=503, headers={"Retry-After": seconds}) for seconds in ("7", "100000")]
    bench.fetch(server.script("/a", *asks, WHOLE), longest_wait_s=60.0)
    assert bench.waits == [7.0, 60.0]


def test_a_redirect_is_followed(bench, server):
    server.script("/there", WHOLE)
    url = server.script("/a", Answer(status=302, headers={"Location": "/there"}))
    bench.fetch(url)
    assert bench.output.read_bytes() == DATA
    assert bench.facts["came_from"] == url


@pytest.fixture
def certificate(tmp_path):
    """A certificate for 127.0.0.1 that nobody trusts, with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    made = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now, now + DAY)
    made = made.add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
    made = made.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    path, pem = tmp_path / "certificate.pem", serialization.Encoding.PEM
    secret = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path.write_bytes(secret + made.sign(key, hashes.SHA256()).public_bytes(pem))
    return path


def test_https_asks_for_a_trusted_certificate(bench, certificate, monkeypatch):
    with Server(certificate=certificate) as server:
        url = server.script("/a", WHOLE)
        assert "CERTIFICATE_VERIFY_FAILED" in bench.fails(url)
        assert bench.waits == [], "no use in asking again"
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        bench.fetch(url)
    assert bench.output.read_bytes() == DATA


def test_a_file_without_a_hash_is_taken_and_its_hash_is_said(bench, server):
    bench.fetch(server.script("/a", WHOLE), file=described(hashed=False))
    assert f"no hash of it was published; observed SHA-256 {hashlib.sha256(DATA).hexdigest()}" in bench.said


def test_a_prefix_of_a_sha256_is_a_hash(bench, server):
    url = server.script("/a", WHOLE)
    bench.fetch(url, file=described(hashed=False, sha256_prefix=hashlib.sha256(DATA).hexdigest()[:8]))
    assert any(line.startswith("only the first 8 digits of its SHA-256 were published; ") for line in bench.said)
    bench.output.unlink()
    assert "sha256_prefix: expected 00000000, observed" in bench.fails(
        url, file=described(hashed=False, sha256_prefix="00000000")
    )


# -- continuing -------------------------------------------------------------------------------------------------------


def test_a_broken_answer_is_continued_where_it_ended(bench, server):
    bench.fetch(server.script("/a", HALF, WHOLE))
    assert bench.output.read_bytes() == DATA
    assert server.sent["/a"] == [50_000, 50_000]
    assert [(asked.range, asked.if_range) for asked in server.asked] == [(None, None), ("bytes=50000-", '"a"')]
    assert "the connection ended after 50000 of 100000 bytes; attempt 2 of 3" in bench.said[0]


def test_a_content_length_that_is_too_long_is_noticed(bench, server):
    """The connection closes early without any error of its own; a length one too long looks like this too."""
    lies = Answer(data=DATA, etag='"a"', length=100_001)
    assert "ended after 100000 of 100001 bytes" in bench.fails(
        server.script("/a", lies), file=described(bytes=None), attempts=1
    )


def test_an_answer_in_chunks_that_ends_early_is_continued(bench, server):
    chunked = {"Transfer-Encoding": "chunked"}
    begun = Answer(data=b"186a0\r\n" + DATA[:50_000], etag='"a"', headers=chunked, length=-1)
    bench.fetch(server.script("/a", begun, WHOLE))
    assert bench.output.read_bytes() == DATA
    assert "the connection broke: IncompleteRead" in bench.said[0]
    assert server.asked[1].range == "bytes=50000-"


def test_the_length_that_only_a_continued_answer_tells_is_held_against_it(bench, server):
    """The first answer, in chunks, tells none; a second cut would else pass for the end of a file without a hash."""
    chunked = {"Transfer-Encoding": "chunked"}
    begun = Answer(data=b"186a0\r\n" + DATA[:30_000], etag='"a"', headers=chunked, length=-1)
    cut = Answer(data=DATA, etag='"a"', stop=20_000)
    bench.fetch(server.script("/a", begun, cut, WHOLE), file=described(bytes=None, sha256=None, md5=None))
    assert bench.output.read_bytes() == DATA
    assert "the connection ended after 50000 of 100000 bytes" in " ".join(bench.said)


def test_a_stalled_answer_is_noticed_and_continued(bench, server):
    bench.fetch(server.script("/a", Answer(data=DATA, etag='"a"', stall=50_000), WHOLE), timeout_s=0.6)
    assert bench.output.read_bytes() == DATA
    assert "the answer stalled: no byte for 0.6 s" in bench.said[0]
    assert server.sent["/a"][1:] == [50_000]


def test_an_answer_that_never_begins_is_noticed(bench):
    with socket.create_server(("127.0.0.1", 0)) as deaf:  # accepts connections and says nothing
        said = bench.fails(f"http://127.0.0.1:{deaf.getsockname()[1]}/a", timeout_s=0.1, attempts=2)
    assert "no answer for 0.1 s; given up after 2 attempts" in said


def test_nobody_listening_is_given_up_after_the_attempts(bench):
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    assert "no connection: " in bench.fails(f"http://127.0.0.1:{port}/a", first_wait_s=1.0)
    assert bench.waits == [1.0, 2.0]


def test_a_server_that_ignores_ranges_starts_over(bench, server):
    bench.fetch(server.script("/a", HALF, Answer(data=DATA, etag='"a"', ranges=False)))
    assert bench.output.read_bytes() == DATA
    assert server.sent["/a"] == [50_000, 100_000]
    assert any("sends it from the beginning" in line for line in bench.said)


@pytest.mark.parametrize("hashed", [True, False])
def test_a_file_that_changed_in_between_is_not_glued_together(bench, server, hashed):
    url = server.script("/a", Answer(data=OTHER, etag='"old"', stop=50_000), Answer(data=DATA, etag='"new"'))
    bench.fetch(url, file=described(hashed=hashed))
    assert bench.output.read_bytes() == DATA
    assert [asked.if_range for asked in server.asked] == [None, '"old"']


def test_a_changed_file_is_noticed_if_the_server_ignores_if_range(bench, server):
    changed = Answer(data=DATA, etag='"new"', if_range=False)
    bench.fetch(
        server.script("/a", Answer(data=OTHER, etag='"old"', stop=50_000), changed), file=described(hashed=False)
    )
    assert bench.output.read_bytes() == DATA
    assert any("continues another file than the one begun" in line for line in bench.said)


def test_a_partial_answer_from_another_position_is_not_appended(bench, server):
    wrong = Answer(data=DATA, etag='"a"', early=100)
    bench.fetch(server.script("/a", HALF, wrong, WHOLE), file=described(hashed=False))
    assert bench.output.read_bytes() == DATA
    assert any("continues another file than the one begun (bytes 49900-99999/100000)" in line for line in bench.said)


def test_another_size_means_another_file_where_the_server_has_no_validator(bench, server):
    url = server.script("/a", Answer(data=OTHER[:90_000], stop=50_000), Answer(data=DATA))
    bench.fetch(url, file=described(bytes=None))
    assert bench.output.read_bytes() == DATA
    assert any("continues another file than the one begun (bytes 50000-99999/100000)" in line for line in bench.said)


def test_a_file_that_became_shorter_starts_over(bench, server):
    short = DATA[:40_000]
    changed = Answer(data=short, etag='"new"', if_range=False)
    url = server.script("/a", Answer(data=OTHER, etag='"old"', stop=50_000), changed)
    bench.fetch(url, file=described(short, hashed=False, bytes=None))
    assert bench.output.read_bytes() == short
    assert any("shorter than what was received" in line for line in bench.said)


def test_the_date_of_the_last_change_stands_in_for_a_strong_etag(bench, server):
    headers = {"Last-Modified": "Tue, 01 Jan 2013 00:00:00 GMT", "ETag": 'W/"weak"'}
    bench.fetch(
        server.script("/a", Answer(data=DATA, headers=headers, stop=50_000), Answer(data=DATA, headers=headers))
    )
    assert server.asked[1].if_range == headers["Last-Modified"]
    assert server.sent["/a"] == [50_000, 50_000]


def test_without_validator_and_hash_nothing_is_continued(bench, server):
    url = server.script("/a", Answer(data=OTHER, stop=50_000), Answer(data=DATA))
    bench.fetch(url, file=described(hashed=False))
    assert bench.output.read_bytes() == DATA
    assert server.asked[1].range is None


def test_pieces_that_do_not_make_the_published_file_are_fetched_again_as_one(bench, server):
    """No validator, but a hash: continued in good faith, and found to be two files glued together."""
    bench.fetch(server.script("/a", Answer(data=OTHER, stop=50_000), Answer(data=DATA)))
    assert bench.output.read_bytes() == DATA
    assert [asked.range for asked in server.asked] == [None, "bytes=50000-", None]
    assert any("received in pieces" in line and "starting over" in line for line in bench.said)


def test_attempts_that_bring_bytes_are_not_counted(bench, server):
    pieces = [Answer(data=DATA, etag='"a"', stop=10_000)] * 9
    bench.fetch(server.script("/a", *pieces, WHOLE), attempts=2)
    assert server.sent["/a"] == [10_000] * 10


def test_a_server_that_always_breaks_at_the_same_place_is_given_up(bench, server):
    """Each attempt brings bytes, but never one that was not there before."""
    stuck = Answer(data=DATA, etag='"a"', stop=50_000, ranges=False)
    assert "given up after 3 attempts" in bench.fails(server.script("/a", stuck))
    assert len(server.asked) == 3, "the second and third brought nothing new"


def test_only_bytes_that_were_never_there_before_count_as_progress(bench, server):
    """Long and short answers in turn, always from the beginning: each long one has more than the short one before."""
    long, short = (Answer(data=DATA, stop=stop, ranges=False) for stop in (40_000, 10_000))
    assert "given up after 3 attempts" in bench.fails(server.script("/a", *[long, short] * 10))
    assert len(server.asked) == 3


def test_an_error_leaves_what_was_received_for_the_next_process(bench, server):
    url = server.script("/a", HALF, Answer(status=404))
    assert "HTTP 404" in bench.fails(url)
    assert bench.parts == [50_000]
    server.script("/a", WHOLE)
    bench.fetch(url)
    assert bench.output.read_bytes() == DATA
    assert server.sent["/a"][-1] == 50_000


def stopped(*_):
    raise KeyboardInterrupt


def test_a_complete_part_is_not_asked_for_again(bench, server, monkeypatch):
    """Stopped after the last byte and before the file had its name."""
    url = server.script("/a", WHOLE)
    with monkeypatch.context() as patch:
        patch.setattr(module, "_move", stopped)
        with pytest.raises(KeyboardInterrupt):
            bench.fetch(url)
    bench.fetch(url)
    assert bench.output.read_bytes() == DATA
    assert len(server.asked) == 1


def test_a_complete_part_of_unknown_size_is_recognised_by_the_answer_416(bench, server, monkeypatch):
    url = server.script("/a", Answer(data=DATA, etag='"a"', length=-1))
    file = described(bytes=None)
    with monkeypatch.context() as patch:
        patch.setattr(module, "_move", stopped)
        with pytest.raises(KeyboardInterrupt):
            bench.fetch(url, file=file)
    bench.fetch(url, file=file)
    assert bench.output.read_bytes() == DATA
    assert server.sent["/a"] == [100_000, 0]


def test_a_damaged_note_beside_a_part_means_starting_over(bench, server):
    url = server.script("/a", HALF, Answer(status=404))
    bench.fails(url)
    (note,) = bench.scratch.glob("*.about")
    note.write_bytes(note.read_bytes()[:-1])
    server.script("/a", WHOLE)
    bench.fetch(url)
    assert server.asked[-1].range is None


def test_a_download_killed_and_run_again_asks_only_for_the_rest(bench, server):
    url = server.script("/a", Answer(data=DATA, etag='"a"', stall=60_000), WHOLE)
    process = bench.process(url)
    deadline = time.monotonic() + 60
    while bench.parts != [60_000]:
        assert process.poll() is None
        assert time.monotonic() < deadline, "nothing was received"
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert not bench.output.exists()
    bench.fetch(url)
    assert bench.output.read_bytes() == DATA
    assert server.asked[-1].range == "bytes=60000-"
    assert server.sent["/a"][-1] == 40_000


# -- what is no file --------------------------------------------------------------------------------------------------


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
    said = bench.fails(*urls)
    expected, observed = hashlib.sha256(DATA).hexdigest(), hashlib.sha256(OTHER).hexdigest()
    assert f"{urls[0]}: it is not the published file (sha256: expected {expected}, observed {observed}; md5:" in said
    assert f"{urls[1]}: the server's file has 99999 bytes, the published one 100000" in said
    assert f"{urls[2]}: HTTP 404 Not Found" in said
    assert f"expected: bytes 100000, sha256 {expected}, md5 " in said
    assert "place it as FOLDER/toy.tar.gz and set ROBUSTFT_MIRROR=FOLDER" in said


def test_what_will_not_change_is_not_asked_twice(bench, server):
    bench.fails(server.script("/a", Answer(status=404)))
    assert len(server.asked) == 1
    assert bench.waits == []


@pytest.mark.parametrize("file", [described(), described(bytes=None), described(hashed=False, bytes=None)])
@pytest.mark.parametrize("kind", ["text/html; charset=utf-8", "application/gzip"])
def test_a_web_page_in_the_place_of_an_archive_is_named(bench, server, file, kind):
    page = Answer(data=b"\xef\xbb\xbf \n" + PAGE, headers={"Content-Type": kind})
    said = bench.fails(server.script("/a", page), file=file)
    assert "the server answered with a web page (HTML) in the place of the file" in said
    assert bench.parts == []


def test_a_file_that_is_only_called_a_page_is_taken(bench, server):
    bench.fetch(server.script("/a", Answer(data=DATA, headers={"Content-Type": "text/html"})))
    assert bench.output.read_bytes() == DATA


def test_the_beginning_of_an_answer_is_judged_in_one_piece_however_it_comes():
    """The first packet of Google Drive's page may end before its title."""
    pieces = [b"<!DOCTYPE", b" html><title>", b"Google Drive", b"</title>", b"rest"]
    answer = SimpleNamespace(read1=lambda _, left=[*pieces, b""]: left.pop(0))
    assert list(chunks(answer, first=40, timeout_s=1.0)) == [b"".join(pieces[:4]), b"rest"]
    answer = SimpleNamespace(read1=lambda _, left=[*pieces, b""]: left.pop(0))
    assert list(chunks(answer, first=4096, timeout_s=1.0)) == [b"".join(pieces)]


@pytest.mark.parametrize("title", ["Google Drive - Virus scan warning", "Google Drive - Quota exceeded"])
def test_google_drives_page_is_named(bench, server, title):
    page = PAGE.replace(b"Not found", title.encode())
    assert "Google Drive answered with a page" in bench.fails(server.script("/a", Answer(data=page)))


def test_a_redirect_loop_ends(bench, server):
    url = server.script("/a", Answer(status=302, headers={"Location": "/a"}))
    assert "infinite loop" in bench.fails(url)


@pytest.mark.parametrize("target", ["file:///etc/hostname", "ftp://127.0.0.1/a", "data:,text"])
def test_other_schemes_are_never_opened_nor_redirected_to(bench, server, target):
    scheme = target.split(":")[0]
    assert f"only http and https are fetched, not '{scheme}:'" in bench.fails(target)
    url = server.script("/a", Answer(status=302, headers={"Location": target}))
    assert ("unknown url type: ftp" if scheme == "ftp" else "HTTP 302") in bench.fails(url)
    assert len(server.asked) == 1


def test_more_bytes_than_were_published_are_not_stored(bench, server):
    endless = Answer(data=DATA + DATA, length=-1)
    assert "the server sends more than 100000 bytes" in bench.fails(server.script("/a", endless))
    assert bench.parts == []


# -- the disk ---------------------------------------------------------------------------------------------------------


def test_a_disk_with_too_little_room_is_told_before_the_first_byte(bench, server, monkeypatch):
    monkeypatch.setattr(transfer.shutil, "disk_usage", lambda _: Usage(99_999))
    said = bench.fails(server.script("/a", WHOLE), server.script("/b", WHOLE))
    assert "too little room" in said
    assert "0.1 MB free" in said
    assert bench.parts == []
    assert [asked.path for asked in server.asked] == ["/a"], "no other address has more room"


def test_room_is_only_asked_for_the_rest(bench, server, monkeypatch):
    url = server.script("/a", HALF, Answer(status=404))
    bench.fails(url)
    monkeypatch.setattr(transfer.shutil, "disk_usage", lambda _: Usage(50_000))
    server.script("/a", WHOLE)
    bench.fetch(url)
    assert bench.output.read_bytes() == DATA


def test_a_disk_that_fills_up_is_one_clear_message_and_keeps_what_was_received(bench, server):
    """A real process whose files may not grow past 30,000 bytes (RLIMIT_FSIZE): the write that crosses it fails."""
    url = server.script("/a", WHOLE)
    died = bench.process(url, limit=30_000)
    _, said = died.communicate()
    assert died.returncode == 1
    assert "the disk is full while downloading" in said
    assert "free some space" in said
    assert "Traceback" not in said
    assert bench.parts == [30_000]
    bench.fetch(url)
    assert server.sent["/a"][-1] == 70_000
    assert bench.output.read_bytes() == DATA


def test_results_on_another_disk_than_scratch(bench, server, monkeypatch):
    rename = Path.replace

    def elsewhere(self, target):
        if self.parent == bench.scratch and self.suffix == ".part" and Path(target) == bench.output:
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
        return rename(self, target)

    monkeypatch.setattr(Path, "replace", elsewhere)
    bench.fetch(server.script("/a", WHOLE))
    assert bench.output.read_bytes() == DATA


# -- mirrors, offline, by hand ----------------------------------------------------------------------------------------


def mirror(folder, monkeypatch, files):
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    monkeypatch.setenv(MIRROR, os.pathsep.join(sorted(str(folder / name.split("/")[0]) for name in files)))
    return folder


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


@pytest.mark.parametrize("wrong", [OTHER, DATA[:-1]])
def test_a_wrong_file_in_a_mirror_is_passed_over_and_named(bench, server, tmp_path, monkeypatch, wrong):
    mirror(tmp_path, monkeypatch, {"m1/toy.tar.gz": wrong, "m2/toy.tar.gz": DATA})
    bench.fetch(server.script("/a", WHOLE))
    assert bench.facts["place"] == str(tmp_path / "m2" / "toy.tar.gz")
    assert any(line.startswith(f"{tmp_path / 'm1'}/toy.tar.gz: it is not the published file (") for line in bench.said)


def test_a_file_of_another_size_is_not_even_copied_from_a_mirror(bench, tmp_path, monkeypatch):
    mirror(tmp_path, monkeypatch, {"m/toy.tar.gz": DATA[:-1]})
    monkeypatch.setattr(module, "_copy", stopped)
    assert "bytes: expected 100000, observed 99999" in bench.fails()


def test_a_folder_of_the_mirror_that_is_not_there_is_an_error_not_a_download(bench, server, tmp_path, monkeypatch):
    monkeypatch.setenv(MIRROR, str(tmp_path / "unmounted"))
    with pytest.raises(ConfigError, match="names a folder that is not there"):
        bench.fetch(server.script("/a", WHOLE))
    assert server.asked == []


def test_offline_takes_from_a_mirror_and_never_asks_the_network(bench, server, tmp_path, monkeypatch):
    monkeypatch.setenv(OFFLINE, "1")
    url = server.script("/a", WHOLE)
    said = bench.fails(url)
    assert "is in no mirror, and ROBUSTFT_OFFLINE forbids the network" in said
    assert "ROBUSTFT_MIRROR is not set" in said
    assert f"fetch it elsewhere from {url} and place it as FOLDER/toy.tar.gz" in said
    mirror(tmp_path, monkeypatch, {"m/other": b""})
    assert f"{tmp_path / 'm'}: there is no toy.tar.gz and no toy/toy.tar.gz" in bench.fails(url)
    mirror(tmp_path, monkeypatch, {"m/toy.tar.gz": DATA})
    bench.fetch(url)
    assert bench.output.read_bytes() == DATA
    assert server.asked == []


def test_a_file_to_be_placed_by_hand_says_what_to_register_for_and_where_it_goes(bench):
    said = bench.fails(manual="register at https://example.org and accept the terms.")
    assert "the file toy.tar.gz (toy) cannot be downloaded freely" in said
    assert f"bytes 100000, sha256 {hashlib.sha256(DATA).hexdigest()}, md5 {hashlib.md5(DATA).hexdigest()}" in said
    assert (
        "to do:    register at https://example.org and accept the terms; then place it as FOLDER/toy.tar.gz and set "
        "ROBUSTFT_MIRROR=FOLDER" in said
    )


def test_a_name_that_leads_elsewhere_is_refused(bench):
    with pytest.raises(ConfigError, match="more than a name"):
        bench.fetch(file=described(name="../toy.tar.gz"))


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


# -- telling how far it is --------------------------------------------------------------------------------------------


def test_the_meter_tells_bytes_speed_and_time_left_at_most_every_so_often():
    now, said = [100.0], []
    meter = Meter(said.append, "received", total=100_000_000, done=20_000_000, seconds=10.0, clock=lambda: now[0])
    now[0] = 109.9
    meter.update(39_000_000)
    assert said == []
    now[0] = 110.0
    meter.update(40_000_000)
    now[0] = 119.0
    meter.update(90_000_000)
    # 20 MB in 10 s: 2 MB/s, and 60 MB are left.
    assert said == ["received 40.0 of 100.0 MB, 2.00 MB/s, about 30 s left"]


def test_the_meter_without_a_known_size_tells_no_time_left():
    now, said = [0.0], []
    meter = Meter(said.append, "received", total=None, clock=lambda: now[0])
    now[0] = 10.0
    meter.update(5_000_000)
    assert said == ["received 5.0 MB, 0.50 MB/s"]


def test_waits_double_up_to_the_longest():
    patience = Patience(first_wait_s=2.0, longest_wait_s=10.0)
    assert [patience.wait_s(n, asked_s=0.0) for n in (1, 2, 3, 4)] == [2.0, 4.0, 8.0, 10.0]
    assert patience.wait_s(1, asked_s=5.0) == 5.0
