"""`robustft publish`: what passed the audit goes to the DVC remote, and a crate of it is written.

Nothing is sent of a run that cannot be traced: not from a tree that was edited, not past a failed audit, and not if a
step ran from edited files or from a commit that nobody else can have. Each part can be repeated, so after a failure
the same command goes on: DVC sends only what the remote lacks.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from pipeline.errors import RobustftError
from pipeline.export.crate import export_crate
from pipeline.export.gate import audited, default_target
from pipeline.files import ROOT
from pipeline.plan import RESULTS, Plan
from pipeline.provenance.environment import git_state
from pipeline.provenance.record import read_record

DVC_FILE = "dvc.yaml"


def publish(plan: Plan, *, say: Callable[[str], None] = print) -> Path:
    """Audit a scale, store its results with DVC, push them, write its crate, and return the crate's path.

    Raises RobustftError if the tree is not clean, the audit fails, a step cannot be traced to a commit, no remote is
    set, or DVC fails; in each case nothing that was published before is lost.
    """
    _clean_tree()
    remote = _remote()
    stage = _stage(plan)
    standing = audited(plan, unaudited=False, say=say)
    _traceable(plan)
    say(f"storing the results of scale {plan.scale}")
    _dvc("commit", "--force", stage, next_step="mend what it says and run robustft publish again")
    say(f"sending them to the remote '{remote}'")
    _dvc("push", stage, next_step="see that the remote can be reached and has room, then run robustft publish again")
    crate = export_crate(plan, default_target(plan, "crate"), say=say)
    say(f"published: root {standing.root}, crate {crate}")
    if _git("status", "--porcelain", "--", "dvc.lock"):
        say(
            "left to you: git add dvc.lock && git commit, then git push; who clones that commit can `dvc pull` the rest"
        )
    return crate


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(ROOT), *arguments], capture_output=True, text=True, check=False)
    return done.stdout.strip()


def _clean_tree() -> None:
    state = git_state()
    if state["clean"] is True:
        return
    changed = _git("status", "--porcelain", "--untracked-files=no", "--", ".", ":(exclude)dvc.lock").splitlines()
    raise RobustftError(
        "nothing is published from a tree that is not clean",
        where=ROOT,
        expected="every tracked file as it was committed",
        observed="; ".join(changed[:5]) if state["clean"] is False else "git does not know this folder",
        next_step="commit or undo the changes, run snakemake, then robustft publish",
    )


def _remote() -> str:
    """Return the name of the default remote."""
    done = subprocess.run(
        [sys.executable, "-m", "dvc", "config", "core.remote"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if name := done.stdout.strip():
        return name
    raise RobustftError(
        "DVC has no default remote to publish to",
        where=ROOT / ".dvc" / "config",
        next_step="dvc remote add --local --default NAME WHERE   (WHERE: a folder, s3://..., ssh://...)",
    )


def _stage(plan: Plan) -> str:
    """Return the stage of dvc.yaml whose outputs are the scale's results."""
    stages = yaml.safe_load((ROOT / DVC_FILE).read_text(encoding="utf-8"))["stages"]
    for name, stage in stages.items():
        if f"{RESULTS}/{plan.scale}" in _outputs(stage):
            return str(name)
    raise RobustftError(
        f"no stage of {DVC_FILE} has the results of scale '{plan.scale}'",
        where=ROOT / DVC_FILE,
        observed=f"stages: {', '.join(stages)}",
        next_step="add one like the others, with `frozen: true` if dvc repro should not run it, and commit it",
    )


def _outputs(stage: dict[str, Any]) -> list[str]:
    return [next(iter(out)) if isinstance(out, dict) else out for out in stage.get("outs", [])]


def _traceable(plan: Plan) -> None:
    """Raise RobustftError if a step ran from edited files or from a commit that is not in this repository's history."""
    known: dict[str | None, bool] = {None: False}
    for step in plan.steps.values():
        git = read_record(step.record).values["environment"]["git"]
        commit = git["commit"]
        if commit not in known:
            known[commit] = bool(_git("rev-parse", "--verify", "--quiet", f"{commit}^{{commit}}"))
        if git["clean"] is not True or not known[commit]:
            what = (
                "files that were edited since their commit" if known[commit] else "a commit that is not in this history"
            )
            raise RobustftError(
                f"{step.key} ran from {what}",
                where=step.record,
                expected="a commit of this repository, every tracked file as it was committed",
                observed=f"commit {commit}, clean: {git['clean']}",
                next_step="commit, remove the step's outputs (or make clean), run snakemake, then robustft publish",
            )


def _dvc(*arguments: str, next_step: str) -> None:
    """Run DVC in the checkout with its progress shown. Raises RobustftError with its last words if it fails."""
    process = subprocess.run(
        [sys.executable, "-m", "dvc", *arguments], cwd=ROOT, stderr=subprocess.PIPE, text=True, check=False
    )
    if process.returncode:
        raise RobustftError(
            f"dvc {arguments[0]} failed",
            where=ROOT,
            observed="\n".join(process.stderr.strip().splitlines()[-4:]),
            next_step=next_step,
        )
