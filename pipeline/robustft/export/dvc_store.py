"""The DVC store of a checkout: its remote, the stage that names a scale's results, and DVC's own commands."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from typing import Any

import yaml

from robustft.errors import RobustftError
from robustft.files import ROOT
from robustft.plan import RESULTS, Plan

DVC_FILE = "dvc.yaml"


def run(*command: str) -> subprocess.CompletedProcess[str]:
    """Run a command in the checkout and return what it printed."""
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def git(*arguments: str) -> str:
    """Return the output of git in the checkout; an empty text if git fails."""
    return run("git", *arguments).stdout.strip()


def remote_name(purpose: str) -> str:
    """Return the name of the default remote. Raises RobustftError if there is none, or no DVC."""
    if importlib.util.find_spec("dvc") is None:
        raise RobustftError(
            "DVC is not installed",
            where=sys.executable,
            expected="the packages of envs/dev.txt: a run needs no DVC, so envs/run.txt has none",
            next_step="make install, or pip install '.[share]'",
        )
    if name := run(sys.executable, "-m", "dvc", "config", "core.remote").stdout.strip():
        return name
    raise RobustftError(
        f"DVC has no default remote to {purpose}",
        where=ROOT / ".dvc" / "config",
        next_step="dvc remote add --local --default NAME WHERE   (WHERE: a folder, s3://..., ssh://...)",
    )


def stage_of(plan: Plan) -> tuple[str, dict[str, Any]]:
    """Return the stage of dvc.yaml whose outputs are the scale's results, and its name."""
    stages = yaml.safe_load((ROOT / DVC_FILE).read_text(encoding="utf-8"))["stages"]
    for name, stage in stages.items():
        if f"{RESULTS}/{plan.scale}" in outputs_of(stage):
            return str(name), stage
    raise RobustftError(
        f"no stage of {DVC_FILE} has the results of scale '{plan.scale}'",
        where=ROOT / DVC_FILE,
        observed=f"stages: {', '.join(stages)}",
        next_step="add one like the others, with `frozen: true` if dvc repro should not run it, and commit it",
    )


def outputs_of(stage: dict[str, Any]) -> list[str]:
    """Return the paths of a stage's outputs."""
    return [next(iter(out)) if isinstance(out, dict) else out for out in stage.get("outs", [])]


def dvc(*arguments: str, next_step: str, **variables: str) -> None:
    """Run DVC in the checkout with its own output. Raises RobustftError if it fails."""
    command = [sys.executable, "-m", "dvc", *arguments]
    done = subprocess.run(command, cwd=ROOT, env={**os.environ, **variables}, check=False)
    if done.returncode:
        raise RobustftError(
            f"dvc {arguments[0]} failed",
            where=ROOT,
            observed=f"exit status {done.returncode}; its own messages are above",
            next_step=next_step,
        )
