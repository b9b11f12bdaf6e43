"""`robustft get`: bring published results here, those that are missing, from the DVC remote.

`dvc pull` and `dvc checkout` make a folder equal to the stored one: they delete what only this machine has. This
deletes nothing, and touches nothing that is here.
"""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from robustft.errors import RobustftError
from robustft.export.dvc_store import DVC_FILE, dvc, outputs_of, remote_name, stage_of
from robustft.files import ROOT, atomic_path, require_checkout
from robustft.plan import Plan

LOCK = "dvc.lock"
NAMED = 5


def get(plan: Plan, *, log: Callable[[str], None] = print) -> int:
    """Bring the files of a scale's published results that are missing here, and return their number.

    Raises RobustftError if nothing is published, no remote is set, DVC fails, or a file here is another than the
    published one. Then nothing has been touched.
    """
    require_checkout("get")
    if Path.cwd() != ROOT:
        raise RobustftError(
            "results are brought to the checkout itself",
            expected=ROOT,
            observed=Path.cwd(),
            next_step=f"cd {ROOT}, then robustft get",
        )
    name, stage = stage_of(plan)
    _published(name)
    remote = remote_name("get results from")
    store: Any = importlib.import_module("dvc.api")  # optional, and a second to import
    log(f"asking the remote '{remote}' for the results of scale {plan.scale}")
    dvc("fetch", name, next_step=f"check that '{remote}' can be reached, then robustft get again")
    files = store.DVCFileSystem(str(ROOT))
    stored = _stored(files, outputs_of(stage))
    _refuse_others(stored)
    missing = [path for path in stored if not Path(path).exists()]
    for path in missing:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(path) as part:
            files.get_file(path, str(part))
    log(f"{len(missing)} of {len(stored)} files were missing and are here now")
    return len(missing)


def _published(name: str) -> None:
    """Raise RobustftError if dvc.lock names no results of a stage."""
    path = ROOT / LOCK
    lock = yaml.safe_load(path.read_text(encoding="utf-8")) if path.is_file() else {}
    if name not in (lock or {}).get("stages", {}):
        raise RobustftError(
            f"no results of scale '{name}' are published in this commit",
            where=path,
            expected=f"an entry of the stage {name} of {DVC_FILE}",
            next_step="git pull, if they were published since; robustft run makes them here; "
            "robustft publish stores them for others",
        )


def _stored(files: Any, outputs: list[str]) -> dict[str, str]:
    """Return the MD5 of each stored file of some outputs, by its path."""
    stored = {}
    for output in outputs:
        for path, about in files.find(output, detail=True, dvc_only=True).items():
            stored[str(path).lstrip("/")] = about["dvc_info"]["md5"]
    return stored


def _refuse_others(stored: dict[str, str]) -> None:
    """Raise RobustftError if a file here is another than the stored one."""
    others = [path for path, md5 in stored.items() if Path(path).exists() and _md5(Path(path)) != md5]
    if others:
        more = f"; and {len(others) - NAMED} more" if len(others) > NAMED else ""
        raise RobustftError(
            f"{len(others)} results here are others than the published ones; nothing has been touched",
            where="; ".join(others[:NAMED]) + more,
            next_step="keep yours: robustft publish, or move the folder away; then robustft get again",
        )


def _md5(path: Path) -> str:
    """Return DVC's address of a file; what proves a file is the SHA-256 in its record."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
