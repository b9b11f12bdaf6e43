"""Choosing a device, so that concurrent jobs on one machine take different GPUs."""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import torch
from filelock import FileLock, Timeout

from pipeline.errors import RobustftError


def visible_gpus() -> list[str]:
    """Return a machine-wide name for each GPU that this process sees, in torch's order."""
    count = torch.cuda.device_count()
    named = [name.strip() for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name.strip()]
    return named[:count] if len(named) >= count else [str(index) for index in range(count)]


def lock_folder() -> Path:
    """Return the folder of the GPU locks, shared by all jobs of this user on this machine."""
    folder = Path(tempfile.gettempdir()) / f"robustft-gpus-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


@contextlib.contextmanager
def leased_gpu(names: Sequence[str], *, folder: Path, say: Callable[[str], None] = print) -> Iterator[int]:
    """Yield the position in `names` of a GPU that no other job holds, waiting for one if need be.

    The operating system drops the lock of a job that dies, so a crash never blocks a GPU.
    """
    told = False
    while True:
        for position, name in enumerate(names):
            lock = FileLock(folder / f"gpu-{name.replace('/', '_')}.lock")
            try:
                lock.acquire(timeout=0)
            except Timeout:
                continue
            try:
                yield position
            finally:
                lock.release()
            return
        if not told:
            say(f"waiting: all {len(names)} GPUs are taken by other jobs on this machine")
            told = True
        time.sleep(1.0)


@contextlib.contextmanager
def device_for(kind: str, *, threads: int, say: Callable[[str], None] = print) -> Iterator[torch.device]:
    """Yield the device a step runs on, set up for repeatable results.

    Raises RobustftError if a GPU is asked for and none is visible.
    """
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.benchmark = False
    if kind == "cpu":
        yield torch.device("cpu")
        return
    names = visible_gpus()
    if not names:
        raise RobustftError(
            "this step needs a GPU and none is visible",
            expected="at least one CUDA device",
            observed=f"CUDA_VISIBLE_DEVICES={os.environ.get('CUDA_VISIBLE_DEVICES', 'unset')}, torch sees none",
            next_step="run it on a machine with a GPU (in a container: with --nv), or choose scale=demo",
        )
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    with leased_gpu(names, folder=lock_folder(), say=say) as position:
        torch.cuda.set_device(position)
        yield torch.device("cuda", position)


def describe(device: torch.device) -> dict[str, str | int]:
    """Return the device's name and driver versions, for the record."""
    if device.type == "cpu":
        return {"device": "cpu", "threads": torch.get_num_threads()}
    return {
        "device": torch.cuda.get_device_name(device),
        "cuda": str(torch.version.cuda),
        "cudnn": int(torch.backends.cudnn.version() or 0),  # type: ignore[no-untyped-call]
    }
