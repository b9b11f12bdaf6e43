"""`robustft run`: run the Snakefile of this project in the current folder.

Results, logs and scratch files go to the current folder, so it works from a checkout and from a wheel.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from robustft.cli.common import place
from robustft.data.fetch.mirror import MIRROR, OFFLINE, folders
from robustft.errors import RobustftError
from robustft.files import ROOT

if TYPE_CHECKING:
    from robustft.plan import Plan

CONFIG = ("--config", "-C")
PLACES = ("--cores", "-c", "--jobs", "-j", "--executor", "-e", "--profile", "--workflow-profile")
"""Snakemake's options for the place of jobs; without any of them it uses every core of this machine."""

RUNS_JOBS = {
    *CONFIG,
    *PLACES,
    *("--keep-going", "-k", "--until", "--omit-from", "--forcerun", "-R", "--force", "-f", "--forceall", "-F"),
    *("--rerun-triggers", "--rerun-incomplete", "--retries", "--nolock", "--latency-wait", "--resources"),
    *("--default-resources", "--set-resources", "--set-threads", "--use-singularity", "--use-apptainer"),
    *("--software-deployment-method", "--sdm", "--singularity-args", "--apptainer-args"),
}
"""Snakemake's options that leave a run a run. With any other one (`-n`, `--report`), Snakemake itself speaks."""


FORCE = {"--forcerun", "-R", "--force", "-f", "--forceall", "-F", "--rerun-triggers"}
"""Snakemake's options that run again what is there."""


def add_run(add) -> None:  # type: ignore[no-untyped-def]
    """Add the subcommand `run` to the parser."""
    command = add(
        "run", "run the workflow here, or the part of it that some targets need; `--` begins Snakemake's options", run
    )
    command.add_argument("words", nargs="*", metavar="TARGET", help="files or rules of the workflow (default: all)")
    command.add_argument(
        "--mirror", metavar="FOLDER", action="append", type=place, help="where published files may lie already"
    )
    command.add_argument("--offline", action="store_true", help="do not use the network")
    command.add_argument("--verbose", action="store_true", help="show all that Snakemake and the jobs print")


def run(arguments: argparse.Namespace) -> int:
    """Run Snakemake and show its progress; its own output where it is asked for, or where it runs no jobs."""
    if importlib.util.find_spec("snakemake") is None:
        raise RobustftError(
            "Snakemake is not installed", where=sys.executable, next_step="install the packages of envs/run.txt"
        )
    command = snakemake_command(arguments.words, scale=arguments.scale, papers=arguments.papers, seeds=arguments.seeds)
    targets, options = _split(arguments.words)
    if arguments.mirror:
        os.environ[MIRROR] = os.pathsep.join(str(folder.absolute()) for folder in arguments.mirror)
        folders()  # one that does not exist is an error now, not in the first download
    if arguments.offline:
        os.environ[OFFLINE] = "1"
    if arguments.verbose or not all(map(_runs_jobs, options)):
        print(f"$ {shlex.join(command)}", file=sys.stderr, flush=True)
        # -P: Python does not import modules from the current folder.
        os.execv(sys.executable, [sys.executable, "-P", "-m", *command])
    return _watched(arguments, command[1:], targets)


def _runs_jobs(option: str) -> bool:
    """Tell whether a word is an option of `RUNS_JOBS`, or a value of one that changes no plan."""
    if option.startswith(("scale=", "papers=", "seeds=")):
        return False
    return not option.startswith("-") or option.split("=")[0] in RUNS_JOBS or option[:2] in ("-c", "-j")


def _watched(arguments: argparse.Namespace, command: Sequence[str], targets: Sequence[str]) -> int:
    """Run Snakemake as a child and show its progress."""
    from robustft.cli.common import planned
    from robustft.cli.display import Display, duration
    from robustft.cli.progress import Progress, wanted_steps
    from robustft.cli.watch import watch
    from robustft.cost import CostModel
    from robustft.cost.machines import machine_for

    plan = planned(arguments)
    model = CostModel(plan, machine_for(plan.config.scale["device"]))
    progress = Progress(plan, wanted_steps(plan, targets), model=model)
    display = Display(progress)
    pending = progress.steps - progress.done
    seeds = ", one seed of each method (--seeds 3 gives spreads)" if plan.config.seeds == 1 else ""
    display.say(f"scale {plan.scale}{seeds}: {pending} of {progress.steps} steps are to be done")
    # Records that name this configuration and this source need no second opinion, which would take ten seconds.
    asked = pending or any(option.split("=")[0] in FORCE for option in command)
    log = Path("logs") / plan.scale / "workflow.log"
    status = watch(command, progress, display, log=log) if asked else 0
    if status == 0:
        display.say(f"done in {duration(progress.elapsed_s)}")
        for line in _where(plan):
            print(line)
    return status


def _where(plan: Plan) -> list[str]:
    """Return where the results are, and what to type next."""
    from robustft.plan import RESULTS

    folder = f"{RESULTS}/{plan.scale}"
    return [
        f"tables:   {folder}/*/tables/*.md",
        f"figures:  {folder}/*/figures/*.svg",
        f"verdicts: {folder}/*/verdicts.md",
        f"check:    robustft audit --scale {plan.scale}",
        f"browse:   robustft export page --scale {plan.scale}",
    ]


def _split(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the targets, and Snakemake's options: these begin at the first word with a dash."""
    first = next((number for number, word in enumerate(words) if word.startswith("-")), len(words))
    return list(words[:first]), list(words[first:])


def snakemake_command(
    words: Sequence[str],
    *,
    scale: str | None = None,
    papers: Sequence[str] | None = None,
    seeds: str | None = None,
    root: Path = ROOT,
) -> list[str]:
    """Return the Snakemake command for the words of `robustft run TARGET... -- OPTION...`."""
    targets, options = _split(words)
    settings = [f"scale={scale}"] if scale else []
    if papers:
        settings.append(f"papers=[{','.join(papers)}]")
    if seeds:
        settings.append(f"seeds={seeds}")
    if settings:
        options = _with_settings(settings, options)
    if not any(option.split("=")[0] in PLACES or option[:2] in ("-c", "-j") for option in options):
        options = ["--cores", "all", *options]
    return ["snakemake", *targets, "--snakefile", str(root / "Snakefile"), *options]


def _with_settings(settings: Sequence[str], options: list[str]) -> list[str]:
    """Add settings to the options, in one `--config`: Snakemake reads only the last `--config`."""
    place = next((number for number, option in enumerate(options) if option in CONFIG), None)
    if place is None:
        return [*options, "--config", *settings]
    return [*options[: place + 1], *settings, *options[place + 1 :]]
