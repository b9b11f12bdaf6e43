"""Checks of records against each other and the world: what cannot be, whatever all hashes say."""

from __future__ import annotations

import csv
import datetime
import hashlib
import io
from collections import defaultdict

from robustft.files import IS_WHEEL, ROOT, open_regular, sha256_file
from robustft.plan.sources import ELSEWHERE, LOCK, locked_versions, normalised
from robustft.provenance.audit_state import AuditState, several
from robustft.provenance.checkout import blob_hashes
from robustft.provenance.run import MEASURED

AHEAD = datetime.timedelta(minutes=10)
"""How far another machine's clock may be ahead of this one's."""

SLACK_S = 60.0
"""How much longer a step may have worked than passed between its start and end: clocks are set while it works."""


def check_times(state: AuditState) -> None:
    """Find steps that ended before they started, worked longer than that took, or have not ended yet."""
    now = datetime.datetime.now(datetime.UTC)
    for key, record in state.records.items():
        told = record.values["circumstances"]
        started, ended = (datetime.datetime.fromisoformat(told[name]) for name in ("started", "ended"))
        passed = (ended - started).total_seconds()
        if ended > now + AHEAD:
            state.add("impossible-time", record.path, f"{key} ends in the future, at {told['ended']}")
        elif passed < 0:
            text = f"{key} ends at {told['ended']}, before its start, {told['started']}"
            state.add("impossible-time", record.path, text)
        elif told["seconds"] > passed + SLACK_S:
            text = f"{key} worked {told['seconds']:.0f} s in the {passed:.0f} s from its start to its end"
            state.add("impossible-time", record.path, text)


def check_seeds(state: AuditState) -> None:
    """Find trainings of several seeds whose weights are the same to the last bit."""
    by_weights: dict[tuple[str, str], list[str]] = defaultdict(list)
    for step in state.plan.of_kind("train"):
        run, _, seed = step.id.rpartition("/seed")
        path = step.outputs["checkpoint"]
        if run and step.key in state.records and step.spec["recipe"]["epochs"] and state.intact([path]):
            by_weights[run, _weights(path)].append(seed)
    for (run, _), seeds in by_weights.items():
        if len(seeds) > 1:
            path = state.plan.step("train", f"{run}/seed{seeds[-1]}").outputs["checkpoint"]
            state.add(
                "equal-seeds", path, f"the weights of seeds {', '.join(seeds)} of {run} are equal to the last bit"
            )


def check_histories(state: AuditState) -> None:
    """Find histories of trainings without exactly one line for each epoch of the specification."""
    for step in state.plan.of_kind("train"):
        path = step.outputs["history"]
        if step.key in state.records and state.intact([path]):
            state.guarded(_check_history, state, path, step.spec["recipe"]["epochs"], subject=path)


def _check_history(state: AuditState, path: str, epochs: int) -> None:
    with open_regular(path) as stream, io.TextIOWrapper(stream, encoding="utf-8", newline="") as text:
        found = [row["epoch"] for row in csv.DictReader(text)]
    if found != [str(epoch) for epoch in range(1, epochs + 1)]:
        told = ", ".join(map(str, found[:5])) + ("..." if len(found) > 5 else "")
        state.add("wrong-history", path, f"its epochs are {told or 'none'}, its specification has 1 to {epochs}")


def _weights(path: str) -> str:
    """Return the hash of a checkpoint's tensors: its description, before them, has the seed."""
    with open_regular(path) as stream:
        length = int.from_bytes(stream.read(8), "little")
        stream.seek(8 + length)
        return hashlib.file_digest(stream, "sha256").hexdigest()


def check_packages(state: AuditState) -> None:
    """Find records that call packages as locked which are not in the lock that they name."""
    lock = ROOT / LOCK
    locked, sha256 = locked_versions(lock), sha256_file(lock)
    by_environment: dict[str, list[str]] = defaultdict(list)
    for key, record in state.records.items():
        environment = record.values["environment"]
        if environment["lock"]["sha256"] == sha256:
            packages = environment["packages"].items()
            other = {name for name, version in packages if version not in locked.get(normalised(name), ())}
            if untold := sorted(other - set(environment["lock"]["not_as_locked"])):
                versions = ", ".join(f"{name} {environment['packages'][name]}" for name in untold)
                by_environment[versions].append(key)
    for versions, keys in by_environment.items():
        text = f"it calls packages as locked that {LOCK} does not have: {versions} (in {several(keys)})"
        state.add("impossible-packages", state.records[keys[0]].path, text)


def check_code(state: AuditState) -> None:
    """Find steps that loaded files of packages other than installed, or modules that nothing accounts for."""
    by_code: dict[tuple[str, str], list[str]] = defaultdict(list)
    silent = 0
    for key, record in state.records.items():
        code = record.values["environment"].get("code")
        silent += code is None and state.plan.steps[key].kind in MEASURED
        for kind, names in (code or {}).items():
            for name in names:
                by_code[kind, name].append(key)
    for (kind, name), keys in by_code.items():
        what = "a package's file was not as installed" if kind == "changed" else "a module of no package was loaded"
        state.add("changed-code", name, f"{what} ({several(keys)})")
    if silent:
        state.report.notes.append(f"{silent} of {len(state.records)} steps do not say what code they loaded")
    startup = {name for one in state.records.values() for name in one.values["circumstances"].get("startup", {})}
    if startup:
        state.report.notes.append(f"files that Python ran before the steps: {', '.join(sorted(startup))}")


def check_taken_over(state: AuditState) -> None:
    """Find steps that build on an earlier attempt and say that there was none; note those that build on one."""
    resumed = []
    for key, record in state.records.items():
        told = record.values["circumstances"]
        if pieces := told.get("taken_over"):
            resumed.append(key)
            if told["attempt"] == 1:
                text = f"{key} took over {len(pieces)} pieces of an earlier attempt, and says that this was the first"
                state.add("impossible-resume", record.path, text)
    if resumed:
        text = "steps took over pieces of earlier attempts, whose making no record saw"
        state.report.notes.append(f"{len(resumed)} {text}: {several(resumed)}")


def check_commits(state: AuditState) -> None:
    """Compare the source files of records with the commit that they name, if they say that the tree was clean."""
    if IS_WHEEL:
        return
    told: dict[tuple[str, str], dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    commits: dict[str, list[str]] = defaultdict(list)
    for key, record in state.records.items():
        git = record.values["environment"]["git"]
        if git["clean"] and git["commit"] and not git.get("wheel"):
            commits[git["commit"]].append(key)
            for name, sha256 in record.values["source"]["files"].items():
                if not name.startswith(ELSEWHERE):
                    told[git["commit"], name][sha256].append(key)
    known = {commit for (commit, _), sha256 in blob_hashes([(c, "pyproject.toml") for c in commits]).items() if sha256}
    for commit in sorted(set(commits) - known):
        note = f"this repository does not have commit {commit[:12]}, so its files were not compared"
        state.report.notes.append(f"{note} ({several(commits[commit])})")
    for (commit, name), held in blob_hashes(key for key in told if key[0] in known).items():
        for sha256, keys in told[commit, name].items():
            if sha256 != held:
                text = f"{several(keys)} ran from a clean tree of {commit[:12]}, it says, where {name} is another file"
                state.add("forged-commit", state.records[keys[0]].path, text)


CHECKS = (check_times, check_seeds, check_histories, check_packages, check_code, check_taken_over, check_commits)
