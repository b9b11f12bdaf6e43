"""Adopting results of another machine: Snakemake takes the results that verify as its own and makes the others again.

After `git clone` and `dvc pull` Snakemake has no metadata of the files, and their times are those of the download. So
it would run every step again, and would not notice a later edit of the source. The records replace its metadata. A step
is adopted if its record has this configuration and this source, and if its outputs and inputs are the recorded files.
Snakemake then notes them as its own outputs.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

from robustft.errors import RobustftError
from robustft.files import sha256_files
from robustft.plan import Plan
from robustft.plan.sources import source_hashes
from robustft.plan.step import Step
from robustft.provenance.record import Record, read_record

UNKNOWN = "is not here"


class _Verifier:
    """Compares each step, in plan order, with its record."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.hashes = sha256_files(path for step in plan.steps.values() for path in step.outputs.values())
        self.records: dict[str, Record] = {}
        """The records of the steps that verify, by key."""
        self.source: dict[tuple[str, ...], dict[str, str]] = {}

    def problem(self, step: Step) -> str | None:
        """Return why a step's results cannot be adopted; None if they verify."""
        if not Path(step.record).is_file():
            return UNKNOWN
        try:
            record = read_record(step.record)
        except RobustftError as error:
            return str(error).splitlines()[-1].strip()
        problem = self._identity(step, record.values) or self._outputs(step, record) or self._inputs(step, record)
        if problem is None:
            self.records[step.key] = record
        return problem

    def _identity(self, step: Step, values: dict[str, Any]) -> str | None:
        if (values["step"]["kind"], values["step"]["id"]) != (step.kind, step.id):
            return f"its record is of {values['step']['kind']}:{values['step']['id']}"
        if values["step"]["spec"] != step.spec:
            return "it was made with another configuration"
        files = tuple(step.sources())
        now = self.source[files] = self.source.get(files) or source_hashes(list(files))
        # The published hash identifies a download's bytes, whatever code fetched them.
        same = step.kind == "download" or values["source"]["files"] == now
        return None if same else "it was made by other source files"

    def _outputs(self, step: Step, record: Record) -> str | None:
        for path in step.outputs.values():
            entry = record.output(path)
            if self.hashes[path] is None:
                return f"{path} is missing"
            if entry is None or entry["sha256"] != self.hashes[path]:
                return f"{path} is not what its record says"
        return None

    def _inputs(self, step: Step, record: Record) -> str | None:
        vouchers = record.values["circumstances"].get("vouchers", {})
        for role, path in step.inputs.items():
            producer = self.plan.producer(path)
            if producer is None:
                continue
            if producer.key not in self.records:
                return f"it read what {producer.key} made, which does not verify"
            output, entry = self.records[producer.key].output(path), record.values["inputs"].get(role)
            if output is None or entry is None or output["sha256"] != entry["sha256"]:
                return f"it read another {path}"
            if vouchers.get(role, {}).get("sha256") != self.records[producer.key].sha256:
                return f"it quotes another record of {producer.key}"
        return None


Job = tuple[Step, ...]
"""The steps that run together: those of a bundle, or one."""


def _jobs(plan: Plan) -> dict[str, Job]:
    """Return the job of each step, by the step's key."""
    bundles = plan.bundles() if plan.config.scale["bundle"] else []
    return {step.key: (step,) for step in plan.steps.values()} | {
        step.key: bundle.steps for bundle in bundles for step in bundle.steps
    }


def _read_by(plan: Plan, job: Job) -> dict[str, Step]:
    """Return the steps outside a job whose outputs it reads, each with the step of the job that does."""
    own = {step.key for step in job}
    reads = {p.key: step for step in job for path in step.inputs.values() if (p := plan.producer(path))}
    return {key: step for key, step in reads.items() if key not in own}


def _in_order(plan: Plan) -> Iterator[Job]:
    """Yield the jobs, each after all that it reads from: a bundle may read what is planned after its first step."""
    jobs = _jobs(plan)
    first = {key: job[0].key for key, job in jobs.items()}
    graph = {job[0].key: {first[key] for key in _read_by(plan, job)} for job in jobs.values()}
    for key in TopologicalSorter(graph).static_order():
        yield jobs[key]


def adoptable(plan: Plan) -> tuple[list[Step], dict[str, str]]:
    """Return the steps whose results verify, and the problem of each other step by its key.

    A job is adopted as a whole, and only if every step that it reads from is adopted.
    """
    verifier = _Verifier(plan)
    problems = {step.key: problem for step in plan.steps.values() if (problem := verifier.problem(step))}
    adopted: dict[str, Step] = {}
    for job in _in_order(plan):
        for key, step in _read_by(plan, job).items():
            if key not in adopted:
                problems.setdefault(step.key, f"it read what {key} made, which runs again")
        cause = next((step.key for step in job if step.key in problems), None)
        if cause is None:
            adopted |= {step.key: step for step in job}
            continue
        for step in job:
            problems.setdefault(step.key, f"the job that makes it runs again, for {cause}: {problems[cause]}")
    return list(adopted.values()), problems


def adopt(plan: Plan, *, log: Callable[[str], None] = print) -> None:
    """Make every step of a plan whose results verify known to Snakemake.

    Raises RobustftError if Snakemake refuses them, for example while it runs in this folder.
    """
    log(f"verifying {len(plan.steps)} steps of scale {plan.scale}")
    steps, problems = adoptable(plan)
    for key, problem in problems.items():
        if problem != UNKNOWN:
            log(f"not adopted: {key}: {problem}")
    if missing := sum(problem == UNKNOWN for problem in problems.values()):
        log(f"not adopted, without a record here: {missing}")
    if steps:
        _touch(plan, steps)
    log(f"{len(steps)} of {len(plan.steps)} steps verify and are known to Snakemake; it makes the others")


def _touch(plan: Plan, steps: list[Step]) -> None:
    """Let Snakemake set the times of the steps' files in the order of the DAG and write its metadata of them."""
    targets = [next(iter(step.outputs.values())) for step in steps]
    config = [f"scale={plan.scale}", f"papers=[{','.join(plan.config.papers)}]"]
    config += [f"seeds={plan.config.seeds}"] if plan.config.seeds else []
    command = [sys.executable, "-m", "snakemake", "--touch", "--forceall", "--cores", "1", "--quiet", "all"]
    done = subprocess.run([*command, "--config", *config, "--", *targets], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RobustftError(
            "Snakemake does not take the results",
            where=Path.cwd(),
            observed="\n".join((done.stdout + done.stderr).strip().splitlines()[-6:]),
            next_step="solve the problem that it names, then run robustft adopt again; no file has been changed",
        )
