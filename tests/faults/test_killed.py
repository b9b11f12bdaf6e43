"""Jobs killed at any moment and started again end with the bytes of an undisturbed run (real processes, SIGKILL)."""

import dataclasses
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
RUN = "twins/main/digits_5to9/twins_trades_released/seed0"
TRAINED = f"results/smoke/{RUN}/checkpoint.safetensors"
LEDGER = f"results/smoke/{RUN}/robustness.1of1.ledger.parquet"


def start(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "robustft", *arguments, "--scale", "smoke"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT / "pipeline")},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def run(folder: Path, *arguments: str) -> str:
    process = start(folder, *arguments)
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output
    return output


def wait_for(folder: Path, pattern: str, process: subprocess.Popen[str]) -> None:
    """Wait until the step has stored a piece of work, so that there is something to lose."""
    deadline = time.monotonic() + 120
    while not list(folder.glob(pattern)):
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline, "the step stored nothing"
        time.sleep(0.005)


def kill(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGKILL)
    process.communicate()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> Path:
    """Data, pre-training, one run and its attacks, never interrupted."""
    folder = tmp_path_factory.mktemp("undisturbed")
    run(folder, "data", "digits")
    run(folder, "train", "pretraining/digits_at")
    run(folder, "train", RUN)
    run(folder, "attack", f"{RUN}/robustness.1of1")
    return folder


@pytest.fixture
def before_training(undisturbed, tmp_path) -> Path:
    shutil.copytree(undisturbed, tmp_path / "w")
    shutil.rmtree(tmp_path / "w" / "results" / "smoke" / "twins")
    return tmp_path / "w"


@pytest.fixture
def before_attack(undisturbed, tmp_path) -> Path:
    shutil.copytree(undisturbed, tmp_path / "w")
    for path in (tmp_path / "w").glob(f"results/smoke/{RUN}/robustness.*"):
        path.unlink()
    return tmp_path / "w"


@pytest.mark.parametrize("seed", range(2))
def test_training_killed_and_resumed_ends_with_the_same_bytes(undisturbed, before_training, seed):
    process = start(before_training, "train", RUN)
    wait_for(before_training, "scratch/*/training.state", process)
    time.sleep(random.Random(seed).uniform(0, 0.1))
    kill(process)
    assert not (before_training / TRAINED).exists(), "killed too late to show anything"
    said = run(before_training, "train", RUN)
    assert "resumed at step" in said
    for name in (TRAINED, f"results/smoke/{RUN}/history.csv"):
        assert (before_training / name).read_bytes() == (undisturbed / name).read_bytes()


def test_autoattack_killed_and_resumed_ends_with_the_same_bytes(undisturbed, before_attack):
    process = start(before_attack, "attack", f"{RUN}/robustness.1of1")
    wait_for(before_attack, "scratch/*/autoattack.*.after-2.piece", process)
    kill(process)
    stored = {path.name: path.stat().st_mtime_ns for path in before_attack.glob("scratch/*/*.piece")}
    assert not (before_attack / LEDGER).exists(), "killed too late to show anything"
    process = start(before_attack, "attack", f"{RUN}/robustness.1of1")
    kept = {}
    while process.poll() is None:
        kept.update({p.name: p.stat().st_mtime_ns for p in before_attack.glob("scratch/*/*.piece") if p.exists()})
        time.sleep(0.02)
    assert process.returncode == 0, process.communicate()[0]
    assert (before_attack / LEDGER).read_bytes() == (undisturbed / LEDGER).read_bytes()
    assert {name for name in stored if kept.get(name, stored[name]) != stored[name]} == set(), "work was done twice"


def test_a_damaged_resume_state_is_put_aside_and_the_run_still_ends_the_same(undisturbed, before_training):
    process = start(before_training, "train", RUN)
    wait_for(before_training, "scratch/*/training.state", process)
    kill(process)
    (state,) = before_training.glob("scratch/*/training.state")
    state.write_bytes(state.read_bytes()[:-100])
    said = run(before_training, "train", RUN)
    assert "is damaged; it is put aside and the work starts again" in said
    assert (before_training / TRAINED).read_bytes() == (undisturbed / TRAINED).read_bytes()


def test_state_of_edited_code_or_configuration_is_never_resumed(before_training):
    """The state's folder is named by the step's digest and its source: an edit makes another folder."""
    from robustft.config.load import Config
    from robustft.plan import Plan
    from robustft.provenance.run import scratch_folder

    step = Plan(Config(scale="smoke")).step("train", RUN)
    edited = dataclasses.replace(step, spec={**step.spec, "seed": 7})
    assert scratch_folder(step) != scratch_folder(edited)


def test_a_full_disk_is_one_clear_message_and_loses_nothing(undisturbed, tmp_path):
    """Needs root to mount a small file system; else the same message is tested through a write that fails."""
    small = tmp_path / "small"
    small.mkdir()
    if (
        os.geteuid()
        or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=30m", "none", small], check=False).returncode
    ):
        pytest.skip("mounting a small file system needs root")
    try:
        shutil.copytree(undisturbed / "results" / "data", small / "results" / "data")
        (small / "filler").write_bytes(b"0" * (15 << 20))
        process = start(small, "train", "pretraining/digits_at")
        output, _ = process.communicate(timeout=120)
        assert process.returncode == 2, output
        assert "the disk is nearly full" in output
        assert "to do:" in output
        (small / "filler").unlink()
        run(small, "train", "pretraining/digits_at")
        name = "results/smoke/pretraining/digits_at/checkpoint.safetensors"
        assert (small / name).read_bytes() == (undisturbed / name).read_bytes()
    finally:
        subprocess.run(["umount", small], check=True)
