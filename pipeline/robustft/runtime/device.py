"""The device of a step: concurrent jobs on one machine take different GPUs."""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import torch
from filelock import FileLock, Timeout

from robustft.errors import RobustftError


def visible_gpus() -> list[str]:
    """Return a machine-wide name for each GPU that this process sees, in torch's order: its UUID.

    A number in CUDA_VISIBLE_DEVICES is no such name: each of two jobs that a scheduler confines calls its GPU 0. Parts
    of a GPU (MIG) may share a UUID of the whole, so they go by their names in that variable.
    """
    count = torch.cuda.device_count()
    named = [name.strip() for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name.strip()]
    if len(named) >= count and any(name.startswith("MIG-") for name in named[:count]):
        return named[:count]
    return [f"GPU-{torch.cuda.get_device_properties(index).uuid}" for index in range(count)]


def lock_folder() -> Path:
    """Return the folder of the GPU locks, shared by all jobs of this user on this machine."""
    folder = Path(tempfile.gettempdir()) / f"robustft-gpus-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


def _try_lease(names: Sequence[str], count: int, folder: Path) -> dict[int, FileLock]:
    """Take the locks of `count` GPUs, or none: jobs that hold some and wait for more could block each other."""
    held: dict[int, FileLock] = {}
    for position, name in enumerate(names):
        lock = FileLock(folder / f"gpu-{name.replace('/', '_')}.lock")
        with contextlib.suppress(Timeout):
            lock.acquire(timeout=0)
            held[position] = lock
        if len(held) == count:
            return held
    for lock in held.values():
        lock.release()
    return {}


@contextlib.contextmanager
def leased_gpus(
    names: Sequence[str], count: int, *, folder: Path, log: Callable[[str], None] = print
) -> Iterator[list[int]]:
    """Yield the positions in `names` of `count` GPUs that no other job holds; wait until they are free.

    The operating system releases the locks of a job that dies, so a crash never blocks a GPU.
    """
    held = _try_lease(names, count, folder)
    if not held:
        log(f"waiting: of the {len(names)} GPUs of this machine fewer than {count} are free of other jobs")
    while not held:
        # Jobs that wait for equal times would collide again and again: each has a time of its own.
        time.sleep(0.5 + os.getpid() % 97 / 97)
        held = _try_lease(names, count, folder)
    try:
        yield list(held)
    finally:
        for lock in held.values():
            lock.release()


def set_up(device: torch.device, *, threads: int) -> None:
    """Prepare this process for repeatable results on a device."""
    torch.set_num_threads(threads)
    # The same as use_deterministic_algorithms(True), without the import of the compiler (1.2 s).
    torch.set_deterministic_debug_mode("error")
    # By default this mode fills all new memory with NaN: one more pass over each result.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.backends.cudnn.benchmark = False
    if device.type == "cuda":
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.backends.cudnn.allow_tf32 = False  # float32 is what a recipe says it is
        torch.cuda.set_device(torch.device("cuda", device.index or 0))  # without an index it is refused
        torch.cuda.reset_peak_memory_stats(device)


@contextlib.contextmanager
def devices_for(
    kind: str, *, count: int, threads: int, log: Callable[[str], None] = print
) -> Iterator[list[torch.device]]:
    """Yield the devices of a step, `count` of kind "cpu" or "cuda"; the process is set up for the first of them.

    Raises RobustftError if fewer than `count` GPUs are visible.
    """
    if kind == "cpu":
        devices = [torch.device("cpu")] * count
        set_up(devices[0], threads=threads)
        yield devices
        return
    names = visible_gpus()
    if len(names) < count:
        raise RobustftError(
            f"this step needs {count} GPU{'s' if count > 1 else ''} and {len(names) or 'none'} "
            f"{'are' if len(names) > 1 else 'is'} visible",
            expected=f"at least {count} CUDA device{'s' if count > 1 else ''}",
            observed=f"CUDA_VISIBLE_DEVICES={os.environ.get('CUDA_VISIBLE_DEVICES', 'unset')}, torch sees {len(names)}",
            next_step="run it on a machine with a GPU (in a container: with --nv), or choose scale=demo",
        )
    with leased_gpus(names, count, folder=lock_folder(), log=log) as positions:
        devices = [torch.device("cuda", position) for position in positions]
        set_up(devices[0], threads=threads)
        yield devices


@contextlib.contextmanager
def device_for(kind: str, *, threads: int, log: Callable[[str], None] = print) -> Iterator[torch.device]:
    """Yield the device of a step on one device, set up for repeatable results."""
    with devices_for(kind, count=1, threads=threads, log=log) as (device,):
        yield device


def describe(device: torch.device) -> dict[str, str | int]:
    """Return the device's name and driver versions, for the record."""
    if device.type == "cpu":
        return {"device": "cpu", "threads": torch.get_num_threads()}
    return {
        "device": torch.cuda.get_device_name(device),
        "cuda": str(torch.version.cuda),
        "cudnn": int(torch.backends.cudnn.version() or 0),  # type: ignore[no-untyped-call]
    }


def peak(device: torch.device) -> dict[str, int]:
    """Return the peak memory of tensors on a GPU since `set_up`, in MiB, for the record; nothing on a CPU."""
    if device.type == "cpu":
        return {}
    return {"peak_gpu_memory_mb": round(torch.cuda.max_memory_allocated(device) / 2**20)}
