"""The environment of a step: Python, packages, commit, image and machine of this process."""

from __future__ import annotations

import contextlib
import functools
import os
import platform
import re
import resource
import sys
from pathlib import Path
from typing import Any

from robustft.files import ROOT, sha256_file
from robustft.plan.sources import LOCK, locked_versions, normalised
from robustft.provenance.checkout import git_state
from robustft.provenance.container import observed_image

MAXRSS_PER_MB = 1 << 20 if sys.platform == "darwin" else 1 << 10
"""`ru_maxrss` counts kilobytes, on macOS bytes."""

PACKAGES = (
    "torch", "torchvision", "timm", "open_clip_torch", "peft", "pyautoattack", "numpy", "scikit-learn", "safetensors",
    "pyarrow", "pandas", "matplotlib", "seaborn", "snakemake", "pyyaml",
)  # fmt: skip


def environment() -> dict[str, Any]:
    """Return Python, packages, lock, commit and image. They are equal for all steps of a clean installation."""
    return {**_installed(ROOT / LOCK), "git": git_state(), "image": observed_image()}


@functools.cache  # a process cannot change what it has imported
def _installed(lock: Path) -> dict[str, Any]:
    """Return the Python and packages of this process, and the packages whose version is not in the lock."""
    locked = locked_versions(lock) if lock.is_file() else {}
    packages: dict[str, str] = {}
    unlocked: list[str] = []
    for name in PACKAGES:
        version = _version(name)
        if version is None:
            continue
        packages[name] = version
        allowed = locked.get(normalised(name), set())
        if packages[name] not in allowed:
            unlocked.append(name)
    return {
        "python": platform.python_version(),
        "packages": packages,
        "lock": {"path": LOCK, "sha256": sha256_file(lock) if lock.is_file() else None, "not_as_locked": unlocked},
    }


def _version(name: str) -> str | None:
    """Return an installed package's version, None if there is none.

    importlib.metadata is slow to import beside a small step, so it is used only if the metadata file is not found.
    """
    with contextlib.suppress(KeyError, OSError):
        metadata = _metadata()[normalised(name)].read_text(encoding="utf-8")
        if match := re.search(r"^Version:[ \t]*(\S+)[ \t]*$", metadata, re.MULTILINE):
            return match[1]
    import importlib.metadata

    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


@functools.cache
def _metadata() -> dict[str, Path]:
    """Return the metadata files of the packages on Python's path, NAME-VERSION.dist-info/METADATA, by name.

    The first of two files of one name counts, as for an import (PyPA, "Recording installed projects").
    """
    files: dict[str, Path] = {}
    for folder in sys.path:
        with contextlib.suppress(OSError):  # an archive, or a missing folder
            for package in Path(folder).glob("*.dist-info"):
                files.setdefault(normalised(package.name.split("-")[0]), package / "METADATA")
    return files


def circumstances() -> dict[str, Any]:
    """Return what may differ between two correct runs: host, processor, process, peak memory so far."""
    return {
        "host": platform.node(),
        "machine": platform.machine(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "system": platform.platform(),
        "pid": os.getpid(),
        "peak_memory_mb": peak_memory_mb(),
        "peak_memory_of_a_child_mb": round(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / MAXRSS_PER_MB),
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
    }


def forget_peak() -> None:
    """Reset the kernel's peak memory of this process: a bundle runs many steps in one process (proc(5))."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def peak_memory_mb() -> int:
    """Return the peak memory of this process in MB since `forget_peak`.

    It includes pages of libraries, but not the system's cache of files. It is VmHWM where Linux provides it: ru_maxrss
    is never reset, and a new process inherits it from its parent.
    """
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii")
        return round(int(status.split("VmHWM:", 1)[1].split()[0]) / 1024)
    except (OSError, IndexError, ValueError):
        return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / MAXRSS_PER_MB)


@functools.cache
def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor()
