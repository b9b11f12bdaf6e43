"""The job file: what a job must know, written by the process that plans and read by the process that works.

There is one JSON file for each step, or for each bundle of steps, named by its digest. A job that reads it needs
neither the configuration nor the planner, and an edit of the configuration does not reach a job that is planned.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from robustft.errors import IntegrityError
from robustft.files import storage_error
from robustft.plan.step import Bundle, Step
from robustft.provenance.lock import SCRATCH

SCHEMA = "robustft-job-1"
FIELDS = [field.name for field in dataclasses.fields(Step)]


def job_folder(scale: str) -> Path:
    """Return the folder of a scale's job files. Two scales may plan one digest with other inputs and outputs."""
    return Path(SCRATCH) / "jobs" / scale


def job_path(work: Step | Bundle, scale: str) -> Path:
    """Return where the job file of a step or bundle lies."""
    return job_folder(scale) / f"{work.digest}.json"


Complete = Callable[[Step | Bundle], Step | Bundle]
"""Adds to a step or bundle what only the planner knows and no digest covers: the origins of values."""


def write_jobs(works: Iterable[Step | Bundle], scale: str, *, complete: Complete = lambda work: work) -> None:
    """Write the job file of each step or bundle, unless it is there already with the same content."""
    for work in works:
        path, text = job_path(work, scale), _text(complete(work))
        try:
            if path.read_bytes() == text:
                continue
        except FileNotFoundError:
            pass
        _replace(path, text)


def _replace(path: Path, text: bytes) -> None:
    """Write a file whole or not at all.

    The disk is not waited for, as `atomic_path` does: a plan has thousands of these files, and the reader compares
    hashes.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        try:
            part.write_bytes(text)
        except FileNotFoundError:  # the first one of its scale
            path.parent.mkdir(parents=True, exist_ok=True)
            part.write_bytes(text)
        part.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        raise storage_error(error, doing=" while writing a job file", where=path) or error from error


def write_missing_jobs(works: Iterable[Step | Bundle], scale: str, *, complete: Complete = lambda work: work) -> None:
    """Write the job files that this machine does not see, by one look into their folder."""
    folder = job_folder(scale)
    present = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    missing = (work for work in works if job_path(work, scale).name not in present)
    write_jobs(missing, scale, complete=complete)


def read_job(path: str | Path) -> Step | Bundle:
    """Return the step or bundle of a job file.

    Raises IntegrityError if the file is missing, is not what `write_jobs` wrote, or holds another job than its name
    says.
    """
    path = Path(path)
    work = _work(_checked(path), path)
    if work.digest != path.stem:
        raise _refused("the job file holds another job", path, expected=path.stem, observed=work.digest)
    return work


def _text(work: Step | Bundle) -> bytes:
    if isinstance(work, Bundle):
        bundle, steps = {"name": work.name, "paper": work.paper}, work.steps
    else:
        bundle, steps = None, (work,)
    fields = [{name: getattr(step, name) for name in FIELDS} for step in steps]
    job = _json({"schema": SCHEMA, "bundle": bundle, "steps": fields})
    return f'{{"job":{job},"sha256":"{_sha256(job)}"}}\n'.encode()


def _json(value: Any) -> str:
    """Return JSON that keeps the order of keys: that of `outputs` and of a table's methods means something."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _checked(path: Path) -> dict[str, Any]:
    """Return the job of a file whose content has the hash that is written in it."""
    try:
        content = json.loads(path.read_bytes())
        job, sha256 = content["job"], content["sha256"]
        observed = _sha256(_json(job))
    except FileNotFoundError as error:
        raise _refused("the job file is missing", path, observed="no such file") from error
    except (ValueError, KeyError, TypeError) as error:  # no JSON, cut off, or JSON of another kind
        raise _refused("the job file is damaged", path, observed=error) from error
    if observed != sha256:
        raise _refused("the job file was edited", path, expected=f"content of hash {sha256}", observed=observed)
    return job  # type: ignore[no-any-return]


def _work(job: dict[str, Any], path: Path) -> Step | Bundle:
    try:
        if job["schema"] != SCHEMA:
            raise _refused("the job file is of another version", path, expected=SCHEMA, observed=job["schema"])
        steps = [Step(**{**step, "implementations": tuple(step["implementations"])}) for step in job["steps"]]
        return Bundle(**job["bundle"], steps=tuple(steps)) if job["bundle"] else steps[0]
    except (KeyError, TypeError, IndexError) as error:
        raise _refused("the job file is no job file", path, observed=error) from error


def _refused(what: str, path: Path, *, observed: object, expected: object = None) -> IntegrityError:
    return IntegrityError(
        what,
        where=path,
        expected=expected or "the file that the planner wrote before it started this job",
        observed=observed,
        next_step="start snakemake again, which writes it anew; by hand: robustft KIND ID --scale SCALE",
    )
