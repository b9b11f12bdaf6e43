"""Part 0: what the machine is, and what it reaches: matrix products in bfloat16, and copies in its memory."""

from __future__ import annotations

import shutil
import statistics
import subprocess
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch

REPEATS = 10
QUERY = "name,driver_version,clocks.sm,clocks.mem,clocks.max.sm,power.limit,temperature.gpu"


def pieces(device: torch.device, *, quick: bool) -> dict[str, Callable[[], Any]]:
    """Return the pieces of the part."""
    return {
        "versions": partial(versions, device),
        "matrix_products": partial(matrix_products, device, size=256 if quick else 8192),
        "bandwidth": partial(bandwidth, device, mebibytes=4 if quick else 4096),
    }


def versions(device: torch.device) -> dict[str, Any]:
    """Return driver, clocks and libraries."""
    found: dict[str, Any] = {"torch": torch.__version__, "cuda": torch.version.cuda, "device": str(device)}
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        found |= {"name": properties.name, "memory_mb": properties.total_memory >> 20}
        found |= {"processors": properties.multi_processor_count, "cudnn": torch.backends.cudnn.version()}
    if shutil.which("nvidia-smi"):
        command = ["nvidia-smi", f"--query-gpu={QUERY}", "--format=csv"]
        found["nvidia_smi"] = subprocess.run(command, capture_output=True, text=True, check=False).stdout.splitlines()
    return found


def seconds(function: Callable[[], object], device: torch.device) -> list[float]:
    """Return the seconds of each of the repeats, after two calls to warm up."""

    def wait() -> None:
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    times = []
    for number in range(REPEATS + 2):
        wait()
        start = time.perf_counter()
        function()
        wait()
        if number >= 2:
            times.append(time.perf_counter() - start)
    return times


def matrix_products(device: torch.device, *, size: int) -> dict[str, float]:
    """Return operations a second of square products, by precision; a multiplication and an addition are two."""
    rates = {}
    for dtype in (torch.bfloat16, torch.float32):
        a, b = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
        rates[str(dtype).removeprefix("torch.")] = (
            2 * size**3 / statistics.median(seconds(partial(torch.mm, a, b), device))
        )
    return rates


def bandwidth(device: torch.device, *, mebibytes: int) -> float:
    """Return bytes a second of a copy in the device's memory, read and written."""
    source = torch.empty(mebibytes << 20, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    return 2 * len(source) / statistics.median(seconds(partial(target.copy_, source), device))
