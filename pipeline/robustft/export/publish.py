"""`robustft publish`: send audited results to the DVC remote, and write a crate of them.

Only results that can be traced are sent. The tree must be clean, the audit must pass and know every file, and the files
that each step ran from must be in a commit of a branch or tag. After a failure the same command goes on: every part can
be repeated, and DVC sends only the files that the remote lacks.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

from robustft.errors import RobustftError
from robustft.export.audit_gate import audited, default_target
from robustft.export.crate import export_crate
from robustft.export.dvc_store import dvc, git, outputs_of, remote_name, run, stage_of
from robustft.files import ROOT, require_checkout
from robustft.plan import RESULTS, Plan
from robustft.provenance.record import read_record
from robustft.provenance.statements import files_beside

AGAIN = "then run robustft publish again"


def publish(plan: Plan, *, log: Callable[[str], None] = print) -> Path:
    """Audit a scale, store its results with DVC, push them, write its crate, and return the crate's path.

    Raises RobustftError if the tree is not clean, the audit fails, a step cannot be traced to a commit, the audit does
    not know a result, no remote is set, or DVC fails. Earlier publications stay as they are.
    """
    require_checkout("publish")
    if Path.cwd() != ROOT:
        raise RobustftError(
            "results are published from the checkout that made them",
            expected=ROOT,
            observed=Path.cwd(),
            next_step=f"cd {ROOT}, {AGAIN}",
        )
    if not git("rev-parse", "--verify", "--quiet", "HEAD"):
        raise RobustftError(
            "nothing is published from a folder of which git has no commit",
            where=ROOT,
            next_step=f"clone the project with git, run snakemake in the clone, {AGAIN}",
        )
    name, stage = stage_of(plan)
    _clean_tree(stage["deps"])
    remote = remote_name("publish to")
    standing = audited(plan, unaudited=False, log=log)
    _only_planned(plan, outputs_of(stage))
    _traceable(plan)
    log(f"storing the results of scale {plan.scale}")
    dvc("commit", "--force", name, next_step=f"solve the problem that it names, {AGAIN}")
    log(f"sending them to the remote '{remote}'; files that it has are not sent again")
    # DVC caches the list of files to push. If it is killed while it writes the list, the next push uses the incomplete
    # list, reports success, and a clone lacks files. An empty cache folder avoids that.
    with tempfile.TemporaryDirectory() as lists:
        dvc(
            *("push", name),
            next_step=f"check that the remote can be reached and has room, {AGAIN}; it sends only the missing files",
            DVC_SITE_CACHE_DIR=lists,
        )
    crate = export_crate(plan, default_target(plan, "crate"), log=log)
    log(f"published: root {standing.root}, crate {crate}")
    if git("status", "--porcelain", "--", "dvc.lock"):
        log("left to you: git add dvc.lock && git commit, then git push; in a clone `robustft get` gets the results")
    return crate


def _clean_tree(sources: list[str]) -> None:
    """Raise RobustftError if a tracked file was edited, or if a file among the sources is not tracked."""
    edited = git("status", "--porcelain", "--untracked-files=no", "--", ".", ":(exclude)dvc.lock").splitlines()
    new = git("ls-files", "--others", "--exclude-standard", "--", *sources).splitlines()
    changed = [*edited, *(f"{path} (git does not have it)" for path in new)]
    if changed:
        raise RobustftError(
            "nothing is published from a tree that is not clean",
            where=ROOT,
            expected="every file of the project as it was committed",
            observed="; ".join(changed[:5]) + (f"; and {len(changed) - 5} more" if len(changed) > 5 else ""),
            next_step=f"commit or undo the changes, run snakemake, {AGAIN}",
        )


def _only_planned(plan: Plan, outputs: list[str]) -> None:
    """Raise RobustftError if DVC would store a file of no step of the plan, which the audit does not know."""
    known = {path for step in plan.steps.values() for path in (*step.outputs.values(), step.record)}
    known |= {str(path) for path in files_beside(Path(RESULTS) / plan.scale)}
    folders = [folder for folder in map(Path, outputs) if folder.is_dir()]
    files = {str(path) for folder in folders for path in folder.rglob("*") if not path.is_dir()}
    unknown = {*files, *(path for path in outputs if Path(path) not in folders)} - known
    if unknown:
        ignored = run(sys.executable, "-m", "dvc", "check-ignore", *sorted(unknown)).stdout.splitlines()
        unknown -= set(ignored)
    if unknown:
        raise RobustftError(
            f"{len(unknown)} files among the results are of no step, so the audit does not know them",
            where=", ".join(sorted(unknown)[:5]),
            next_step=f"publish every paper of the scale at once; remove files that are not of the DAG, {AGAIN}",
        )


def _traceable(plan: Plan) -> None:
    """Raise RobustftError unless a branch or tag has the files that each step ran from, as its record names them."""
    by_commit: dict[str, dict[tuple[str, str], str]] = {}
    for step in plan.steps.values():
        if step.kind == "download":
            continue  # the published hash identifies its bytes, whatever code fetched them
        values = read_record(step.record).values
        commit, lock = values["environment"]["git"], values["environment"]["lock"]
        if commit["clean"] is not True:
            raise _untraceable(step.record, "edited files, or files that git did not know", observed=commit["commit"])
        files = by_commit.setdefault(commit["commit"], {(lock["path"], lock["sha256"]): step.record})
        for file in values["source"]["files"].items():
            files.setdefault(file, step.record)
    for commit, files in by_commit.items():
        if not git("for-each-ref", "--count=1", f"--contains={commit}"):
            raise _untraceable(next(iter(files.values())), "a commit that is on no branch or tag", observed=commit)
        hashes = _hashes_in(commit, {path for path, _ in files})
        for (path, sha256), record in files.items():
            if hashes[path] != sha256:
                raise _untraceable(record, f"another {path} than its commit holds", observed=commit)


def _untraceable(record: str, what: str, *, observed: str) -> RobustftError:
    return RobustftError(
        f"a step ran from {what}, so nobody else could repeat it",
        where=record,
        expected="a commit of a branch or tag, every file as it was committed",
        observed=f"commit {observed}",
        next_step=f"commit, remove the step's outputs (or make clean), run snakemake, {AGAIN}",
    )


def _hashes_in(commit: str, paths: Iterable[str]) -> dict[str, str | None]:
    """Return the SHA-256 of files in a commit, None for a file that it lacks."""
    hashes: dict[str, str | None] = {}
    for path in paths:
        process = subprocess.run(["git", "show", f"{commit}:./{path}"], cwd=ROOT, capture_output=True, check=False)
        hashes[path] = hashlib.sha256(process.stdout).hexdigest() if process.returncode == 0 else None
    return hashes
