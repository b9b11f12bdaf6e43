"""Two processes for one step: the second is told who is at it, and the first ends as if it had been alone."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from robustft.provenance.lock import held

ROOT = Path(__file__).resolve().parents[2]
RUN = "twins/main/digits_5to9/at/seed0"


@pytest.fixture
def before_training(small_run, copied) -> Path:
    folder = copied(small_run)
    for path in (folder / "results" / "smoke" / RUN).iterdir():
        path.unlink()
    return folder


def started(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-m", "robustft", *arguments, "--scale", "smoke"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT / "pipeline")},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    deadline = time.monotonic() + 120
    while not list(folder.glob("scratch/*/attempts")):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return process


def test_the_second_process_of_one_step_is_told_who_is_at_it(small_run, before_training, run_step, faults):
    with faults.tried():
        first = started(before_training, "train", RUN)
        os.kill(first.pid, signal.SIGSTOP)  # it shall not end before the second has begun
        second = run_step(before_training, "train", RUN)
        os.kill(first.pid, signal.SIGCONT)
        assert second.returncode == 2, second.stderr
        assert f"train:{RUN} is being run by another process" in second.stderr
        assert f"process {first.pid} on " in second.stderr
        assert "to do:" in second.stderr
        said, _ = first.communicate(timeout=300)
        assert first.returncode == 0, said
        name = f"results/smoke/{RUN}/checkpoint.safetensors"
        assert (before_training / name).read_bytes() == (small_run / name).read_bytes()
        record = json.loads((before_training / f"results/smoke/{RUN}/checkpoint.record.json").read_text())
        assert record["circumstances"]["failed_attempts"] == [], "who was refused is no failed attempt of the first"
        assert {path.name for path in (before_training / "scratch").iterdir()} == {"jobs", "by_hand"}


def test_the_lock_of_a_killed_process_blocks_nobody(before_training, run_step, small_run, faults):
    with faults.tried():
        first = started(before_training, "train", RUN)
        first.kill()
        first.communicate()
        assert list((before_training / "scratch").glob("*.lock")), "killed too late to show anything"
        # What a writer that was killed in the act leaves.
        part = before_training / "results" / "smoke" / RUN / ".checkpoint.safetensors.abc123.part"
        part.write_bytes(b"half")
        again = run_step(before_training, "train", RUN)
        assert again.returncode == 0, again.stderr
        name = f"results/smoke/{RUN}/checkpoint.safetensors"
        assert (before_training / name).read_bytes() == (small_run / name).read_bytes()
        assert not part.exists(), "rubbish of killed writers is removed by the next attempt"
        assert {path.name for path in (before_training / "scratch").iterdir()} == {"jobs", "by_hand"}


def test_a_refused_step_leaves_the_parts_of_the_one_that_writes(before_training, run_step, monkeypatch, faults):
    monkeypatch.chdir(before_training)
    part = before_training / "results" / "smoke" / RUN / ".checkpoint.safetensors.abc123.part"
    part.write_bytes(b"half")
    with faults.tried(), held(f"results/smoke/{RUN}/checkpoint.record.json", what="a test"):
        refused = run_step(before_training, "train", RUN)
        assert refused.returncode == 2
        assert part.exists()


@pytest.mark.hpc
def test_a_second_snakemake_in_one_folder_is_told_so_and_disturbs_nothing(workflow, undisturbed, faults, tmp_path):
    from tests.e2e.test_dag import outputs

    made = workflow(tmp_path / "two")
    with faults.tried():
        first = made.start()
        deadline = time.monotonic() + 120
        while made.work_done() == 0:
            assert first.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        second = subprocess.run(made.command, cwd=made.folder, capture_output=True, text=True, timeout=300, check=False)
        assert second.returncode != 0
        assert "LockException" in second.stderr or "locked" in second.stderr
        assert first.wait(900) == 0
        assert outputs(made.folder) == outputs(undisturbed[0].folder)
