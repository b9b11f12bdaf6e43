"""The `robustft` command: one thin subcommand for each kind of step, and plan, audit, explain."""

from __future__ import annotations

import argparse
import atexit
import gc
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from pipeline.errors import RobustftError


def _config(arguments: argparse.Namespace):  # type: ignore[no-untyped-def]
    from pipeline.config import Config

    names = [name for given in arguments.papers or [] for name in given.split(",")]
    if not names:
        names = _paper_of(getattr(arguments, "table", None) or getattr(arguments, "id", None) or "")
    return Config(scale=arguments.scale, papers=names or None)


def _paper_of(name: str) -> list[str]:
    """Return the paper that a step's or table's name begins with, which is all that has to be planned for it."""
    from pipeline.files import ROOT

    paper = name.split("/")[0]
    return [paper] if (ROOT / "config" / "papers" / f"{paper}.yaml").is_file() else []


def _plan(arguments: argparse.Namespace):  # type: ignore[no-untyped-def]
    from pipeline.plan import Plan

    return Plan(_config(arguments))


def _speaker(log: str | None, key: str) -> Callable[[str], None]:
    """Return a function that says a line on standard error and, with the time, in the step's log."""
    streams = []
    if log:
        Path(log).parent.mkdir(parents=True, exist_ok=True)
        streams.append(open(log, "a", encoding="utf-8", buffering=1))  # noqa: SIM115 (lives as long as the process)

    def say(text: str) -> None:
        for line in text.splitlines():
            print(f"[{key}] {line}", file=sys.stderr, flush=True)
            for stream in tuple(streams):
                try:
                    print(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {line}", file=stream)
                except OSError as error:  # a full disk: the work itself will say so if it needs the room
                    streams.remove(stream)
                    print(f"[{key}] the log {log} is written no further: {error}", file=sys.stderr, flush=True)

    return say


def _answer(error: Exception, say: Callable[[str], None]) -> int:
    """Say what went wrong and return the exit status: 2 for what the user can mend, else 1 after a traceback."""
    from pipeline.files import storage_error

    known = error if isinstance(error, RobustftError) else storage_error(error)
    if known is not None:
        say(f"error: {known}")
        return 2
    import traceback

    say("".join(traceback.format_exception(error)))
    return 1


def _step(arguments: argparse.Namespace) -> int:
    from pipeline.provenance.run import run_step, write_failure

    step = _plan(arguments).step(arguments.command, arguments.id)
    say = _speaker(arguments.log, step.id)
    try:
        run_step(step, expect=arguments.expect, say=say)
    except Exception as error:  # noqa: BLE001 (whatever it is, it is said, kept and answered)
        status, kept = _answer(error, say), write_failure(step, error)
        if status == 1 and kept:
            say(f"the step failed; what is known about it is in {kept}")
        return status
    return 0


def _bundle(arguments: argparse.Namespace) -> int:
    from pipeline.provenance.bundle import run_bundle

    bundle = _plan(arguments).bundle(arguments.name)
    say = _speaker(arguments.log, bundle.name)
    try:
        run_bundle(bundle, expect=arguments.expect, say=say)
    except Exception as error:  # noqa: BLE001 (whatever it is, it is said and answered)
        return _answer(error, say)
    return 0


def _print_plan(arguments: argparse.Namespace) -> int:
    from pipeline.cost import as_json, describe
    from pipeline.cost.machines import machine_for
    from pipeline.files import write_json
    from pipeline.report.claims import counts, describe_counts

    plan = _plan(arguments)
    machine = machine_for(plan.config.scale["device"], name=arguments.machine)
    print(describe(plan, details=arguments.details, table=arguments.table, machine=machine))
    if not arguments.table:
        papers, tables = plan.config.papers, plan.config.claims
        print("\nClaims on record:")
        for line in describe_counts(counts({name: (papers[name].values["claims"], tables[name]) for name in papers})):
            print(f"  {line}")
    if arguments.json:
        write_json(arguments.json, as_json(plan, table=arguments.table, machine=machine))
    return 0


def _files(arguments: argparse.Namespace) -> int:
    from pipeline.data.download import missing

    plan = _plan(arguments)
    steps = {step.id: step for step in plan.of_kind("download")}
    lines = missing(
        {key: plan.config.files[key] for key in steps},
        lambda key: all(Path(path).is_file() for path in (*steps[key].outputs.values(), steps[key].record)),
    )
    print("\n".join([*lines, f"{len(lines)} of the {len(steps)} files that are needed are missing"]))
    return 1 if lines else 0


def _audit(arguments: argparse.Namespace) -> int:
    from pipeline.provenance.audit import audit

    report = audit(_plan(arguments))
    print(report.text())
    return 0 if report.ok else 1


def _explain(arguments: argparse.Namespace) -> int:
    from pipeline.provenance.explain import explain

    print(explain(_plan(arguments), arguments.cell))
    return 0


def _summary(arguments: argparse.Namespace) -> int:
    from pipeline.plan import RESULTS
    from pipeline.report.summary import summary
    from pipeline.report.tables import to_markdown

    plan = _plan(arguments)
    papers = [step.id for step in plan.of_kind("numbers")]
    print(to_markdown(summary(Path(RESULTS) / plan.scale, papers, scale=plan.scale)), end="")
    return 0


def _readme(arguments: argparse.Namespace) -> int:
    from pipeline.provenance.readme import update_readme

    print(update_readme(_plan(arguments)))
    return 0


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
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add(name: str, text: str, run: Callable[[argparse.Namespace], int]) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=text, description=text)
        command.add_argument("--scale", help="a file of config/scales/ (default: as config/config.yaml says)")
        command.add_argument(
            "--papers",
            "--paper",
            action="append",
            help="papers to plan for, separated by commas or given one by one (default: all)",
        )
        command.set_defaults(run=run)
        return command

    plan = add("plan", "print what would run and what it would cost", _print_plan)
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
    add("files", "list the files from elsewhere that are missing, and how to get them; touches no network", _files)
    add("audit", "check every number back to the data and the source; needs no network, GPU or torch", _audit)
    explain = add("explain", "tell in words where one number comes from", _explain)
    explain.add_argument("cell", help="PAPER/TABLE:ROW/COLUMN, such as twins/main:twins_at/autoattack")
    add("summary", "count what was measured for each paper, and the verdicts on its claims", _summary)
    add("readme", "write the current scale's tables into README.md and docs/", _readme)
    bundle = add("bundle", "run the training and attack steps of some methods, all seeds, in one process", _bundle)
    bundle.add_argument("name", help="the bundle's name, such as twins_main_digits_5to9_at")
    bundle.add_argument(
        "--expect", metavar="SHA256", nargs="+", help="refuse to run unless the steps' digests are these"
    )
    bundle.add_argument("--log", metavar="FILE", help="also append what is said to FILE")
    for name, text in STEPS.items():
        command = add(name, text, _step)
        command.add_argument("id", help="the step's name, as `robustft plan --details` prints it")
        command.add_argument("--expect", metavar="SHA256", help="refuse to run unless the step's digest is this one")
        command.add_argument("--log", metavar="FILE", help="also append what is said to FILE")
    return top


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
        from pipeline.files import storage_error

        if (known := storage_error(error)) is None:
            raise
        print(f"error: {known}", file=sys.stderr)
        return 2
