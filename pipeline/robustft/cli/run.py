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

from robustft.errors import RobustftError
from robustft.files import ROOT

CONFIG = ("--config", "-C")
PLACES = ("--cores", "-c", "--jobs", "-j", "--executor", "-e", "--profile", "--workflow-profile")
"""Snakemake's options for the place of jobs; without any of them it uses every core of this machine."""


def add_run(add) -> None:  # type: ignore[no-untyped-def]
    """Add the subcommand `run` to the parser."""
    command = add(
        "run", "run the workflow here, or the part of it that some targets need; `--` begins Snakemake's options", run
    )
    command.add_argument("words", nargs="*", metavar="TARGET", help="files or rules of the workflow (default: all)")


def run(arguments: argparse.Namespace) -> int:
    """Print the Snakemake command and replace this process by it."""
    if importlib.util.find_spec("snakemake") is None:
        raise RobustftError(
            "Snakemake is not installed", where=sys.executable, next_step="install the packages of envs/run.txt"
        )
    command = snakemake_command(arguments.words, scale=arguments.scale, papers=arguments.papers)
    print(f"$ {shlex.join(command)}", file=sys.stderr, flush=True)
    # -P: Python does not import modules from the current folder.
    os.execv(sys.executable, [sys.executable, "-P", "-m", *command])


def snakemake_command(
    words: Sequence[str], *, scale: str | None = None, papers: Sequence[str] | None = None, root: Path = ROOT
) -> list[str]:
    """Return the Snakemake command for the words of `robustft run TARGET... -- OPTION...`."""
    first = next((number for number, word in enumerate(words) if word.startswith("-")), len(words))
    targets, options = words[:first], list(words[first:])
    settings = [f"scale={scale}"] if scale else []
    if papers:
        settings.append(f"papers=[{','.join(papers)}]")
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
