"""A frozen checkout: one commit in a folder of its own, so that no edit reaches jobs that wait or run.

It is a clone and no worktree: a job in a container sees its history too, wherever the first checkout lies.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from robustft.errors import RobustftError
from robustft.files import ROOT, require_checkout

PARTS = ("Snakefile", "config", "pipeline", "profiles", "envs", "docker")
"""What a run reads of a checkout; an untracked file there would be missing from the frozen one."""


def _git(folder: Path, *arguments: str) -> str:
    try:
        result = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=True)
    except FileNotFoundError:
        raise RobustftError("git is not installed", next_step="install git") from None
    except subprocess.CalledProcessError as error:
        raise RobustftError(
            f"git {arguments[0]} failed",
            where=folder,
            observed=error.stderr.strip(),
            next_step="run this in a clone of the repository",
        ) from None
    return result.stdout.strip("\n")


def changes(checkout: Path) -> list[str]:
    """Return what a clone of the last commit would lack: changed tracked files, and new files that a run would read."""
    tracked = _git(checkout, "status", "--porcelain", "--untracked-files=no", "--", ".", ":(exclude)dvc.lock")
    read = _git(checkout, "status", "--porcelain", "--untracked-files=all", "--", *PARTS)
    return list(dict.fromkeys([*tracked.splitlines(), *read.splitlines()]))


def freeze(folder: Path, *, checkout: Path = ROOT) -> Path:
    """Clone the checkout's commit into `folder`, under the commit's name, make it read-only, and return the clone.

    A clone that is there already is returned again. Raises RobustftError if the checkout is not as committed, or if the
    clone has been edited.
    """
    require_checkout("freeze")
    commit = _git(checkout, "rev-parse", "--verify", "HEAD")
    if found := changes(checkout):
        raise RobustftError(
            "the checkout is not as committed, so a frozen copy would not be what you see",
            where=checkout,
            observed=", ".join(line.strip() for line in found[:5]) + (" ..." if len(found) > 5 else ""),
            next_step="commit these files (or remove them), then freeze again",
        )
    target = folder / commit[:12]
    if target.exists():
        _check(target, commit)
        return target
    part = folder / f".{commit[:12]}.part"
    shutil.rmtree(part, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    _git(folder, "clone", "--quiet", "--no-checkout", str(checkout), str(part.resolve()))
    _git(part, "checkout", "--quiet", "--detach", commit)
    for name in _git(part, "ls-files", "-z").split("\0"):
        if name and not (part / name).is_symlink():
            (part / name).chmod((part / name).stat().st_mode & ~0o222)
    part.rename(target)
    return target


def _check(clone: Path, commit: str) -> None:
    """Raise RobustftError unless a clone holds this commit, unedited."""
    head = _git(clone, "rev-parse", "--verify", "HEAD")
    if head != commit or changes(clone):
        raise RobustftError(
            "the frozen checkout has been edited",
            where=clone,
            expected=commit,
            observed=", ".join([head, *changes(clone)[:5]]),
            next_step="delete that folder when no job runs from it, then freeze again",
        )


def how_to_run(clone: Path) -> str:
    """Return the commands that run and audit from a frozen checkout, with results in the working directory."""
    profile = f"{clone}/profiles/slurm"
    return (
        f"frozen: {clone}\n"
        f"run:    snakemake --snakefile {clone}/Snakefile --workflow-profile {profile} --config scale=SCALE\n"
        f"audit:  PYTHONPATH={clone}/pipeline robustft audit --scale SCALE"
    )
