"""Whether the packages that a process loaded are as they were installed, and what else decides how it runs.

Each loaded file of a package is compared with the hash that its installer kept (PyPA, "Recording installed projects").
A file is hashed once for each state of it: size, times and inode are kept beside the hash, and no user can set the
time of the last change. Byte code has no hash on record, and the installer's record itself could be forged: only
another installation of the same lock tells.
"""

from __future__ import annotations

import base64
import contextlib
import functools
import hashlib
import json
import os
import sys
import sysconfig
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from robustft.files import PACKAGE, ROOT, digest_of, open_regular

DECISIVE = (
    *("OMP_", "KMP_", "GOMP_", "MKL_", "OPENBLAS_", "BLIS_", "ATEN_", "DNNL_", "ONEDNN_", "NPY_", "TORCH", "PYTORCH"),
    *("CUDA_", "CUBLAS_", "CUDNN_", "NVIDIA_", "NCCL_", "XLA_", "LD_", "MALLOC_", "PYTHON"),
)
"""Variables that begin so change numbers, or which code runs."""


_HOME = os.path.expanduser("~")  # noqa: PTH111 (a user without a home is no error)


def cache() -> Path:
    """Return the file of hashes that are known on this machine, one for each Python: it fits any checkout."""
    folder = Path(os.environ.get("XDG_CACHE_HOME") or f"{_HOME}/.cache") / "robustft"
    return folder / f"installed-{digest_of([sys.prefix, sys.version])[:16]}.json"


def loaded_code(hashed: Collection[str]) -> dict[str, list[str]]:
    """Return `changed`, the loaded files of packages with other bytes than installed, and `unowned`, loaded modules.

    An unowned module is one that no installed package, no part of Python, no part of this project and none of the files
    in `hashed` (paths) accounts for. Files are looked at again only if modules were loaded since.
    """
    return _looked_at(frozenset(hashed), len(sys.modules))


@functools.lru_cache(maxsize=16)
def _looked_at(hashed: frozenset[str], modules: int) -> dict[str, list[str]]:  # their number is part of the cache's key
    changed, unowned, hashes = [], [], _Hashes()
    own = (f"{PACKAGE}/", f"{ROOT}/", *_python())
    for name, path in _loaded():
        folder = next((folder for folder in _folders() if path.startswith(folder)), None)
        if folder is None:
            known = path in hashed or path.startswith(own)
        else:
            due = _recorded(folder).get(path.removeprefix(folder))
            known = due is not None
            if due and hashes.of(path) != due:
                changed.append(path.removeprefix(folder))
        if name and not known and os.path.exists(path):  # noqa: PTH110 (some modules of torch name a file for show)
            unowned.append(name)
    hashes.keep()
    return {"changed": sorted(changed), "unowned": sorted(unowned)}


@functools.cache
def startup_files() -> dict[str, str]:
    """Return the SHA-256 of each file that Python runs before anything else: `.pth` files that hold code, and hooks."""
    files = [path for folder in _folders() for path in sorted(Path(folder).glob("*.pth"))]
    code = {path.name: path.read_bytes() for path in files if b"import" in path.read_bytes()}
    for name in ("sitecustomize", "usercustomize"):
        path = getattr(sys.modules.get(name), "__file__", None)
        if path:
            code[f"{name}.py"] = Path(path).read_bytes()
    return {name: hashlib.sha256(data).hexdigest() for name, data in code.items()}


def variables() -> dict[str, str]:
    """Return the environment variables that decide numbers or code, without the places of this machine."""
    places = [(place, sign) for place, sign in ((str(ROOT), "."), (_HOME, "~")) if len(place) > 1]
    values = {name: value for name, value in sorted(os.environ.items()) if name.startswith(DECISIVE)}
    for place, sign in places:
        values = {name: value.replace(place, sign) for name, value in values.items()}
    return values


def _loaded() -> Iterator[tuple[str | None, str]]:
    """Yield each loaded module with its file, and each other library in memory with no name."""
    seen = set()
    for name, module in list(sys.modules.items()):
        path = getattr(module, "__file__", None)
        if isinstance(path, str) and name not in ("__main__", "__mp_main__"):
            seen.add(path)
            yield name, _real(path)
    with contextlib.suppress(OSError):  # a system without it
        maps = Path("/proc/self/maps").read_text(encoding="utf-8", errors="replace").splitlines()
        yield from ((None, path) for path in sorted({line[73:] for line in maps} - seen) if ".so" in path)


@functools.cache
def _real(path: str) -> str:
    return os.path.realpath(path)


@functools.cache
def _python() -> tuple[str, ...]:
    """Return the folders of Python's own modules."""
    paths = sysconfig.get_paths()
    return tuple(f"{os.path.realpath(paths[key])}/" for key in ("stdlib", "platstdlib"))


@functools.cache
def _folders() -> tuple[str, ...]:
    """Return the folders of installed packages on Python's path, each with a slash at its end."""
    folders = dict.fromkeys(os.path.realpath(folder) for folder in sys.path)
    return tuple(f"{folder}/" for folder in folders if next(Path(folder).glob("*.dist-info"), None))


@functools.cache
def _recorded(folder: str) -> dict[str, str]:
    """Return the recorded hash of each file that installers put into a folder, "" for one without a hash."""
    recorded: dict[str, str] = {}
    for record in Path(folder).glob("*.dist-info/RECORD"):
        for line in record.read_text(encoding="utf-8").splitlines():
            name, _, rest = line.rpartition(",")[0].rpartition(",")
            recorded[name.strip('"')] = rest.removeprefix("sha256=")
    return recorded


class _Hashes:
    """Hashes of installed files, kept for each state of a file."""

    def __init__(self) -> None:
        try:
            self._kept: dict[str, Any] = json.loads(cache().read_bytes())
        except (OSError, ValueError):
            self._kept = {}
        self._new = False

    def of(self, path: str) -> str:
        """Return the SHA-256 of a file as RECORD has it."""
        status = os.stat(path)  # noqa: PTH116 (faster than Path, for a thousand files)
        stamp = [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino]
        kept = self._kept.get(path)
        if kept is None or kept[0] != stamp:
            with open_regular(path) as stream:
                digest = hashlib.file_digest(stream, "sha256").digest()
            kept = self._kept[path] = [stamp, base64.urlsafe_b64encode(digest).rstrip(b"=").decode("ascii")]
            self._new = True
        return str(kept[1])

    def keep(self) -> None:
        """Keep what was hashed for the next process; without a disk for it, nothing is kept."""
        if self._new:
            path = cache()
            part = path.with_name(f".{path.name}.{os.getpid()}.part")
            with contextlib.suppress(OSError):
                path.parent.mkdir(parents=True, exist_ok=True)
                part.write_text(json.dumps(self._kept), encoding="utf-8")
                part.replace(path)
