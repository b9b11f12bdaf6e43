"""Shared parts of the commands: the plan for the arguments, and the log."""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from robustft.errors import RobustftError
from robustft.files import PROJECT_FILE, ROOT, config_roots, read_json

if TYPE_CHECKING:
    from robustft.config.load import Config
    from robustft.plan import Plan


def configuration(arguments: argparse.Namespace) -> Config:
    """Return the configuration of the scale and papers in the arguments.

    Without `--seeds` it has as many seeds as were run, at least those that the scale says. Without `--papers` it has
    only the paper that the name of a step or table begins with, if there is one. That is enough to plan it. Otherwise
    it has every paper.
    """
    from robustft.config.load import Config
    from robustft.config.paper_folder import paper_file
    from robustft.config.workflow import seed_count

    papers = [name for names in arguments.papers or [] for name in names.split(",")]
    if not papers:
        paper = (getattr(arguments, "table", None) or getattr(arguments, "id", None) or "").split("/")[0]
        files = (paper_file(root / "papers" / paper) for root in config_roots())
        papers = [paper] if paper and any(path.is_file() for path in files) else []
    config = Config(scale=arguments.scale, papers=papers or None, seeds=seed_count(arguments.seeds, of="--seeds"))
    if config.seeds and not arguments.seeds and arguments.command not in BEFORE_A_RUN:
        named = SEED.search(getattr(arguments, "id", None) or "")
        folder = _results(arguments, config.scale_name)
        config.seeds = max(config.seeds, seeds_run(config.scale_name, folder), int(named[1]) + 1 if named else 0)
    return config


SEED = re.compile(r"/seed(\d+)(/|$)")
BEFORE_A_RUN = ("plan", "run")
"""Commands of what is to be run; all others are of what was run, with as many seeds as that had."""


def _results(arguments: argparse.Namespace, scale: str) -> Path:
    """Return the folder of the results that a command is about: those here, or those that `--results` names."""
    from robustft.plan import RESULTS

    if not hasattr(arguments, "results"):
        return Path(RESULTS)
    from robustft.recheck.recorded import results_folder

    return results_folder(arguments.results, scale)


def seeds_run(scale: str, folder: Path) -> int:
    """Return how many seeds the results of a scale in a folder have, as the papers' manifests say; 0 without one."""
    seeds = [0]
    for path in (folder / scale).glob("*/manifest.json"):
        with contextlib.suppress(RobustftError, KeyError, TypeError):  # a damaged one: the audit says so
            seeds += [int(found[1]) + 1 for name in read_json(path)["records"] if (found := SEED.search(name))]
    return max(seeds)


def planned(arguments: argparse.Namespace) -> Plan:
    """Return the plan of the scale and papers in the arguments, on at most so many images if they say so."""
    from robustft.plan import Plan

    config = configuration(arguments)
    if images := getattr(arguments, "images", None):
        config.scale["subset"] = {"images": images}
    return Plan(config)


def enter_checkout(root: Path = ROOT) -> None:
    """Work in the checkout's top folder if the caller stands in a folder below it that has no results of its own."""
    here = Path.cwd()
    if project := next((one for one in (here, *here.parents) if (one / PROJECT_FILE).is_file()), None):
        if project != here:
            print(f"working in {project}", file=sys.stderr)
            os.chdir(project)
    elif root in here.parents and not (here / "results").is_dir():
        print(f"working in {root}", file=sys.stderr)
        os.chdir(root)


def enter_project(arguments: argparse.Namespace) -> None:
    """Work in the project that `--project` names; the paths of the command stay where they were typed.

    Raises RobustftError if the folder is no project.
    """
    project = Path(arguments.project).expanduser()
    if not (project / PROJECT_FILE).is_file():
        raise RobustftError(
            "this folder is no project",
            where=project.absolute(),
            expected=f"a file {PROJECT_FILE}",
            next_step=f"`robustft init {project}` makes one",
        )
    for name, value in vars(arguments).items():
        if isinstance(value, Path):
            setattr(arguments, name, value.absolute())
        elif isinstance(value, list) and all(isinstance(one, Path) for one in value):
            setattr(arguments, name, [one.absolute() for one in value])
    os.chdir(project)


def place(text: str) -> Path:
    """Return the path that an argument names, as seen from where the command was typed."""
    return Path(text) if ROOT not in Path.cwd().parents else Path(text).absolute()


def logger(key: str, log_file: str | Path | None = None) -> Callable[[str], None]:
    """Return a function that writes lines to standard error and appends them, with the time, to a file."""
    streams = []
    if log_file:
        Path(log_file).parent.mkdir(parents=True, exist_ok=True)
        streams.append(open(log_file, "a", encoding="utf-8", buffering=1))  # noqa: SIM115 (lives as long as the process)

    def log(text: str) -> None:
        for line in text.splitlines():
            print(f"[{key}] {line}", file=sys.stderr, flush=True)
            for stream in tuple(streams):
                try:
                    print(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {line}", file=stream)
                except OSError as error:  # a full disk: the step goes on, and fails by itself if it needs space
                    streams.remove(stream)
                    print(f"[{key}] the log {log_file} is not written any more: {error}", file=sys.stderr, flush=True)

    return log
