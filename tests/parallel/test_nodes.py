"""Training on two nodes: two torchrun agents, or two tasks of srun, that know each other by an address alone."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import psutil
import pytest
from safetensors.torch import load_file

from robustft.files import ROOT

RUN = "pretraining/digits_at"
FOLDER = Path("results/smoke") / RUN
PARTS = ("config", "benchmarks", "pipeline", "envs", "pyproject.toml")

pytestmark = pytest.mark.hpc


def checkout(folder: Path, **scale: int) -> Path:
    """A copy of the checkout whose scale smoke has these values, with the data decoded."""
    folder.mkdir()
    for name in PARTS:
        source = ROOT / name
        copy = shutil.copytree if source.is_dir() else shutil.copy2
        copy(source, folder / name)
    path = folder / "config" / "scales" / "smoke.yaml"
    kept = [line for line in path.read_text().splitlines() if line.split(":")[0] not in scale]
    path.write_text("\n".join([*kept, *(f"{key}: {value}" for key, value in scale.items()), ""]))
    done = start(folder, [sys.executable, "-m", "robustft", "data", "digits", "--scale", "smoke"])
    assert done.wait(timeout=100) == 0
    return folder


def start(folder: Path, command: Sequence[str], **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder / "pipeline"), "OMP_NUM_THREADS": "1", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


TRAIN = ["-m", "robustft", "train", RUN, "--scale", "smoke"]


def agent(folder: Path, rank: int, port: int) -> subprocess.Popen[str]:
    """One node: its torchrun, which starts the command that starts the node's processes."""
    where = ["--nnodes", "2", "--node-rank", str(rank), "--master-addr", "127.0.0.1", "--master-port", str(port)]
    return start(folder, [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "1", *where, *TRAIN])


def two_nodes(folder: Path) -> list[subprocess.Popen[str]]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    return [agent(folder, rank, port) for rank in (1, 0)]


def finished(processes: Sequence[subprocess.Popen[str]]) -> list[str]:
    outputs = [process.communicate(timeout=300)[0] for process in processes]
    assert [process.returncode for process in processes] == [0] * len(processes), "\n".join(outputs)
    return outputs


def lose(node: subprocess.Popen[str]) -> None:
    """Kill all processes of a node; torchrun's workers are no part of its process group."""
    process = psutil.Process(node.pid)
    for one in (process, *process.children(recursive=True)):
        one.kill()
    node.wait(timeout=10)


@pytest.fixture(scope="module")
def alone(tmp_path_factory) -> Path:
    """The same training by one process."""
    folder = checkout(tmp_path_factory.mktemp("nodes") / "alone", processes=1)
    finished([start(folder, [sys.executable, *TRAIN])])
    return folder


def weights(folder: Path) -> dict:
    return load_file(folder / FOLDER / "checkpoint.safetensors")


def assert_equal_to(alone: Path, together: Path, *, starts: int, processes: int, attempts: int = 1) -> None:
    """The weights are those of one process, and there is one record, of the first start."""
    expected, found = weights(alone), weights(together)
    apart = max((found[name].double() - value.double()).abs().max().item() for name, value in expected.items())
    print(f"{starts} starts, {processes} processes, 20 steps: {apart:.1e} from one process")  # noqa: T201
    assert apart < 1e-4
    (record,) = (together / "results").rglob("*checkpoint.record.json")
    told = json.loads(record.read_text())["circumstances"]
    assert (told["processes"], told["starts"], told["attempt"]) == (processes, starts, attempts)
    assert not list((together / "scratch").iterdir()), "what was left was cleared up"


def test_two_nodes_of_two_processes_end_with_the_weights_of_one_process_and_one_record(alone, tmp_path):
    folder = checkout(tmp_path / "two", processes=4, nodes=2, bundle=0)
    finished(two_nodes(folder))
    assert_equal_to(alone, folder, starts=2, processes=4)


def test_a_node_that_is_lost_ends_the_other_and_the_next_start_resumes(alone, tmp_path):
    undisturbed = checkout(tmp_path / "undisturbed", processes=2, nodes=2, bundle=0)
    finished(two_nodes(undisturbed))
    folder = checkout(tmp_path / "two", processes=2, nodes=2, bundle=0)
    second, first = two_nodes(folder)
    deadline = time.monotonic() + 200
    while not list(folder.glob("scratch/*/training.state")):
        assert time.monotonic() < deadline
        assert first.poll() is None, first.communicate()[0]
        time.sleep(0.01)
    lose(second)
    output, _ = first.communicate(timeout=200)
    assert first.returncode != 0, output
    assert not (folder / FOLDER / "checkpoint.safetensors").exists(), "killed too late to show anything"
    outputs = finished(two_nodes(folder))
    assert "resumed at step" in "".join(outputs)
    for name in ("checkpoint.safetensors", "history.csv"):
        assert (folder / FOLDER / name).read_bytes() == (undisturbed / FOLDER / name).read_bytes()
    assert_equal_to(alone, folder, starts=2, processes=2, attempts=2)


def test_two_tasks_of_srun_find_each_other(alone, tmp_path):
    idle = shutil.which("sinfo") and subprocess.run(["sinfo", "-h", "-o", "%t"], capture_output=True, text=True).stdout
    if not idle or not any(state in idle for state in ("idle", "mix", "alloc")):
        pytest.skip("needs a running Slurm (`sinfo` lists no node that works)")
    folder = checkout(tmp_path / "srun", processes=2, nodes=2, bundle=0)
    srun = ["srun", "--immediate=120", "--ntasks", "2", "--kill-on-bad-exit=1"]
    process = start(folder, [*srun, sys.executable, *TRAIN])
    output, _ = process.communicate(timeout=400)
    if "Unable to allocate" in output:
        pytest.skip("needs a Slurm with two free CPUs; waited two minutes")
    assert process.returncode == 0, output
    assert_equal_to(alone, folder, starts=2, processes=2)
