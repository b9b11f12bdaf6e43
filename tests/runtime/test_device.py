"""GPUs are leased through files, so all of this runs without one: real processes compete for made-up names."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import stat
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import pytest
import torch

from robustft.errors import RobustftError
from robustft.runtime import device as devices
from robustft.runtime.device import describe, device_for, devices_for, leased_gpus, lock_folder, set_up, visible_gpus


@contextlib.contextmanager
def leased_gpu(names: list[str], **arguments: object) -> Iterator[int]:
    """One GPU, the common case."""
    with leased_gpus(names, 1, **arguments) as (position,):
        yield position


PATIENCE_S = 60  # an upper bound for a loaded machine, not a measurement


def hold(names: list[str], folder: Path, pipe: Connection) -> None:
    """What a job does: lease a GPU, tell which, keep it until told to go."""
    with leased_gpu(names, folder=folder, log=lambda line: pipe.send(("said", line))) as position:
        pipe.send(("leased", position))
        pipe.recv()
    pipe.send(("released", position))


class Job:
    """A real process that holds a lease."""

    def __init__(self, names: list[str], folder: Path) -> None:
        # Forked, so that torch need not be imported again; the child touches nothing but files and its pipe.
        context = multiprocessing.get_context("fork")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=hold, args=(names, folder, theirs), daemon=True)
        self.process.start()

    def hear(self) -> tuple[str, object]:
        assert self.pipe.poll(PATIENCE_S), "the job said nothing"
        return self.pipe.recv()

    def release(self) -> None:
        self.pipe.send("go")
        assert self.hear()[0] == "released"
        self.process.join(PATIENCE_S)

    def kill(self) -> None:
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.join(PATIENCE_S)
        assert self.process.exitcode == -signal.SIGKILL


@pytest.fixture
def jobs(tmp_path) -> Iterator:
    started: list[Job] = []

    def start(names: list[str]) -> Job:
        started.append(Job(names, tmp_path))
        return started[-1]

    yield start
    for job in started:
        job.process.kill()
        job.process.join(PATIENCE_S)


def test_two_concurrent_jobs_lease_different_gpus(jobs):
    first, second = jobs(["0", "1"]), jobs(["0", "1"])
    assert sorted([first.hear(), second.hear()]) == [("leased", 0), ("leased", 1)]


def test_three_concurrent_jobs_lease_three_different_gpus(jobs):
    names = ["0", "1", "2"]
    started = [jobs(names) for _ in names]
    assert sorted(job.hear() for job in started) == [("leased", position) for position in range(3)]


def test_a_third_job_waits_until_one_of_two_gpus_is_released(jobs):
    first, second = jobs(["0", "1"]), jobs(["0", "1"])
    taken = {job.hear()[1]: job for job in (first, second)}
    third = jobs(["0", "1"])
    kind, line = third.hear()
    assert kind == "said"
    assert "waiting: of the 2 GPUs" in str(line)
    assert not third.pipe.poll(1.6)  # it has tried again meanwhile, in vain, and does not repeat itself
    taken[1].release()
    assert third.hear() == ("leased", 1)


def test_a_killed_job_frees_its_gpu(jobs):
    first = jobs(["0"])
    assert first.hear() == ("leased", 0)
    waiting = jobs(["0"])
    assert waiting.hear()[0] == "said"
    first.kill()
    assert waiting.hear() == ("leased", 0)


def test_a_gpu_is_known_by_its_name_and_not_by_its_position(jobs):
    # The first job sees both GPUs, the second only the one that the system calls 0: they must not share it.
    first = jobs(["0", "1"])
    assert first.hear() == ("leased", 0)
    second = jobs(["0"])
    assert second.hear()[0] == "said"
    third = jobs(["1"])
    assert third.hear() == ("leased", 0)  # position 0 of its own list


def test_several_gpus_are_leased_all_or_none(tmp_path):
    said: list[str] = []
    with leased_gpu(["0"], folder=tmp_path):
        assert devices._try_lease(["0", "1"], 2, tmp_path) == {}  # only one of two is free ...
        with leased_gpu(["1"], folder=tmp_path, log=said.append) as position:
            assert position == 0  # ... and it was not kept while waiting for the other
    with leased_gpus(["0", "1", "2"], 2, folder=tmp_path, log=said.append) as positions:
        assert positions == [0, 1]
        with leased_gpu(["0", "1", "2"], folder=tmp_path, log=said.append) as third:
            assert third == 2
    with leased_gpus(["0", "1"], 2, folder=tmp_path, log=said.append) as positions:
        assert positions == [0, 1]
    assert said == []


def test_a_lease_ends_when_the_work_fails(tmp_path):
    with pytest.raises(RuntimeError, match="inside"), leased_gpu(["0"], folder=tmp_path):
        raise RuntimeError("inside")
    with leased_gpu(["0"], folder=tmp_path) as position:
        assert position == 0


def test_a_name_with_a_slash_makes_no_folder(tmp_path):
    with leased_gpu(["MIG-GPU-1/2/3"], folder=tmp_path) as position:
        assert position == 0
        assert all(path.is_file() for path in tmp_path.iterdir())


@dataclass
class Properties:
    uuid: str


@pytest.fixture
def machine(monkeypatch):
    """Let torch see so many GPUs, with a UUID each."""

    def see(*uuids: str) -> None:
        monkeypatch.setattr(torch.cuda, "device_count", lambda: len(uuids))
        monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: Properties(uuids[index]))

    return see


@pytest.mark.parametrize(
    ("variable", "uuids", "names"),
    [
        (None, ["aa", "bb"], ["GPU-aa", "GPU-bb"]),
        ("", [], []),
        ("3,5", ["aa", "bb"], ["GPU-aa", "GPU-bb"]),
        ("2,-1,0", ["cc"], ["GPU-cc"]),  # CUDA stops reading at the first invalid entry
        ("MIG-1, MIG-2", ["aa", "aa"], ["MIG-1", "MIG-2"]),  # parts of one GPU
    ],
)
def test_visible_gpus_have_machine_wide_names(variable, uuids, names, monkeypatch, machine):
    machine(*uuids)
    if variable is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    else:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", variable)
    assert visible_gpus() == names


def test_two_jobs_that_a_scheduler_confines_both_call_their_gpu_0_and_do_not_share_it(monkeypatch, machine, jobs):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    started = []
    for uuid in ("aa", "bb"):
        machine(uuid)
        started.append(jobs(visible_gpus()))
    assert [job.hear() for job in started] == [("leased", 0), ("leased", 0)]


def test_the_lock_folder_is_one_for_all_jobs_of_this_user_and_theirs_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    folder = lock_folder()
    assert folder == lock_folder()
    assert folder.parent == tmp_path
    assert str(os.getuid()) in folder.name
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


@pytest.mark.usefixtures("torch_settings_restored")
def test_the_cpu_is_set_up_for_repeatable_results(monkeypatch):
    torch.use_deterministic_algorithms(False)
    torch.backends.cudnn.benchmark = True
    with device_for("cpu", threads=2) as device:
        assert device == torch.device("cpu")
        assert torch.get_num_threads() == 2
        assert torch.are_deterministic_algorithms_enabled()
        assert not torch.utils.deterministic.fill_uninitialized_memory
        assert not torch.backends.cudnn.benchmark
        assert describe(device) == {"device": "cpu", "threads": 2}


@pytest.mark.usefixtures("torch_settings_restored")
def test_asking_for_a_gpu_where_none_is_visible_is_an_error_that_says_so(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "7")
    with pytest.raises(RobustftError, match="needs 1 GPU and none is visible") as error, device_for("cuda", threads=1):
        pass
    assert "CUDA_VISIBLE_DEVICES=7" in str(error.value)
    assert "--nv" in str(error.value)


@pytest.mark.usefixtures("torch_settings_restored")
def test_asking_for_more_gpus_than_are_visible_is_an_error_and_not_a_wait_for_ever(machine):
    machine("aa", "bb")
    with pytest.raises(RobustftError, match="needs 3 GPUs and 2 are visible"), devices_for("cuda", count=3, threads=1):
        pass


@pytest.mark.usefixtures("torch_settings_restored")
def test_a_step_on_a_gpu_leases_one_that_is_free(monkeypatch, tmp_path, machine):
    chosen: list[int] = []
    machine("aa", "bb")
    monkeypatch.setattr(torch.cuda, "set_device", lambda device: chosen.append(torch.device(device).index))
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda device: None)
    monkeypatch.setattr(devices, "lock_folder", lambda: tmp_path)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    with device_for("cuda", threads=1) as first, device_for("cuda", threads=1) as second:
        assert (first, second) == (torch.device("cuda", 0), torch.device("cuda", 1))
        assert chosen == [0, 1]
        assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"  # without it cuBLAS is not deterministic
        assert not torch.backends.cudnn.allow_tf32, "float32 convolutions would be TensorFloat-32 without a word"
    with device_for("cuda", threads=1) as again:
        assert again == torch.device("cuda", 0)
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG")


@pytest.mark.usefixtures("torch_settings_restored")
def test_a_gpu_without_an_index_is_the_first_one(monkeypatch):
    """torch.cuda.set_device("cuda") raises: nothing was measured on a GPU before this was said."""
    chosen: list[object] = []
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda device: None)
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    set_up(torch.device("cuda"), threads=1)
    assert chosen == [torch.device("cuda", 0)]
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG")
