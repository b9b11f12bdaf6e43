import signal
import time

import pytest

from robustft.data.fetch import mirror, step
from robustft.data.fetch.transfer import Patience
from tests.data.fetch.bench import DATA, HALF, OTHER, WHOLE, Usage, described, stopped
from tests.data.fetch.server import Answer


def test_a_broken_answer_is_continued_where_it_ended(bench, server):
    bench.fetch(server.script("/a", HALF, WHOLE))
    assert bench.output.read_bytes() == DATA
    assert server.sent["/a"] == [50_000, 50_000]
    assert [(asked.range, asked.if_range) for asked in server.asked] == [(None, None), ("bytes=50000-", '"a"')]
    assert "the connection broke (IncompleteRead), 50000 bytes are here; attempt 2 of 3" in bench.lines[0]


def test_a_content_length_that_is_too_long_is_noticed(bench, server):
    lies = Answer(data=DATA, etag='"a"', length=100_001)
    assert "the connection broke (IncompleteRead); given up" in bench.fails(
        server.script("/a", lies), file=described(bytes=None), attempts=1
    )


def test_an_answer_in_chunks_that_ends_early_is_continued(bench, server):
    chunked = {"Transfer-Encoding": "chunked"}
    begun = Answer(data=b"186a0\r\n" + DATA[:50_000], etag='"a"', headers=chunked, length=-1)
    bench.fetch(server.script("/a", begun, WHOLE))
    assert bench.output.read_bytes() == DATA
    assert "the connection broke (IncompleteRead)" in bench.lines[0]
    assert server.asked[1].range == "bytes=50000-"


def test_the_length_that_only_a_continued_answer_tells_is_held_against_it(bench, server):
    """The first answer, in chunks, tells none; a second cut would else pass for the end of a file without a hash."""
    chunked = {"Transfer-Encoding": "chunked"}
    begun = Answer(data=b"186a0\r\n" + DATA[:30_000], etag='"a"', headers=chunked, length=-1)
    cut = Answer(data=DATA, etag='"a"', stop=20_000)
    bench.fetch(server.script("/a", begun, cut, WHOLE), file=described(bytes=None, sha256=None, md5=None))
    assert bench.output.read_bytes() == DATA
    assert "50000 bytes are here" in bench.log


def test_a_stalled_answer_is_noticed_and_continued(bench, server):
    bench.fetch(server.script("/a", Answer(data=DATA, etag='"a"', stall=50_000), WHOLE), timeout_s=0.6)
    assert bench.output.read_bytes() == DATA
    assert "the answer stalled: no byte for 0.6 s" in bench.lines[0]
    assert server.sent["/a"][1:] == [50_000]


def test_a_server_that_ignores_ranges_starts_over(bench, server):
    bench.fetch(server.script("/a", HALF, Answer(data=DATA, etag='"a"', ranges=False)))
    assert bench.output.read_bytes() == DATA
    assert server.sent["/a"] == [50_000, 100_000]
    assert "sends it from the beginning" in bench.log


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
    assert "file is not the one begun" in bench.log


def test_a_partial_answer_from_another_position_is_not_appended(bench, server):
    wrong = Answer(data=DATA, etag='"a"', early=100)
    bench.fetch(server.script("/a", HALF, wrong, WHOLE), file=described(hashed=False))
    assert bench.output.read_bytes() == DATA
    assert "file is not the one begun (bytes49900-99999/100000)" in bench.log


def test_a_file_that_became_shorter_starts_over(bench, server):
    short = DATA[:40_000]
    changed = Answer(data=short, etag='"new"', if_range=False)
    url = server.script("/a", Answer(data=OTHER, etag='"old"', stop=50_000), changed)
    bench.fetch(url, file=described(short, hashed=False, bytes=None))
    assert bench.output.read_bytes() == short
    assert "is not the one begun (bytes*/40000)" in bench.log


def test_without_validator_and_hash_nothing_is_continued(bench, server):
    url = server.script("/a", Answer(data=OTHER, stop=50_000), Answer(data=DATA))
    bench.fetch(url, file=described(hashed=False))
    assert bench.output.read_bytes() == DATA
    assert server.asked[1].range is None


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


def test_a_complete_part_of_unknown_size_is_recognised_by_the_answer_416(bench, server, monkeypatch):
    url = server.script("/a", Answer(data=DATA, etag='"a"', length=-1))
    file = described(bytes=None)
    with monkeypatch.context() as patch:
        patch.setattr(step, "_move", stopped)
        with pytest.raises(KeyboardInterrupt):
            bench.fetch(url, file=file)
    bench.fetch(url, file=file)
    assert bench.output.read_bytes() == DATA
    assert server.sent["/a"] == [100_000, 0]


def test_a_damaged_note_is_no_validator(bench, server):
    url, file = server.script("/a", HALF, Answer(status=404)), described(hashed=False)
    bench.fails(url, file=file)
    (note,) = bench.scratch.glob("*.about")
    note.write_bytes(note.read_bytes()[:-1])
    server.script("/a", WHOLE)
    bench.fetch(url, file=file)
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


def test_more_bytes_than_were_published_are_not_stored(bench, server):
    endless = Answer(data=DATA + DATA, length=-1)
    assert "the server sends more than 100000 bytes" in bench.fails(server.script("/a", endless))
    assert bench.parts == []


def test_a_disk_with_too_little_room_is_told_before_the_first_byte(bench, server, monkeypatch):
    monkeypatch.setattr(mirror.shutil, "disk_usage", lambda _: Usage(99_999))
    message = bench.fails(server.script("/a", WHOLE), server.script("/b", WHOLE))
    assert "too little room" in message
    assert "0.1 MB free" in message
    assert bench.parts == []
    assert [asked.path for asked in server.asked] == ["/a"], "no other address has more room"


def test_room_is_only_asked_for_the_rest(bench, server, monkeypatch):
    url = server.script("/a", HALF, Answer(status=404))
    bench.fails(url)
    monkeypatch.setattr(mirror.shutil, "disk_usage", lambda _: Usage(50_000))
    server.script("/a", WHOLE)
    bench.fetch(url)
    assert bench.output.read_bytes() == DATA


def test_a_disk_that_fills_up_is_one_clear_message_and_keeps_what_was_received(bench, server):
    """A real process whose files may not grow past 30,000 bytes (RLIMIT_FSIZE): the write that crosses it fails."""
    url = server.script("/a", WHOLE)
    died = bench.process(url, limit=30_000)
    _, message = died.communicate()
    assert died.returncode == 1
    assert "a file would be larger than is allowed here while downloading" in message
    assert "ulimit" in message
    assert "Traceback" not in message
    assert bench.parts == [30_000]
    bench.fetch(url)
    assert server.sent["/a"][-1] == 70_000
    assert bench.output.read_bytes() == DATA


def test_waits_double_up_to_the_longest():
    patience = Patience(first_wait_s=2.0, longest_wait_s=10.0)
    assert [patience.wait_s(n, asked_s=0.0) for n in (1, 2, 3, 4)] == [2.0, 4.0, 8.0, 10.0]
    assert patience.wait_s(1, asked_s=5.0) == 5.0


def test_a_file_without_a_hash_or_a_size_has_a_bound(bench, server):
    """Such an answer filled the disk."""
    url, file = server.script("/a", WHOLE), described(hashed=False, bytes=None)
    assert "the server's file has 100000 bytes, more than 99999" in bench.fails(url, file=file, most_bytes=99_999)
    endless = server.script("/b", Answer(data=DATA, length=-1))
    assert "the server sends more than 99999 bytes" in bench.fails(endless, file=file, most_bytes=99_999)
    assert bench.parts == []
    bench.fetch(url, file=described(bytes=None), most_bytes=99_999)  # a hash bounds it


def test_all_attempts_together_have_a_deadline(bench, server):
    """Each attempt brought something, so that the count of attempts began again."""
    now = iter(range(0, 10_000, 100))
    url = server.script("/a", Answer(data=DATA, etag='"a"', stop=10_000), HALF)
    message = bench.fails(url, deadline_s=250.0, clock=lambda: next(now), timeout_s=5.0, slowest=0.0)
    assert "it is not there after 250 s; what was received is kept" in message


def test_a_file_that_no_hash_can_tell_is_taken_in_no_other_coding(bench, server):
    packed = Answer(data=DATA, headers={"Content-Encoding": "gzip"})
    url, file = server.script("/a", packed), described(hashed=False, bytes=None)
    assert "in another coding (gzip)" in bench.fails(url, file={**file, "name": "weights.npz"})
    bench.fetch(url, file=file)  # toy.tar.gz: what is stored is called so by some servers
