"""Files that are either whole or absent, their hashes, and the paths of the project.

No maintained library does this: atomicwrites is abandoned, and none adds a hash to a file or explains a full disk.
"""

from __future__ import annotations

import contextlib
import errno
import glob
import hashlib
import json
import os
import re
import stat
import sys
import tempfile
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.machinery import PathFinder
from io import BufferedReader
from pathlib import Path
from typing import Any

from robustft.errors import IntegrityError, RobustftError

PACKAGE = Path(__file__).resolve().parent
"""The folder of this package."""

HOLES_FROM = 1 << 30
"""A smaller file is read whatever it takes on the disk: compressing file systems store zeros as holes."""

JSON_BYTES = 1 << 28
"""No JSON file of ours is larger."""

IS_WHEEL = (PACKAGE / "project").is_dir()
"""Whether this package is installed from a wheel, which carries the project in a folder of its own (see setup.py)."""

ROOT = PACKAGE / "project" if IS_WHEEL else PACKAGE.parents[1]
"""The project: where `Snakefile`, `config/` and the lock files lie. Results go to the working directory."""

_PACKAGE_NAME = "pipeline/robustft"

PROJECT_FILE = "robustft.yaml"
"""Makes a folder a user's own project. Its configuration is laid over ours, and its results lie in it."""


def own_project() -> Path | None:
    """Return the user's own project: the working directory, if `robustft.yaml` lies in it."""
    here = Path.cwd()
    return here if (here / PROJECT_FILE).is_file() else None


def config_roots() -> tuple[Path, ...]:
    """Return the folders with configuration; the entries of an earlier one come before those of a later one."""
    own = own_project()
    return (*([own] if own else ()), ROOT / "config")


def project_path(name: str) -> Path:
    """Return the path of a file of the project. `name` is its path in a checkout, also in a wheel."""
    inside = name.removeprefix(f"{_PACKAGE_NAME}/")
    return ROOT / name if inside == name else PACKAGE / inside


def project_name(path: Path) -> str:
    """Return the name of a file of the project: its path in a checkout. The inverse of `project_path`."""
    if path.is_relative_to(PACKAGE) and not (IS_WHEEL and path.is_relative_to(ROOT)):
        return f"{_PACKAGE_NAME}/{path.relative_to(PACKAGE).as_posix()}"
    return path.relative_to(ROOT).as_posix()


def module_folders() -> list[str]:
    """Return the folders of components that no package installs. They come last: they hide no installed package."""
    own = own_project()
    return [*([str(own)] if own else ()), str(ROOT)]


def module_file(module: str) -> Path | None:
    """Return the file of a module without importing its packages; None if there is none, or no file.

    A module of this package is searched for in it; any other on Python's path, then at the top of a user's own
    project, then of this one.
    """
    parts = module.split(".")
    search = [str(PACKAGE.parent)] if parts[0] == PACKAGE.name else [*sys.path, *module_folders()]
    found = None
    for number in range(len(parts)):
        found = PathFinder.find_spec(".".join(parts[: number + 1]), search)
        if found is None:
            return None
        search = list(found.submodule_search_locations or ())
    return Path(found.origin) if found and found.has_location and found.origin else None


def require_checkout(command: str) -> None:
    """Raise RobustftError in a wheel, for a command that needs git or writes into the project."""
    if IS_WHEEL:
        raise RobustftError(
            f"`robustft {command}` needs a checkout, and this robustft is a wheel",
            where=PACKAGE,
            next_step="run it in a clone of the repository, after `make install`",
        )


def open_regular(path: str | Path) -> BufferedReader:
    """Open a regular file to read it. A link to one is one.

    Raises IntegrityError for anything else, such as a pipe or a device, which could be read for ever, and for a file
    that is almost all holes: one of a terabyte takes no space.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # without O_NONBLOCK a pipe would wait
    status = os.fstat(descriptor)
    holes = status.st_size > HOLES_FROM and status.st_blocks * 512 < status.st_size / 100
    if holes or not stat.S_ISREG(status.st_mode):
        os.close(descriptor)
        raise IntegrityError(
            "this is no file that a step could have written",
            where=path,
            expected="a regular file",
            observed=f"{status.st_size} bytes, almost all holes" if holes else stat.filemode(status.st_mode)[0],
            next_step="delete it and run snakemake; it will be made again",
        )
    return open(descriptor, "rb")


def unreadable(path: str | Path) -> str | None:
    """Return in words why a file cannot be read; None if it can be."""
    try:
        open_regular(path).close()
    except FileNotFoundError:
        return "there is no such file"
    except (IntegrityError, OSError, ValueError) as error:
        return " ".join(str(error).split())
    return None


def sha256_file(path: str | Path) -> str:
    """Return the SHA-256 of a regular file as 64 hexadecimal digits, reading it once in pieces."""
    with open_regular(path) as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def sha256_files(paths: Iterable[str]) -> dict[str, str | None]:
    """Return the SHA-256 of each file by its path, None for one that is missing or cannot be read.

    One thread for each core: hashing releases Python's global lock.
    """
    names = list(dict.fromkeys(paths))

    def hash_or_none(name: str) -> str | None:
        try:
            return sha256_file(name)
        except (IntegrityError, OSError, ValueError):  # ValueError: no name of a file, such as one with a zero byte
            return None

    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        return dict(zip(names, pool.map(hash_or_none, names), strict=True))


def canonical_json(value: Any) -> str:
    """Return the canonical JSON text of `value`: sorted keys, no spaces, no NaN. Equal values give equal texts."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def digest_of(value: Any) -> str:
    """Return the SHA-256 of the canonical JSON of `value`."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


_STORAGE = {
    errno.ENOSPC: ("the disk is full", "free some space and run the same command again; finished work is kept"),
    errno.EDQUOT: (
        "the disk quota is used up",
        "free some space and run the same command again; finished work is kept",
    ),
    errno.EFBIG: ("a file would be larger than is allowed here", "raise the limit (ulimit -f) or use another disk"),
    errno.EROFS: ("the disk is read-only", "make it writable, or run in a folder of another disk"),
    errno.EACCES: ("permission is denied", "give this user the right to the file and its folder"),
    errno.EPERM: ("the file or its folder may not be changed", "give this user the right to the file and its folder"),
}
_NUMBER = re.compile(r"(?:os error|errno)[ =:]*(\d+)", re.IGNORECASE)
"""Libraries that do not raise OSError (safetensors, Arrow, HDF5) quote the system's error number in this form."""


def storage_error(error: BaseException, *, doing: str = "", where: object = None) -> RobustftError | None:
    """Return the error for a full or read-only disk or a folder without permission, or None for any other error.

    `doing` continues the sentence, as in " while writing x". `where` replaces the file that `error` names.
    """
    if isinstance(error, RobustftError):
        return None
    quote = _NUMBER.search(str(error))
    number = error.errno if isinstance(error, OSError) else int(quote[1]) if quote else None
    if number not in _STORAGE:
        return None
    what, next_step = _STORAGE[number]
    place = where or getattr(error, "filename", None)
    return RobustftError(f"{what}{doing}", where=place, observed=error, next_step=next_step)


def remove_parts(path: str | Path) -> None:
    """Remove the temporary files that killed writers of `path` left. No other process may write `path` at this time."""
    path = Path(path)
    for part in path.parent.glob(f".{glob.escape(path.name)}.*.part"):
        part.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success it replaces `path`, on failure it is removed.

    The data reach the disk before the name does. So a reader sees the old file or the new one, never a part, even after
    a loss of power. Raises RobustftError with the folder and what to do if the disk is full or read-only, whatever
    error the writing library raises.
    """
    path, part = Path(path), None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
        os.close(handle)
        part = Path(name)
        yield part
        with open(part, "rb+") as stream:
            os.fsync(stream.fileno())
        # mkstemp makes private files; results get the usual permissions.
        umask = os.umask(0)
        os.umask(umask)
        part.chmod(0o666 & ~umask)
        part.replace(path)
        _to_disk(path.parent)
    except Exception as error:
        problem = storage_error(error, doing=f" while writing {path.name}", where=path.parent)
        if problem is None:
            raise
        raise problem from error
    finally:
        if part is not None:
            part.unlink(missing_ok=True)


def _to_disk(folder: Path) -> None:
    """Wait until the names in a folder are on the disk; some file systems cannot be asked."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def write_bytes(path: str | Path, data: bytes) -> None:
    """Write `data` to `path` atomically."""
    with atomic_path(path) as part:
        part.write_bytes(data)


_SCRATCH_MAGIC = b"robustft-scratch-1\n"


def write_checked(path: str | Path, data: bytes) -> None:
    """Write `data` atomically after its SHA-256, for files that only `read_checked` reads."""
    write_bytes(path, _SCRATCH_MAGIC + hashlib.sha256(data).digest() + data)


def read_checked(path: str | Path) -> bytes | None:
    """Return the data of a file of `write_checked`, or None if the file is missing or damaged."""
    try:
        content = Path(path).read_bytes()
    except FileNotFoundError:
        return None
    head, data = content[: len(_SCRATCH_MAGIC) + 32], content[len(_SCRATCH_MAGIC) + 32 :]
    return data if head == _SCRATCH_MAGIC + hashlib.sha256(data).digest() else None


def write_text(path: str | Path, text: str) -> None:
    """Write UTF-8 `text` to `path` atomically."""
    write_bytes(path, text.encode())


def write_json(path: str | Path, value: Any) -> None:
    """Write `value` as readable JSON (sorted keys, two spaces, final newline) atomically."""
    write_text(path, json.dumps(value, sort_keys=True, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: str | Path) -> Any:
    """Return the value of a JSON file. Raises RobustftError with its path if it is missing or damaged."""
    return read_hashed_json(path)[0]


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Refuse a key that is given twice: readers would differ in which of its values counts."""
    values = dict(pairs)
    if len(values) < len(pairs):
        raise ValueError("a key is given twice")
    return values


def _no_number(text: str) -> None:
    raise ValueError(f"{text} is no number of JSON")


def read_hashed_json(path: str | Path) -> tuple[Any, str]:
    """Return the value of a JSON file and the SHA-256 of the bytes that were read. Raises the errors of `read_json`."""
    try:
        with open_regular(path) as stream:
            data = stream.read(JSON_BYTES + 1)
        if len(data) > JSON_BYTES:
            raise ValueError(f"it is larger than {JSON_BYTES >> 20} MB")
        value = json.loads(data.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_no_number)
        return value, hashlib.sha256(data).hexdigest()
    except FileNotFoundError as error:
        raise RobustftError("a file is missing", where=path, next_step="run snakemake to make it") from error
    except (ValueError, RecursionError, IsADirectoryError) as error:
        raise RobustftError(
            "a JSON file cannot be read",
            where=path,
            observed=error,
            next_step="delete it and run snakemake; it will be made again",
        ) from error
