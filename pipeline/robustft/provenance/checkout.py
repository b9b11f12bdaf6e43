"""What git knows of this checkout: its commit, and whether all that can run here is what the commit holds.

Bytes are compared with the commit's own. Git's status would not tell of a file that its index is told to assume
unchanged, that a filter turns back, or that it is told to ignore.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import os
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from robustft.errors import RobustftError
from robustft.files import IS_WHEEL, PACKAGE, ROOT, read_json

BUILD = "build.json"
"""In a wheel, the state of git at its build: {commit, clean}."""

IMPORTABLE = (".py", ".pyc", ".so", ".pyd", ".pth")
OUTPUTS = {"results", "scratch", "logs", "exports", "frozen", "build", "dist", "__pycache__"}
"""Folders at the top of a checkout that hold no code."""

LOOKED_AT = 5000
"""How many files of another folder at the top are looked at: a user may keep a data set there."""

REWRITTEN = {"dvc.lock"}
"""It describes results, and DVC rewrites it during a run."""

_ELSEWHERE = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_ALTERNATE_OBJECT_DIRECTORIES")
"""Variables that make git speak of another repository."""


def git(*arguments: str, root: Path = ROOT, stdin: bytes = b"") -> bytes | None:
    """Return what git prints about a checkout; None if it is no repository, or there is no git.

    Raises RobustftError if git refuses to look because the folder is another user's.
    """
    environment = {key: value for key, value in os.environ.items() if key not in _ELSEWHERE} | {"LC_ALL": "C"}
    command = ["git", "--no-replace-objects", "-C", str(root), *arguments]
    try:
        done = subprocess.run(command, input=stdin, capture_output=True, timeout=60, env=environment, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    if b"dubious ownership" in done.stderr:
        raise RobustftError(
            "git refuses to look at this checkout, which belongs to another user",
            where=root,
            expected="the commit, which every record states",
            observed=done.stderr.decode(errors="replace").splitlines()[0],
            next_step=f"git config --global --add safe.directory {root}",
        )
    return done.stdout if done.returncode == 0 else None


@functools.cache
def git_state() -> dict[str, Any]:
    """Return `commit` and `clean`, whether all that can run here is the commit's; None if git does not know.

    A wheel returns the state at its build (setup.py) and `wheel`: git may know another repository around it.
    """
    if IS_WHEEL:
        return {**read_json(ROOT / BUILD), "wheel": True}
    commit = git("rev-parse", "--verify", "-q", "HEAD")
    if commit is None:
        return {"commit": None, "clean": None}
    return {"commit": commit.decode().strip(), "clean": next(changes(), None) is None}


def changes(root: Path = ROOT) -> Iterator[str]:
    """Yield the files of a checkout that are not the commit's, and files that Python could import and it has not."""
    tracked = _tracked(root)
    for name, (mode, sha) in tracked.items():
        if name not in REWRITTEN and not _is_blob(root / name, mode, sha):
            yield name
    for path in _importable(root):
        if path.suffix in IMPORTABLE and (name := path.relative_to(root).as_posix()) not in tracked:
            yield name


def _tracked(root: Path) -> dict[str, tuple[str, str]]:
    """Return mode and hash of each file of the commit, by its path below `root`."""
    entries = (git("ls-tree", "-r", "-z", "HEAD", root=root) or b"").decode(errors="surrogateescape").split("\0")
    parts = [entry.partition("\t") for entry in entries if entry]
    return {name: (about.split()[0], about.split()[2]) for about, _, name in parts if about.split()[1] == "blob"}


def _is_blob(path: Path, mode: str, sha: str) -> bool:
    try:
        data = os.fsencode(os.readlink(path)) if mode == "120000" else path.read_bytes()  # noqa: PTH115 (bytes)
    except OSError:
        return False
    return sha in (_blob(data, len(sha)), _blob(data.replace(b"\r\n", b"\n"), len(sha)))


def _blob(data: bytes, digits: int) -> str:
    """Return git's hash of a file's content: SHA-1, or in new repositories SHA-256."""
    return hashlib.new("sha1" if digits == 40 else "sha256", b"blob %d\0" % len(data) + data).hexdigest()


def _importable(root: Path) -> Iterator[Path]:
    """Yield the files that Python could import from the folders on its path, `pipeline/` and the top."""
    package = PACKAGE.parent if root == ROOT else root / "pipeline"
    for path in sorted(root.iterdir()):
        if path.suffix in IMPORTABLE:
            yield path
        elif path != package and path.is_dir() and not _holds_no_code(path):
            yield from itertools.islice(_below(path), LOOKED_AT)
    yield from _below(package)


def _holds_no_code(folder: Path) -> bool:
    return folder.name[0] == "." or folder.name in OUTPUTS or (folder / "pyvenv.cfg").exists()


def _below(folder: Path) -> Iterator[Path]:
    for place, below, names in os.walk(folder):
        below[:] = [name for name in below if name != "__pycache__" and name[0] != "."]
        yield from (Path(place) / name for name in names)


def blob_hashes(files: Iterable[tuple[str, str]], root: Path = ROOT) -> dict[tuple[str, str], str | None]:
    """Return the SHA-256 of files as commits hold them, by (commit, path below `root`); None for a missing one."""
    wanted = list(files)
    prefix = (git("rev-parse", "--show-prefix", root=root) or b"").decode().strip()
    asked = "".join(f"{commit}:{prefix}{name}\n" for commit, name in wanted if "\n" not in name).encode()
    data = git("cat-file", "--batch", root=root, stdin=asked) or b""
    hashes: dict[tuple[str, str], str | None] = {}
    start = 0
    for key in (key for key in wanted if "\n" not in key[1]):
        head, _, _ = data[start : start + 4096].partition(b"\n")
        start += len(head) + 1
        parts = head.split()
        if len(parts) != 3 or parts[1] != b"blob":
            hashes[key] = None
            continue
        size = int(parts[2])
        hashes[key] = hashlib.sha256(data[start : start + size]).hexdigest()
        start += size + 1
    return hashes
