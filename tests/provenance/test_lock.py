"""One process at a time holds a lock; a second one is told which."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from robustft.errors import BusyError
from robustft.provenance import lock
from robustft.provenance.lock import SCRATCH, held


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_a_lock_is_held_by_one_and_gone_afterwards():
    with held("a", what="first"), held("b", what="other"):
        with (
            pytest.raises(BusyError, match="second is being run by another process") as error,
            held("a", what="second"),
        ):
            pass
        assert f"process {os.getpid()} on {socket.gethostname()}, since 20" in str(error.value)
        assert "to do:    wait until it has ended" in str(error.value)
        assert len(list(Path(SCRATCH).iterdir())) == 2
    assert list(Path(SCRATCH).iterdir()) == []
    with held("a", what="first again"):
        pass


def test_a_lock_is_dropped_by_an_error_and_by_the_death_of_its_process():
    with pytest.raises(ZeroDivisionError), held("a", what="first"):
        raise ZeroDivisionError
    code = "import os\nfrom robustft.provenance.lock import held\nwith held('a', what='first'):\n    os._exit(9)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 9
    assert len(list(Path(SCRATCH).iterdir())) == 1
    with held("a", what="second"):
        pass


def test_a_lock_holds_without_its_text_on_a_full_disk(monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(lock.Path, "write_text", full)
    with held("a", what="first"):
        with pytest.raises(BusyError, match="a process that has only just begun"), held("a", what="second"):
            pass
        next(Path(SCRATCH).iterdir()).write_bytes(b"\xff")
        with pytest.raises(BusyError, match="a process that is just ending"), held("a", what="second"):
            pass
