"""The `robustft` command: parses the arguments and runs one command. The help lists the commands in groups."""

from __future__ import annotations

import argparse
import atexit
import gc
import io
import os
import re
import sys
from collections.abc import Callable, Collection, Sequence
from typing import NoReturn

from robustft import __version__
from robustft.cli import planning, results, sharing, steps
from robustft.cli.common import enter_checkout, enter_project, place
from robustft.cli.completion import add_completion
from robustft.cli.evaluating import add_evaluate
from robustft.cli.projects import add_projects
from robustft.cli.run import add_run
from robustft.cli.trust import add_trust
from robustft.errors import RobustftError, nearest
from robustft.escape import terminal
from robustft.files import module_folders

STEPS = {
    "download": "fetch one file of config/datasets.yaml or config/weights.yaml, such as `cifar10_python`",
    "weights": "convert published weights to a checkpoint, such as `imagenet_linf_4`",
    "data": "decode a source, such as `digits`",
    "train": "train one run, such as `twins/main/digits_5to9/twins_at/seed0`",
    "attack": "attack one run's checkpoint, such as `twins/main/digits_5to9/twins_at/seed0/robustness.1of1`",
    "numbers": "compute a paper's accuracies from its ledgers",
    "verdicts": "compare a paper's claims with its numbers",
    "table": "write a table, such as `twins/main`",
    "deviations": "list what is done otherwise than a paper does it, and the tables that it touches",
    "figure": "draw a figure, such as `twins/diagnostics`",
    "manifest": "hash every record that a paper's results rest on into one root",
}

Run = Callable[[argparse.Namespace], int]


class Parser(argparse.ArgumentParser):
    """A parser whose errors are RobustftErrors."""

    def error(self, message: str) -> NoReturn:
        """Raise RobustftError with the usage, instead of ending the process."""
        raise RobustftError(message, expected=" ".join(self.format_usage().split()))


class CommandLine:
    """The parser of each command, in groups."""

    def __init__(self) -> None:
        self.parser = Parser(
            prog="robustft",
            usage="robustft COMMAND ...",
            formatter_class=argparse.RawDescriptionHelpFormatter,
            epilog="robustft COMMAND --help tells a command's options.",
        )
        self.parser.add_argument("--version", action="version", version=f"robustft {__version__}")
        self._help = ["Five papers on adversarially robust fine-tuning, re-run and checked."]
        self.commands: dict[str, argparse.ArgumentParser] = {}
        self._subparsers = self.parser.add_subparsers(
            dest="command", required=True, prog="robustft", help=argparse.SUPPRESS
        )
        for add in (_add_own, _add_planning, _add_results, _add_sharing, _add_steps):
            add(self)
        self.group("For your shell")
        add_completion(self)
        self.parser.description = "\n".join(self._help)

    def group(self, title: str) -> None:
        """Start a group of commands in the help."""
        self._help += ["", f"{title}:"]

    def add(self, name: str, text: str, run: Run | None, *, plans: bool = True) -> argparse.ArgumentParser:
        """Add a command and return its parser; a command that `plans` gets the options of scale and papers."""
        command = self.commands[name] = self._subparsers.add_parser(name, description=text, help=text)
        self._help.append(f"  {name:<11}{text}")
        return _set_up(command, run, plans=plans)

    def listed(self) -> argparse.ArgumentParser:
        """Return the parser with its commands listed once more: its own help has them in groups instead."""
        self._subparsers.help = "commands"
        return self.parser

    def parse(self, argv: Sequence[str]) -> argparse.Namespace:
        """Parse the arguments. Raises RobustftError with the nearest name for an unknown command, form or option."""
        names = [argument for argument in argv if not argument.startswith("-")]
        _check(names[:1], self.commands, kind="command")
        if names[:1] == ["export"]:
            _check(names[1:2], sharing.EXPORTS, kind="form of export")
        arguments, unknown = self.parser.parse_known_args(argv)
        if unknown:
            command = " ".join(filter(None, (arguments.command, getattr(arguments, "form", None))))
            options = set(re.findall(r"--[a-z-]+", self.commands[command].format_help()))
            raise RobustftError(
                f"'robustft {command}' has no argument '{unknown[0]}'", next_step=nearest(unknown[0], options)
            )
        return arguments


def _check(names: Sequence[str], valid: Collection[str], *, kind: str) -> None:
    for name in names:
        if name not in valid:
            raise RobustftError(f"there is no {kind} '{name}'", next_step=nearest(name, valid))


def _set_up(command: argparse.ArgumentParser, run: Run | None, *, plans: bool = True) -> argparse.ArgumentParser:
    if plans:
        command.add_argument("--scale", help="a file of config/scales/ (default: as config/config.yaml says)")
        command.add_argument(
            "--papers",
            "--paper",
            action="append",
            help="papers to plan for, separated by commas or given one by one (default: all)",
        )
        command.add_argument(
            "--seeds",
            metavar="N",
            help="the first N seeds (default: as many as were run; before a run, as the scale says)",
        )
        command.add_argument(
            "--project",
            metavar="FOLDER",
            help="work in a project of your own, as `robustft init` makes (default: the current folder, if it is one)",
        )
    command.set_defaults(run=run)
    return command


def _add_own(line: CommandLine) -> None:
    line.group("Your own models and images")
    add_evaluate(line.add)
    add_projects(line.add)


def _add_planning(line: CommandLine) -> None:
    line.group("Before a run")
    plan = line.add("plan", "print what would run and what it would cost", planning.plan_command)
    plan.add_argument("--details", action="store_true", help="list every step")
    plan.add_argument(
        "--table",
        metavar="PAPER/TABLE",
        nargs="?",
        const=planning.EVERY,
        help="only what this table needs: its runs, what they start from, data, downloads; without a name: what each "
        "table costs, the cheapest first",
    )
    plan.add_argument(
        "--budget", metavar="TIME", type=planning.seconds, help="the tables and claims that fit, such as 24h or 90min"
    )
    plan.add_argument("--images", type=planning.count, help="price it on at most so many images an evaluation")
    plan.add_argument(
        "--machine",
        metavar="NAME",
        help="estimate for this machine of benchmarks/ (default: a measured one of the scale's device)",
    )
    plan.add_argument("--json", metavar="FILE", type=place, help="also write the estimate to FILE")
    add_run(line.add)
    text = "print what is resolved for a run, a step or an experiment, each value with the layer that it comes from"
    show = line.add("show", text, planning.show_command)
    show.add_argument(
        "id", metavar="NAME", help="such as twins/main, twins/main/digits_5to9/twins_at/seed0 or pretraining/digits_at"
    )
    show.add_argument("--json", action="store_true", help="print the same as JSON")
    line.add(
        "files",
        "list the files from elsewhere that are missing, and how to get them; touches no network",
        planning.files_command,
    )


def _add_results(line: CommandLine) -> None:
    line.group("After a run")
    line.add("summary", "count what was measured for each paper, and its verdicts", results.summary_command)
    shown = line.add("tables", "print tables and verdicts, as wide as the terminal", results.tables_command)
    shown.add_argument("names", nargs="*", metavar="PAPER/TABLE", help="which ones (default: all; PAPER: all of it)")
    explain = line.add("explain", "tell in words where one number comes from", results.explain_command)
    explain.add_argument(
        "cell",
        help="PAPER/TABLE:ROW/COLUMN, such as twins/main:twins_at/autoattack, or a folder of `robustft evaluate`",
    )
    text = "check that numbers follow from their ledgers and files are as recorded; needs no network, GPU or torch"
    audit = line.add("audit", text, results.audit_command)
    audit.add_argument("folder", nargs="?", type=place, help="a folder of `robustft evaluate` instead of a scale")
    audit.add_argument(
        "--require-images", action="store_true", help="a step that ran in no image of this checkout is a broken link"
    )
    audit.add_argument("--all", action="store_true", help="list every broken link, not a few of each kind")
    text = "compare two results folders cell by cell: equal, within spread, differs; verdicts and bytes too"
    compare = line.add("compare", text, results.compare_command, plans=False)
    compare.epilog = "Exit status: 0 equal or within spread, 1 something differs, 2 a folder holds no results."
    for name in ("a", "b"):
        compare.add_argument(name, type=place, metavar=name.upper(), help="such as results/demo")
    compare.add_argument("--json", action="store_true", help="print everything as JSON")
    compare.add_argument("--all", action="store_true", help="list everything that differs")
    add_trust(line)
    line.add("adopt", "verify results of another machine, and make them known to Snakemake", results.adopt_command)
    choose = line.add("choose", "name the best point of a grid, by validation images", results.choose_command)
    choose.add_argument("id", metavar="PAPER/EXPERIMENT", help="an experiment with `grid`")
    line.add("readme", "write the current scale's tables into README.md and docs/", results.readme_command)


def _add_sharing(line: CommandLine) -> None:
    line.group("For other people and machines")
    text = "write a finished scale in a form that other tools read; audits it first"
    export = line.add("export", text, None, plans=False)
    forms = export.add_subparsers(dest="form", required=True, metavar="FORM")
    for name, (text, target) in sharing.EXPORTS.items():
        form = _set_up(forms.add_parser(name, help=text, description=text), sharing.export_command)
        line.commands[f"export {name}"] = form
        form.add_argument("--to", metavar="PATH", type=place, help=f"the target (default: exports/SCALE/{target})")
        form.add_argument("--unaudited", action="store_true", help="export even if the audit fails; it will say so")
        if name == "crate":
            form.add_argument("--zip", action="store_true", help="one archive instead of a folder")
            form.add_argument("--all", action="store_true", help="with data and checkpoints, not only their hashes")
    text = "write results/SCALE/report.html: tables, figures and verdicts in one page"
    line.add("report", text, sharing.report_command)
    line.add(
        "get", "bring published results that are missing here, and verify them; deletes nothing", sharing.get_command
    )
    line.add("publish", "audit a scale, send its results to the DVC remote, write its crate", sharing.publish_command)
    text = "clone this commit, read-only, for runs that no edit may reach"
    freeze = line.add("freeze", text, sharing.freeze_command, plans=False)
    freeze.add_argument(
        "folder", nargs="?", default="frozen", type=place, help="the clone goes there, under its commit"
    )
    text = "build the container images of config/images.yaml with what this machine has"
    _add_image_options(line.add("images", text, sharing.images_command))


def _add_image_options(images: argparse.ArgumentParser) -> None:
    images.add_argument("roles", nargs="*", metavar="ROLE", help="which images (default: all of config/images.yaml)")
    images.add_argument(
        "--builder", help="docker, podman, buildah or apptainer (default: the first of them that works)"
    )
    images.add_argument("--base", metavar="IMAGE", help="another base, which the identity and the audit then name")
    images.add_argument(
        "--pip-conf",
        metavar="FILE",
        type=place,
        help="pip.conf of the build (default: this machine's pip)",
    )
    images.add_argument(
        "--mount", metavar="SOURCE[:INSIDE]", action="append", default=[], help="what else the build may read here"
    )
    images.add_argument(
        "--folder", metavar="DIR", type=place, help="put the SIFs here, not where the rules look for them"
    )
    images.add_argument("--compression", choices=("gzip", "lz4", "zstd"), default="gzip", help="of the SIF")
    images.add_argument("--force", action="store_true", help="build images again that are up to date")


def _add_steps(line: CommandLine) -> None:
    line.group("One step by hand, whose inputs are there")
    for name, text in STEPS.items():
        command = line.add(name, text, steps.step_command)
        command.add_argument("id", help="the step's name, as `robustft plan --details` prints it")
    text = "run the training and attack steps of some methods, all seeds, in one process"
    bundle = line.add("bundle", text, steps.bundle_command)
    bundle.add_argument("name", help="the bundle's name, such as twins_main_digits_5to9_at")
    text = "run the step or bundle of a job file, as the rules do; nothing is planned"
    job = line.add("job", text, steps.job_command, plans=False)
    job.add_argument("file", type=place, help="the job file, scratch/jobs/SCALE/DIGEST.json")
    for name in (*STEPS, "bundle", "job"):
        line.commands[name].add_argument("--log", metavar="FILE", type=place, help="append what is printed to FILE")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status: 0 success, 1 failure or findings, 2 an error of the user."""
    # Without it the garbage collector visits every module when the process ends: half a second with torch.
    atexit.register(gc.freeze)
    for stream in (sys.stdout, sys.stderr):  # a terminal or log of ASCII shows what it lacks by its number
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        arguments = CommandLine().parse(sys.argv[1:] if argv is None else argv)
        if getattr(arguments, "project", None):
            enter_project(arguments)
        elif arguments.command != "job":  # Snakemake says where a job works
            enter_checkout()
        sys.path.extend(module_folders())
        result: int = arguments.run(arguments)
        sys.stdout.flush()
        return result
    except RobustftError as error:
        print(f"error: {terminal(error, lines=True)}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # the reader, such as `head`, has closed the pipe
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        from robustft.files import storage_error

        if (known := storage_error(error)) is None:
            raise
        print(f"error: {terminal(known, lines=True)}", file=sys.stderr)
        return 2
