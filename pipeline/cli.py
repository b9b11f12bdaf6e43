"""The `robustft` command: one thin subcommand for each kind of step, and plan, audit, explain."""

from __future__ import annotations

import argparse
import atexit
import contextlib
import gc
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from pipeline.errors import BusyError, RobustftError


def _config(arguments: argparse.Namespace, *, validate: bool = True):  # type: ignore[no-untyped-def]
    from pipeline.config import Config

    names = [name for given in arguments.papers or [] for name in given.split(",")]
    if not names:
        names = _paper_of(getattr(arguments, "table", None) or getattr(arguments, "id", None) or "")
    return Config(scale=arguments.scale, papers=names or None, validate=validate)


def _paper_of(name: str) -> list[str]:
    """Return the paper that a step's or table's name begins with, which is all that has to be planned for it."""
    from pipeline.files import ROOT

    paper = name.split("/")[0]
    return [paper] if (ROOT / "config" / "papers" / f"{paper}.yaml").is_file() else []


@contextlib.contextmanager
def _uncollected() -> Iterator[None]:
    """Keep Python's collector out of planning: it would go through the plan time and again, and find nothing."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _plan(arguments: argparse.Namespace, *, validate: bool = True):  # type: ignore[no-untyped-def]
    with _uncollected():
        from pipeline.plan import Plan

        return Plan(_config(arguments, validate=validate))


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


def _asked(arguments: argparse.Namespace):  # type: ignore[no-untyped-def]
    """Return the step or bundle that is asked for.

    Whoever names a digest had the configuration validated when it was planned. What gives the same digest is not
    validated again, which would take a fourth of the time of a small step. If anything else comes of it, an error too,
    the validated configuration has the word.
    """
    if arguments.expect:
        with contextlib.suppress(Exception):
            found = _found(arguments, validate=False)
            if found.digest == arguments.expect:
                return found
    return _found(arguments, validate=True)


def _found(arguments: argparse.Namespace, *, validate: bool):  # type: ignore[no-untyped-def]
    """Plan what the command needs: for what follows from lists of data and weights no paper, if a digest is named."""
    with _uncollected():
        from pipeline.config import Config
        from pipeline.plan import CATALOGUED, Plan

        if arguments.expect and arguments.command in CATALOGUED:
            plan = Plan(Config(scale=arguments.scale, papers="none", validate=validate))
            return plan.catalogued(arguments.command, arguments.id)
        plan = _plan(arguments, validate=validate)
        return (
            plan.bundle(arguments.name) if arguments.command == "bundle" else plan.step(arguments.command, arguments.id)
        )


def _step(arguments: argparse.Namespace) -> int:
    from pipeline.provenance.run import run_step, starter_of, write_failure

    step = _asked(arguments)
    rank = starter_of(step).rank
    say = _speaker(None, f"{step.id}, start {rank}") if rank else _speaker(arguments.log, step.id)
    try:
        run_step(step, expect=arguments.expect, say=say)
    except Exception as error:  # noqa: BLE001 (whatever it is, it is said, kept and answered)
        status = _answer(error, say)
        # Who was refused leaves nothing in the folder of the process that is at it.
        kept = None if isinstance(error, BusyError) else write_failure(step, error)
        if status == 1 and kept:
            say(f"the step failed; what is known about it is in {kept}")
        return status
    return 0


def _bundle(arguments: argparse.Namespace) -> int:
    from pipeline.provenance.bundle import run_bundle

    bundle = _asked(arguments)
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

    report = audit(_plan(arguments), require_images=arguments.require_images)
    print(report.text())
    return 0 if report.ok else 1


def _adopt(arguments: argparse.Namespace) -> int:
    from pipeline.provenance.adopt import adopt

    adopt(_plan(arguments), say=_speaker(None, "adopt"))
    return 0


def _publish(arguments: argparse.Namespace) -> int:
    from pipeline.export.publish import publish

    publish(_plan(arguments), say=_speaker(None, "publish"))
    return 0


def _images(arguments: argparse.Namespace) -> int:
    from pipeline.errors import lookup
    from pipeline.images.build import Settings, build_image
    from pipeline.images.builders import choose

    def say(text: str) -> None:
        print(f"[images] {text}", flush=True)

    roles = _config(arguments).images
    wanted = {
        role: lookup(roles, role, kind="image role", where="config/images.yaml") for role in arguments.roles or roles
    }
    settings = Settings(
        program=choose(arguments.builder, say),
        base=arguments.base,
        pip_conf=arguments.pip_conf,
        mounts=tuple(arguments.mount),
        folder=arguments.folder,
        compression=arguments.compression,
        force=arguments.force,
    )
    for role, about in wanted.items():
        build_image(role, about, settings, say)
    return 0


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


def _export(arguments: argparse.Namespace) -> int:
    from pipeline.export.gate import default_target

    plan, say = _plan(arguments), _speaker(None, "export")
    target = Path(arguments.to) if arguments.to else default_target(plan, EXPORTS[arguments.form][1])
    if arguments.form == "crate":
        from pipeline.export.crate import export_crate

        target = target.with_suffix(".zip") if arguments.zip else target
        made = export_crate(plan, target, include_large=arguments.all, unaudited=arguments.unaudited, say=say)
    elif arguments.form == "robustbench":
        from pipeline.export.robustbench import export_robustbench

        made = export_robustbench(plan, target, unaudited=arguments.unaudited, say=say)
    elif arguments.form == "cards":
        from pipeline.export.cards import export_cards

        made = export_cards(plan, target, unaudited=arguments.unaudited, say=say)
    else:
        from pipeline.export.page import export_page

        made = export_page(plan, target, unaudited=arguments.unaudited, say=say)
    print(made)
    return 0


def _readme(arguments: argparse.Namespace) -> int:
    from pipeline.provenance.readme import update_readme

    print(update_readme(_plan(arguments)))
    return 0


def _freeze(arguments: argparse.Namespace) -> int:
    from pipeline.provenance.freeze import freeze, how_to_run

    print(how_to_run(freeze(Path(arguments.folder))))
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

EXPORTS = {
    "crate": ("an RO-Crate: records, results, source and configuration, as others' tools read them", "crate"),
    "robustbench": (
        "a JSON for each evaluated model, in the shape of RobustBench's leaderboard entries",
        "robustbench",
    ),
    "cards": ("a model card for each checkpoint", "cards"),
    "page": ("one HTML file with every table; a click on a cell shows what stands behind it", "page.html"),
}
"""What a finished scale can be exported as, and what the file or folder is called."""


def parser() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    top = argparse.ArgumentParser(prog="robustft", description=__doc__.splitlines()[0])
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add(name: str, text: str, run: Callable[[argparse.Namespace], int], *, to=commands) -> argparse.ArgumentParser:  # type: ignore[no-untyped-def]
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
    audit = add("audit", "check every number back to the data and the source; needs no network, GPU or torch", _audit)
    audit.add_argument(
        "--require-images", action="store_true", help="a step that ran in no image of this checkout is a broken link"
    )
    add("adopt", "verify results that came from elsewhere, and make those known to Snakemake", _adopt)
    add("publish", "audit a scale, send its results to the DVC remote, write its crate", _publish)
    _add_images(add("images", "build the container images of config/images.yaml with what this machine has", _images))
    explain = add("explain", "tell in words where one number comes from", _explain)
    explain.add_argument("cell", help="PAPER/TABLE:ROW/COLUMN, such as twins/main:twins_at/autoattack")
    add("summary", "count what was measured for each paper, and the verdicts on its claims", _summary)
    add("readme", "write the current scale's tables into README.md and docs/", _readme)
    _add_exports(commands, add)
    frozen = commands.add_parser("freeze", help="clone this commit, read-only, for runs that no edit may reach")
    frozen.add_argument("folder", nargs="?", default="frozen", help="where the clone goes, under its commit's name")
    frozen.set_defaults(run=_freeze)
    bundle = add("bundle", "run the training and attack steps of some methods, all seeds, in one process", _bundle)
    bundle.add_argument("name", help="the bundle's name, such as twins_main_digits_5to9_at")
    bundle.add_argument("--expect", metavar="SHA256", help="refuse to run unless the bundle's digest is this one")
    bundle.add_argument("--log", metavar="FILE", help="also append what is said to FILE")
    for name, text in STEPS.items():
        command = add(name, text, _step)
        command.add_argument("id", help="the step's name, as `robustft plan --details` prints it")
        command.add_argument("--expect", metavar="SHA256", help="refuse to run unless the step's digest is this one")
        command.add_argument("--log", metavar="FILE", help="also append what is said to FILE")
    return top


def _add_exports(commands, add) -> None:  # type: ignore[no-untyped-def]
    """Add `export` with a command for each form."""
    group = commands.add_parser("export", help="write a finished scale in a form that others read; audits it first")
    forms = group.add_subparsers(dest="form", required=True, metavar="FORM")
    for form, (text, name) in EXPORTS.items():
        export = add(form, text, _export, to=forms)
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
        from pipeline.files import storage_error

        if (known := storage_error(error)) is None:
            raise
        print(f"error: {known}", file=sys.stderr)
        return 2
