from __future__ import annotations

import errno
import threading

import pytest

from robustft.errors import ConfigError, IntegrityError, RobustftError
from robustft.runtime.sandbox import decoding as module
from robustft.runtime.sandbox.decoding import decoding, keep_marks, marks, reason


@pytest.fixture
def kept(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_marker", None)
    keep_marks(tmp_path / "marks")
    return tmp_path / "marks"


@pytest.mark.parametrize("error", [ValueError, IndexError, UnboundLocalError, RecursionError, SyntaxError, OSError])
def test_any_error_of_a_decoder_becomes_one_that_names_the_file(error):
    with (
        pytest.raises(
            IntegrityError, match=r"a picture cannot be decoded\n  where:    a: b\n  observed: .*: odd\n  to do"
        ),
        decoding("a picture cannot be decoded", where="a: b", next_step="get it again"),
    ):
        raise error("odd\nand more")


def test_errors_of_ours_pass_and_so_does_a_full_disk():
    with pytest.raises(ConfigError, match="ours"), decoding("x", where="y"):
        raise ConfigError("ours")
    with pytest.raises(RobustftError, match="the disk is full while decoding"), decoding("x", where="y"):
        raise OSError(errno.ENOSPC, "No space left")
    with pytest.raises(IntegrityError, match="more than its output"), decoding("x", where="y"):
        raise OSError(errno.EFBIG, "File too large")


def test_what_every_thread_decodes_is_written_down_while_it_does(kept):
    inside, leave = threading.Event(), threading.Event()

    def work():
        with decoding("x", where="archive: second"):
            inside.set()
            leave.wait()

    thread = threading.Thread(target=work)
    with decoding("x", where="archive"):
        assert marks(kept) == ["archive"]
        with decoding("x", where="archive: first"):
            thread.start()
            inside.wait()
            assert sorted(marks(kept)) == ["archive: first", "archive: second"]
        assert marks(kept) == ["archive: second"]  # an archive is not named beside its member
        leave.set()
        thread.join()
    assert marks(kept) == []


def test_a_reason_is_one_line():
    assert reason(ValueError("a\nb")) == "ValueError: a"
    assert reason(MemoryError()) == "it needs more memory than there is for it"
