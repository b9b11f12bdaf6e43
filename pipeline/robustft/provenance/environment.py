"""What a step ran in, as seen from inside its own process."""

from __future__ import annotations

import contextlib
import functools
import os
import platform
import re
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

from robustft.files import IS_WHEEL, ROOT, read_json, sha256_file
from robustft.provenance.container import observed_image

LOCK = "envs/run.txt"

BUILD = "build.json"
"""In a wheel, what git said when it was built: {commit, clean}."""

MAXRSS_PER_MB = 1 << 20 if sys.platform == "darwin" else 1 << 10
"""`ru_maxrss` counts kilobytes, on macOS bytes."""

PACKAGES = (
    "torch", "torchvision", "timm", "open_clip_torch", "peft", "pyautoattack", "numpy", "scikit-learn", "safetensors",
    "pyarrow", "pandas", "matplotlib", "seaborn", "snakemake", "pyyaml",
)  # fmt: skip


def _git(*arguments: str) -> str | None:
    try:
        result = subprocess.run(
            ["git", "-C", str(ROOT), *arguments], capture_output=True, text=True, timeout=30, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return result.stdout.strip()


@functools.cache
def git_state() -> dict[str, Any]:
    """Return the commit and whether every tracked file equals it; None where git cannot tell.

    A wheel tells what its build saw (setup.py), and that it is a wheel: git, asked where a wheel lies, would tell of
    whatever repository that is. DVC's lock file does not count: it describes results, and DVC rewrites it while a run
    goes on.
    """
    if IS_WHEEL:
        return {**read_json(ROOT / BUILD), "wheel": True}
    commit = _git("rev-parse", "--verify", "-q", "HEAD")
    changes = _git("status", "--porcelain", "--untracked-files=no", "--", ".", ":(exclude)dvc.lock")
    return {"commit": commit or None, "clean": None if changes is None else changes == ""}


def locked_versions(lock: Path) -> dict[str, set[str]]:
    """Return the versions that a hashed requirements file allows, by package name in lower case."""
    versions: dict[str, set[str]] = {}
    for line in lock.read_text(encoding="utf-8").splitlines():
        if "==" in line and not line.startswith((" ", "#")):
            name, rest = line.split("==", 1)
            versions.setdefault(name.strip().lower().replace("_", "-"), set()).add(rest.split()[0])
    return versions


def environment() -> dict[str, Any]:
    """Return Python, packages, lock, commit and image: what is the same for every step of a clean installation."""
    return {**_installed(ROOT / LOCK), "git": git_state(), "image": observed_image()}


@functools.cache  # a process cannot change what it has imported
def _installed(lock: Path) -> dict[str, Any]:
    """Return the Python and packages of this process, and which of them are not as the lock says."""
    locked = locked_versions(lock) if lock.is_file() else {}
    packages: dict[str, str] = {}
    astray: list[str] = []
    for name in PACKAGES:
        version = _version(name)
        if version is None:
            continue
        packages[name] = version
        allowed = locked.get(name.lower().replace("_", "-"), set())
        if packages[name] not in allowed:
            astray.append(name)
    return {
        "python": platform.python_version(),
        "packages": packages,
        "lock": {"path": LOCK, "sha256": sha256_file(lock) if lock.is_file() else None, "not_as_locked": astray},
    }


def _version(name: str) -> str | None:
    """Return an installed package's version, None if there is none.

    Python's own way is slow to import beside a small step, and is asked only where no metadata is found at a glance.
    """
    with contextlib.suppress(KeyError, OSError):
        metadata = _metadata()[_normalised(name)].read_text(encoding="utf-8")
        if found := re.search(r"^Version:[ \t]*(\S+)[ \t]*$", metadata, re.MULTILINE):
            return found[1]
    import importlib.metadata

    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


@functools.cache
def _metadata() -> dict[str, Path]:
    """Return the metadata files of the packages on Python's path, NAME-VERSION.dist-info/METADATA, by name.

    Of two of one name the first counts, as it does for an import (PyPA, "Recording installed projects").
    """
    found: dict[str, Path] = {}
    for folder in sys.path:
        with contextlib.suppress(OSError):  # an archive, or a folder that is not there
            for package in Path(folder).glob("*.dist-info"):
                found.setdefault(_normalised(package.name.split("-")[0]), package / "METADATA")
    return found


def _normalised(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def circumstances() -> dict[str, Any]:
    """Return what differs between two honest runs: host, processor, process, peak memory so far."""
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
    """Let the kernel measure this process's peak anew from here: a bundle runs many steps in one process (proc(5))."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def peak_memory_mb() -> int:
    """Return the most memory in MB that this process held at a time since `forget_peak`.

    Pages of libraries count, the system's cache of files that were read does not. It is VmHWM where Linux tells it:
    ru_maxrss is never reset, and a new process inherits it from the one that started it.
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
