"""Bad input gives one clear message (what, where, expected against observed, what to do) and a non-zero exit."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from robustft import files
from robustft.errors import RobustftError

ROOT = Path(__file__).resolve().parents[2]


def test_a_missing_input_names_the_file_and_the_way_to_make_it(tmp_path):
    said = subprocess.run(
        [sys.executable, "-m", "robustft", "train", "pretraining/digits_at"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT / "pipeline")},
        capture_output=True,
        text=True,
    )
    assert said.returncode == 2
    assert "a file is missing" in said.stderr
    assert "results/data/digits.safetensors" in said.stderr
    assert "run snakemake" in said.stderr


def test_a_full_disk_while_writing_keeps_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "result.json"
    files.write_text(path, "old")

    def full(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(RobustftError, match=r"the disk is full while writing result\.json") as error:
        files.write_text(path, "new")
    assert "free some space" in str(error.value)
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["result.json"], "no part is left behind"


def test_a_killed_writer_leaves_the_old_file(tmp_path):
    path = tmp_path / "result"
    files.write_text(path, "old")
    code = (
        "import os, sys\nfrom robustft.files import atomic_path\n"
        f"with atomic_path({str(path)!r}) as part:\n    part.write_text('new')\n    os.kill(os.getpid(), 9)\n"
    )
    died = subprocess.run([sys.executable, "-c", code], cwd=ROOT)
    assert died.returncode == -9
    assert path.read_text() == "old"


def test_a_reader_that_has_seen_enough_is_no_error():
    """`robustft explain ... | head` once ended in a traceback."""
    line = f"{sys.executable} -m robustft plan --scale smoke --details | head -1"
    said = subprocess.run(
        ["bash", "-o", "pipefail", "-c", line], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert said.returncode == 0
    assert said.stderr == ""
    assert said.stdout.startswith("scale smoke")
