"""A frozen checkout: one commit in its own folder, so that no edit reaches waiting or running jobs.

It is a clone, not a worktree: a worktree needs the first checkout, which a job in a container may not see.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from robustft.errors import RobustftError
from robustft.files import ROOT, require_checkout

PARTS = ("Snakefile", "config", "pipeline", "profiles", "envs", "docker")
"""The parts of a checkout that a run reads; an untracked file in them would be missing from the clone."""


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
    """Return the differences from the last commit: changed tracked files, and new files that a run would read."""
    tracked = _git(checkout, "status", "--porcelain", "--untracked-files=no", "--", ".", ":(exclude)dvc.lock")
    read = _git(checkout, "status", "--porcelain", "--untracked-files=all", "--", *PARTS)
    return list(dict.fromkeys([*tracked.splitlines(), *read.splitlines()]))


def freeze(folder: Path, *, checkout: Path = ROOT) -> Path:
    """Clone the checkout's commit into `folder`, under the commit's name, make it read-only, and return the clone.

    An existing clone is returned. Raises RobustftError if the checkout or the existing clone differs from the commit.
    """
    require_checkout("freeze")
    commit = _git(checkout, "rev-parse", "--verify", "HEAD")
    if differences := changes(checkout):
        raise RobustftError(
            "the checkout is not as committed, so a frozen copy would not be what you see",
            where=checkout,
            observed=", ".join(line.strip() for line in differences[:5]) + (" ..." if len(differences) > 5 else ""),
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
