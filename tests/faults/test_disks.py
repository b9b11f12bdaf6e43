"""A disk that is full, files that may not grow, folders that cannot be written: one message, and nothing is lost."""

import contextlib
import errno
import os
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from robustft.errors import RobustftError
from robustft.files import atomic_path, storage_error

ROOT = Path(__file__).resolve().parents[2]
RUN = "twins/main/digits_5to9/at/seed0"
STEPS = {
    "decoding": (("data", "digits"), "results/data/digits.safetensors"),
    "training": (("train", RUN), f"results/smoke/{RUN}/checkpoint.safetensors"),
}


def without(folder: Path, path: str) -> None:
    """Remove what a step made."""
    for name in (path, str(Path(path).with_name(f"{Path(path).name.split('.')[0]}.record.json"))):
        (folder / name).unlink()


@pytest.mark.parametrize("kind", STEPS)
def test_a_file_that_may_not_grow_is_one_message_and_loses_nothing(small_run, copied, run_step, faults, kind):
    """As on a full disk the write fails in its midst, here by the limit that a shell or a scheduler may set."""
    folder, (arguments, path) = copied(small_run), STEPS[kind]
    without(folder, path)
    with faults.tried():
        stopped = run_step(folder, *arguments, before=("prlimit", "--fsize=20000"))
        assert stopped.returncode == 2, stopped.stderr
        assert "a file would be larger than is allowed here while " in stopped.stderr
        assert "to do:" in stopped.stderr
        assert "Traceback" not in stopped.stderr
        assert not (folder / path).exists()
        again = run_step(folder, *arguments)
        assert again.returncode == 0, again.stderr
        assert (folder / path).read_bytes() == (small_run / path).read_bytes()
        assert not list(folder.glob("results/**/.*.part"))


def _safetensors(path):
    import torch
    from safetensors.torch import save_file

    save_file({"a": torch.zeros(100_000)}, path)


def _parquet(path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"a": list(range(100_000))}), str(path))


def _figure(path):
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure = pyplot.figure()
    try:
        figure.savefig(path, format="svg")
    finally:
        pyplot.close(figure)


def _text(path):
    Path(path).write_text("a" * 100_000)


def _written(write, path):
    with atomic_path(path) as part:
        write(part)


@pytest.mark.parametrize("write", [_safetensors, _parquet, _figure, _text])
def test_whatever_library_writes_it_is_one_message(tmp_path, faults, write):
    """Each raises something of its own when the system refuses the next byte."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    write(tmp_path / "imports")
    (tmp_path / "imports").unlink()
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with faults.tried(), pytest.raises(RobustftError, match=r"larger than is allowed here while writing out\.bin"):
            _written(write, tmp_path / "out.bin")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("error", "what"),
    [
        (OSError(errno.EROFS, "Read-only file system", "results/x"), "the disk is read-only"),
        (PermissionError(errno.EACCES, "Permission denied", "results/x"), "permission is denied"),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), "the disk quota is used up"),
        (RuntimeError("I/O error: No space left on device (os error 28)"), "the disk is full"),
    ],
)
def test_errors_of_the_disk_are_told_from_others(error, what):
    assert what in str(storage_error(error))
    assert storage_error(ValueError("shape [28] is not 28")) is None
    assert storage_error(RobustftError("already told", observed="[Errno 28]")) is None


def test_a_failure_that_cannot_be_noted_is_still_told(tmp_path, monkeypatch, capfd):
    """On a full disk the note of the failure failed too, and its error hid the first one."""
    import robustft.provenance.run as module
    from robustft.cli.parser import main

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(module, "write_json", full)
    assert main(["data", "digits", "--scale", "smoke", "--papers", "twins", "--log", "logs/a.log"]) == 2
    said = capfd.readouterr().err
    assert said.count("the disk is full") == 1
    assert "Traceback" not in said


@contextlib.contextmanager
def mounted(folder: Path, *options: str):
    """Mount something on a folder for a while."""
    if os.geteuid() or subprocess.run(["mount", *options, str(folder)], check=False).returncode:
        pytest.skip("mounting needs root")
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@contextlib.contextmanager
def filled(folder: Path, *, left: int):
    """Fill the file system of a folder up to `left` bytes."""
    filler = folder / "filler"
    with open(filler, "wb") as stream:
        for _ in range(100):  # a step that writes at the same moment may take the room that was just counted
            with contextlib.suppress(OSError):
                os.posix_fallocate(stream.fileno(), 0, max(1, shutil.disk_usage(folder).free - left))
                break
    try:
        yield
    finally:
        filler.unlink()


MOMENTS = [
    *((("train", "pretraining/digits_at"), "scratch/*/attempts", left) for left in (4096, 65536, 1 << 20)),
    *((("train", RUN), "scratch/*/training.state", left) for left in (0, 16384)),
    *((("attack", f"{RUN}/robustness.1of1"), "scratch/*/*.piece", left) for left in (0, 4096)),
]


@pytest.mark.hpc
@pytest.mark.parametrize(("arguments", "pattern", "left"), MOMENTS)
def test_a_disk_that_fills_up_in_the_midst(small_run, faults, tmp_path, run_step, arguments, pattern, left):
    small = tmp_path / "small"
    small.mkdir()
    step = [sys.executable, "-m", "robustft", *arguments, "--scale", "smoke", "--log", "logs/a.log"]
    with faults.tried(), mounted(small, "-t", "tmpfs", "-o", "size=64m", "none"):
        shutil.copytree(small_run / "results", small / "results")
        made = "results/smoke/" + (arguments[1] if arguments[0] == "train" else RUN)
        names = [path for path in (small / made).iterdir() if (arguments[0] == "attack") == ("robustness" in path.name)]
        wanted = {path: path.read_bytes() for path in names if not path.name.endswith(".record.json")}
        for path in names:
            path.unlink()
        process = subprocess.Popen(
            step,
            cwd=small,
            env={**os.environ, "PYTHONPATH": str(ROOT / "pipeline")},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        deadline = time.monotonic() + 120
        while not list(small.glob(pattern)):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.002)
        with filled(small, left=left):
            said, _ = process.communicate(timeout=300)
        if process.returncode:  # what was left may have been enough
            assert process.returncode == 2, said
            assert "the disk is full" in said
            assert "Traceback" not in said
            again = run_step(small, *arguments)
            assert again.returncode == 0, again.stderr
        assert {path: path.read_bytes() for path in wanted} == wanted
        assert not list(small.glob("results/**/.*.part"))
        assert [path.name for path in small.glob("scratch/*")] == ["jobs"]


@pytest.mark.hpc
@pytest.mark.parametrize("name", ["results", "scratch", "logs"])
def test_a_read_only_folder_is_told(small_run, copied, faults, run_step, name):
    folder = copied(small_run)
    path = f"results/smoke/{RUN}/checkpoint.safetensors"
    without(folder, path)
    closed = folder / name
    closed.mkdir(exist_ok=True)
    with faults.tried():
        with mounted(closed, "--bind", str(closed)):
            subprocess.run(["mount", "-o", "remount,bind,ro", str(closed)], check=True)
            said = run_step(folder, "train", RUN, "--log", "logs/a.log")
        assert said.returncode == 2, said.stderr
        assert "the disk is read-only" in said.stderr
        assert "to do:" in said.stderr
        assert "Traceback" not in said.stderr
        again = run_step(folder, "train", RUN)
        assert again.returncode == 0, again.stderr
        assert (folder / path).read_bytes() == (small_run / path).read_bytes()


@pytest.mark.hpc
def test_a_whole_workflow_on_a_disk_that_fills_up(workflow, undisturbed, faults, tmp_path):
    from tests.e2e.test_dag import outputs

    small = tmp_path / "small"
    small.mkdir()
    with faults.tried(), mounted(small, "-t", "tmpfs", "-o", "size=200m", "none"):
        made = workflow(small / "w")
        process = made.start()
        while len(list(made.folder.glob("results/**/*.record.json"))) < 4:
            assert process.poll() is None
            time.sleep(0.05)
        with filled(small, left=0):
            assert process.wait(600) != 0, "nothing noticed the full disk"
        said = "".join(path.read_text(errors="replace") for path in made.folder.glob("*.out"))
        assert "disk is full" in said or "disk is nearly full" in said or "No space left" in said
        made.finish()
        assert outputs(made.folder) == outputs(undisturbed[0].folder)
