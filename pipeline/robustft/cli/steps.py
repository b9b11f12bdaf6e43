"""Commands that run a step or a bundle of steps.

Modules are imported inside the commands: most commands start without torch, and a job without the planner.
"""

from __future__ import annotations

import argparse
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from robustft.cli.common import logger, planned
from robustft.errors import RobustftError

if TYPE_CHECKING:
    from robustft.plan.step import Bundle, Step


def step_command(arguments: argparse.Namespace) -> int:
    """Plan one step, write its job file and run it."""
    from robustft.provenance.job import job_path, write_jobs
    from robustft.provenance.origins import with_origins

    plan = planned(arguments)
    step = plan.step(arguments.command, arguments.id)
    write_jobs([with_origins(plan, step)], plan.scale)
    return _run(job_path(step, plan.scale), arguments.log, by_hand=True)


def bundle_command(arguments: argparse.Namespace) -> int:
    """Plan one bundle, write its job file and run it."""
    from robustft.provenance.job import job_path, write_jobs
    from robustft.provenance.origins import with_origins

    plan = planned(arguments)
    bundle = plan.bundle(arguments.name)
    write_jobs([with_origins(plan, bundle)], plan.scale)
    return _run(job_path(bundle, plan.scale), arguments.log, by_hand=True)


def job_command(arguments: argparse.Namespace) -> int:
    """Run the step or bundle of a job file; nothing is planned."""
    return _run(arguments.file, arguments.log, by_hand=False)


def _run(file: Path, log_file: Path | None, *, by_hand: bool) -> int:
    """Run a job file, by hand or for the workflow.

    Return the exit status: 0 if it is done, 2 for an error that the user can solve, else 1.
    """
    from robustft.files import storage_error
    from robustft.plan.step import Bundle
    from robustft.provenance.by_hand import note
    from robustft.provenance.job import read_job
    from robustft.provenance.run import launcher_of

    job = read_job(file)
    if isinstance(job, Bundle):
        log = logger(job.name, log_file)
    else:
        rank = launcher_of(job).rank
        log = logger(f"{job.id}, start {rank}") if rank else logger(job.id, log_file)
    try:
        _work(job, log)
        if by_hand:
            note(job.steps if isinstance(job, Bundle) else [job])
        return 0
    except Exception as error:  # noqa: BLE001 (every error goes to the log and becomes an exit status)
        known = error if isinstance(error, RobustftError) else storage_error(error)
        log(f"error: {known}" if known else "".join(traceback.format_exception(error)))
        return 2 if known else 1


def _work(job: Step | Bundle, log: Callable[[str], None]) -> None:
    from robustft.plan.step import Bundle
    from robustft.provenance.bundle import run_bundle
    from robustft.provenance.run import run_step

    if isinstance(job, Bundle):
        run_bundle(job, log=log)
    else:
        run_step(job, log=log)
