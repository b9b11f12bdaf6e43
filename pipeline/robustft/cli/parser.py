"""The `robustft` command: one thin subcommand for each kind of step, and plan, audit, explain."""

from __future__ import annotations

import argparse
import atexit
import gc
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from robustft.cli import commands
from robustft.cli.run import add_run
from robustft.errors import RobustftError

STEPS = {
    "download": "fetch one file of config/datasets.yaml or config/weights.yaml, such as `cifar10_python`",
    "weights": "convert published weights to a checkpoint, such as `imagenet_linf_4`",
    "data": "decode a source, such as `digits`",
    "train": "train one run, such as `twins/main/digits_5to9/twins_at/seed0`",
    "attack": "attack one run's checkpoint, such as `twins/main/digits_5to9/twins_at/seed0/robustness.1of1`",
    "numbers": "compute a paper's accuracies from its ledgers",
    "verdicts": "compare a paper's claims with its numbers",
    "table": "write a table, such as `twins/main`",
    "figure": "draw a figure, such as `twins/diagnostics`",
    "seal": "hash every record of a scale into one root, such as `demo`",
}


def parser() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    top = argparse.ArgumentParser(prog="robustft", description=__doc__.splitlines()[0])
    subcommands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add(  # type: ignore[no-untyped-def]
        name: str, text: str, run: Callable[[argparse.Namespace], int], *, to=subcommands
    ) -> argparse.ArgumentParser:
        command: argparse.ArgumentParser = to.add_parser(name, help=text, description=text)
        command.add_argument("--scale", help="a file of config/scales/ (default: as config/config.yaml says)")
        command.add_argument(
            "--papers",
            "--paper",
            action="append",
            help="papers to plan for, separated by commas or given one by one (default: all)",
        )
        command.set_defaults(run=run)
        return command

    plan = add("plan", "print what would run and what it would cost", commands.plan_command)
    plan.add_argument("--details", action="store_true", help="list every step")
    plan.add_argument(
        "--table",
        metavar="PAPER/TABLE",
        help="only what this table needs: its runs, what they start from, data, downloads",
    )
    plan.add_argument(
        "--machine",
        metavar="NAME",
        help="estimate for this machine of benchmarks/ (default: a measured one of the scale's device)",
    )
    plan.add_argument("--json", metavar="FILE", help="also write the estimate to FILE")
    add_run(add)
    show = add(
        "show",
        "print what is resolved for a run, a step or an experiment, each value with the layer that it comes from",
        commands.show_command,
    )
    show.add_argument(
        "id", metavar="NAME", help="such as twins/main, twins/main/digits_5to9/twins_at/seed0 or pretraining/digits_at"
    )
    show.add_argument("--json", action="store_true", help="print the same as JSON")
    add(
        "files",
        "list the files from elsewhere that are missing, and how to get them; touches no network",
        commands.files_command,
    )
    audit = add(
        "audit",
        "check every number back to the data and the source; needs no network, GPU or torch",
        commands.audit_command,
    )
    audit.add_argument(
        "--require-images", action="store_true", help="a step that ran in no image of this checkout is a broken link"
    )
    add("adopt", "verify results that came from elsewhere, and make those known to Snakemake", commands.adopt_command)
    add("publish", "audit a scale, send its results to the DVC remote, write its crate", commands.publish_command)
    _add_images(
        add(
            "images",
            "build the container images of config/images.yaml with what this machine has",
            commands.images_command,
        )
    )
    explain = add("explain", "tell in words where one number comes from", commands.explain_command)
    explain.add_argument("cell", help="PAPER/TABLE:ROW/COLUMN, such as twins/main:twins_at/autoattack")
    add("summary", "count what was measured for each paper, and the verdicts on its claims", commands.summary_command)
    add("readme", "write the current scale's tables into README.md and docs/", commands.readme_command)
    _add_exports(subcommands, add)
    frozen = subcommands.add_parser("freeze", help="clone this commit, read-only, for runs that no edit may reach")
    frozen.add_argument("folder", nargs="?", default="frozen", help="where the clone goes, under its commit's name")
    frozen.set_defaults(run=commands.freeze_command)
    bundle = add(
        "bundle",
        "run the training and attack steps of some methods, all seeds, in one process",
        commands.bundle_command,
    )
    bundle.add_argument("name", help="the bundle's name, such as twins_main_digits_5to9_at")
    bundle.add_argument("--expect", metavar="SHA256", help="refuse to run unless the bundle's digest is this one")
    bundle.add_argument("--log", metavar="FILE", help="also append what is said to FILE")
    for name, text in STEPS.items():
        command = add(name, text, commands.step_command)
        command.add_argument("id", help="the step's name, as `robustft plan --details` prints it")
        command.add_argument("--expect", metavar="SHA256", help="refuse to run unless the step's digest is this one")
        command.add_argument("--log", metavar="FILE", help="also append what is said to FILE")
    return top


def _add_exports(subcommands, add) -> None:  # type: ignore[no-untyped-def]
    """Add `export` with a command for each form."""
    group = subcommands.add_parser("export", help="write a finished scale in a form that others read; audits it first")
    forms = group.add_subparsers(dest="form", required=True, metavar="FORM")
    for form, (text, name) in commands.EXPORTS.items():
        export = add(form, text, commands.export_command, to=forms)
        export.add_argument("--to", metavar="PATH", help=f"where to write it (default: exports/SCALE/{name})")
        export.add_argument("--unaudited", action="store_true", help="export even if the audit fails; it will say so")
        if form == "crate":
            export.add_argument("--zip", action="store_true", help="one archive instead of a folder")
            export.add_argument("--all", action="store_true", help="with data and checkpoints, not only their hashes")


def _add_images(images: argparse.ArgumentParser) -> None:
    images.add_argument("roles", nargs="*", metavar="ROLE", help="which images (default: all of config/images.yaml)")
    images.add_argument(
        "--builder", help="docker, podman, buildah or apptainer (default: the first of them that works)"
    )
    images.add_argument("--base", metavar="IMAGE", help="another base, which the identity and the audit then name")
    images.add_argument(
        "--pip-conf", metavar="FILE", type=Path, help="pip.conf for the time of the build (default: this machine's pip)"
    )
    images.add_argument(
        "--mount", metavar="SOURCE[:INSIDE]", action="append", default=[], help="what else the build may read here"
    )
    images.add_argument(
        "--folder", metavar="DIR", type=Path, help="put the SIFs here, not where the rules look for them"
    )
    images.add_argument("--compression", choices=("gzip", "lz4", "zstd"), default="gzip", help="of the SIF")
    images.add_argument("--force", action="store_true", help="build again what is as wanted already")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status: 0 well, 1 failed or findings, 2 something the user can mend."""
    # The collector would go through every module once more when the process ends: half a second after torch.
    atexit.register(gc.freeze)
    arguments = parser().parse_args(argv)
    try:
        result: int = arguments.run(arguments)
        sys.stdout.flush()
        return result
    except RobustftError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        from robustft.files import storage_error

        if (known := storage_error(error)) is None:
            raise
        print(f"error: {known}", file=sys.stderr)
        return 2
