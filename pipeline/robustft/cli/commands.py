"""What each subcommand of `robustft` does: parsed arguments in, an exit status out.

What a command needs is imported when it is called: most start without torch, and a small step at once.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from robustft.errors import BusyError, RobustftError

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


def _config(arguments: argparse.Namespace):  # type: ignore[no-untyped-def]
    from robustft.config.load import Config

    names = [name for given in arguments.papers or [] for name in given.split(",")]
    if not names:
        names = _paper_of(getattr(arguments, "table", None) or getattr(arguments, "id", None) or "")
    return Config(scale=arguments.scale, papers=names or None)


def _paper_of(name: str) -> list[str]:
    """Return the paper that a step's or table's name begins with, which is all that has to be planned for it."""
    from robustft.files import ROOT

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


def planned(arguments: argparse.Namespace):  # type: ignore[no-untyped-def]
    """Return the plan of the scale and papers that are asked for."""
    with _uncollected():
        from robustft.plan import Plan

        return Plan(_config(arguments))


def _speaker(log_file: str | None, key: str) -> Callable[[str], None]:
    """Return a function that says a line on standard error and, with the time, in the step's log."""
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
                except OSError as error:  # a full disk: the work itself will say so if it needs the room
                    streams.remove(stream)
                    print(f"[{key}] the log {log_file} is written no further: {error}", file=sys.stderr, flush=True)

    return log


def _answer(error: Exception, log: Callable[[str], None]) -> int:
    """Say what went wrong and return the exit status: 2 for what the user can mend, else 1 after a traceback."""
    from robustft.files import storage_error

    known = error if isinstance(error, RobustftError) else storage_error(error)
    if known is not None:
        log(f"error: {known}")
        return 2
    import traceback

    log("".join(traceback.format_exception(error)))
    return 1


def asked(arguments: argparse.Namespace):  # type: ignore[no-untyped-def]
    """Plan what the command needs: for what follows from lists of data and weights no paper, if a digest is named."""
    with _uncollected():
        from robustft.config.load import Config
        from robustft.plan import Plan
        from robustft.plan.catalogue import CATALOGUED

        if arguments.expect and arguments.command in CATALOGUED:
            plan = Plan(Config(scale=arguments.scale, papers="none"))
            return plan.catalogued(arguments.command, arguments.id)
        plan = planned(arguments)
        return (
            plan.bundle(arguments.name) if arguments.command == "bundle" else plan.step(arguments.command, arguments.id)
        )


def step_command(arguments: argparse.Namespace) -> int:
    """Run one step; 1 if it failed, with what is known kept beside it."""
    from robustft.provenance.run import launcher_of, run_step, write_failure

    step = asked(arguments)
    rank = launcher_of(step).rank
    log = _speaker(None, f"{step.id}, start {rank}") if rank else _speaker(arguments.log, step.id)
    try:
        run_step(step, expect=arguments.expect, log=log)
    except Exception as error:  # noqa: BLE001 (whatever it is, it is said, kept and answered)
        status = _answer(error, log)
        # Who was refused leaves nothing in the folder of the process that is at it.
        kept = None if isinstance(error, BusyError) else write_failure(step, error)
        if status == 1 and kept:
            log(f"the step failed; what is known about it is in {kept}")
        return status
    return 0


def bundle_command(arguments: argparse.Namespace) -> int:
    """Run the steps of a bundle in this process."""
    from robustft.provenance.bundle import run_bundle

    bundle = asked(arguments)
    log = _speaker(arguments.log, bundle.name)
    try:
        run_bundle(bundle, expect=arguments.expect, log=log)
    except Exception as error:  # noqa: BLE001 (whatever it is, it is said and answered)
        return _answer(error, log)
    return 0


def plan_command(arguments: argparse.Namespace) -> int:
    """Print what would run and what it would cost."""
    from robustft.cost import as_json, describe
    from robustft.cost.machines import machine_for
    from robustft.files import write_json
    from robustft.report.claims import counts, describe_counts

    plan = planned(arguments)
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


def show_command(arguments: argparse.Namespace) -> int:
    """Print the resolved specification of a step, or the page of an experiment, with the origin of each value."""
    import json

    from robustft.cost import CostModel, in_short
    from robustft.cost.machines import machine_for
    from robustft.provenance.experiment_page import ExperimentPage
    from robustft.provenance.show import describe_step, find_step, step_as_json

    plan = planned(arguments)
    paper, _, experiment = arguments.id.partition("/")
    if paper in plan.config.papers and experiment in plan.config.papers[paper].values["experiments"]:
        page = ExperimentPage(plan, paper, experiment)
        cost = in_short(CostModel(plan, machine_for(plan.config.scale["device"])), page.steps)
        values, text = page.as_json(cost), page.text(cost)
    else:
        step = find_step(plan, arguments.id)
        values, text = step_as_json(plan, step), describe_step(plan, step)
    print(json.dumps(values, indent=2, ensure_ascii=False) if arguments.json else text)
    return 0


def files_command(arguments: argparse.Namespace) -> int:
    """Print which files from elsewhere are missing; 1 if any."""
    from robustft.data.fetch.mirror import missing

    plan = planned(arguments)
    steps = {step.id: step for step in plan.of_kind("download")}
    lines = missing(
        {key: plan.config.files[key] for key in steps},
        lambda key: all(Path(path).is_file() for path in (*steps[key].outputs.values(), steps[key].record)),
    )
    print("\n".join([*lines, f"{len(lines)} of the {len(steps)} files that are needed are missing"]))
    return 1 if lines else 0


def audit_command(arguments: argparse.Namespace) -> int:
    """Print the audit; 1 if it has findings."""
    from robustft.provenance.audit import audit

    report = audit(planned(arguments), require_images=arguments.require_images)
    print(report.text())
    return 0 if report.ok else 1


def adopt_command(arguments: argparse.Namespace) -> int:
    """Make verified results known to Snakemake."""
    from robustft.provenance.adopt import adopt

    adopt(planned(arguments), log=_speaker(None, "adopt"))
    return 0


def publish_command(arguments: argparse.Namespace) -> int:
    """Send audited results to the DVC remote."""
    from robustft.export.publish import publish

    publish(planned(arguments), log=_speaker(None, "publish"))
    return 0


def images_command(arguments: argparse.Namespace) -> int:
    """Build container images."""
    from robustft.errors import lookup
    from robustft.images.build import Settings, build_image
    from robustft.images.builders import choose

    def log(text: str) -> None:
        print(f"[images] {text}", flush=True)

    roles = _config(arguments).images
    wanted = {
        role: lookup(roles, role, kind="image role", where="config/images.yaml") for role in arguments.roles or roles
    }
    settings = Settings(
        program=choose(arguments.builder, log),
        base=arguments.base,
        pip_conf=arguments.pip_conf,
        mounts=tuple(arguments.mount),
        folder=arguments.folder,
        compression=arguments.compression,
        force=arguments.force,
    )
    for role, about in wanted.items():
        build_image(role, about, settings, log)
    return 0


def explain_command(arguments: argparse.Namespace) -> int:
    """Print where one number comes from."""
    from robustft.provenance.explain import explain

    print(explain(planned(arguments), arguments.cell))
    return 0


def summary_command(arguments: argparse.Namespace) -> int:
    """Print the counts of measurements and verdicts."""
    from robustft.plan import RESULTS
    from robustft.report.summary import summary
    from robustft.report.tables import to_markdown

    plan = planned(arguments)
    papers = [step.id for step in plan.of_kind("numbers")]
    print(to_markdown(summary(Path(RESULTS) / plan.scale, papers, scale=plan.scale)), end="")
    return 0


def export_command(arguments: argparse.Namespace) -> int:
    """Write a finished scale in another form, and print where."""
    from robustft.export.audit_gate import default_target

    plan, log = planned(arguments), _speaker(None, "export")
    target = Path(arguments.to) if arguments.to else default_target(plan, EXPORTS[arguments.form][1])
    if arguments.form == "crate":
        from robustft.export.crate import export_crate

        target = target.with_suffix(".zip") if arguments.zip else target
        made = export_crate(plan, target, include_large=arguments.all, unaudited=arguments.unaudited, log=log)
    elif arguments.form == "robustbench":
        from robustft.export.robustbench import export_robustbench

        made = export_robustbench(plan, target, unaudited=arguments.unaudited, log=log)
    elif arguments.form == "cards":
        from robustft.export.cards import export_cards

        made = export_cards(plan, target, unaudited=arguments.unaudited, log=log)
    else:
        from robustft.export.page import export_page

        made = export_page(plan, target, unaudited=arguments.unaudited, log=log)
    print(made)
    return 0


def readme_command(arguments: argparse.Namespace) -> int:
    """Write the tables into README.md and docs/."""
    from robustft.provenance.readme import update_readme

    print(update_readme(planned(arguments)))
    return 0


def freeze_command(arguments: argparse.Namespace) -> int:
    """Clone this commit and print how to run it."""
    from robustft.provenance.freeze import freeze, how_to_run

    print(how_to_run(freeze(Path(arguments.folder))))
    return 0
