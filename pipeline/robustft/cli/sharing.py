"""Commands that bring results and code to other people and machines."""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Iterable
from pathlib import Path

from robustft.cli.common import configuration, logger, planned

EXPORTS = {
    "crate": ("an RO-Crate: records, results, source and configuration, as other people's tools read them", "crate"),
    "robustbench": (
        "a JSON for each evaluated model, in the shape of RobustBench's leaderboard entries",
        "robustbench",
    ),
    "cards": ("a model card for each checkpoint", "cards"),
    "hub": ("each model as a folder that its own library loads and huggingface_hub uploads", "hub"),
    "page": ("one HTML file with every table; a click on a cell shows what stands behind it", "page.html"),
}
"""The forms of export: description, and default name of the file or folder."""


def export_command(arguments: argparse.Namespace) -> int:
    """Export a finished scale, and print the path."""
    from robustft.export.audit_gate import default_target

    plan, form = planned(arguments), arguments.form
    target = arguments.to if arguments.to else default_target(plan, EXPORTS[form][1])
    options = {"unaudited": arguments.unaudited, "log": logger("export")}
    if form == "crate":
        target = target.with_suffix(".zip") if arguments.zip else target
        options["include_large"] = arguments.all
    export = getattr(importlib.import_module(f"robustft.export.{form}"), f"export_{form}")
    print(export(plan, target, **options))
    return 0


def publish_command(arguments: argparse.Namespace) -> int:
    """Send audited results to the DVC remote."""
    from robustft.export.publish import publish

    publish(planned(arguments), log=logger("publish"))
    return 0


def report_command(arguments: argparse.Namespace) -> int:
    """Write Snakemake's report of a finished scale, and print where it is."""
    import os
    import subprocess
    import sys

    from robustft.cli.run import snakemake_command
    from robustft.errors import RobustftError
    from robustft.export.stages import with_stages
    from robustft.files import write_text
    from robustft.plan import RESULTS

    plan = planned(arguments)
    path = Path(RESULTS) / plan.scale / "report.html"
    if _is_newer(path, [step.record for step in plan.steps.values()]):
        print(f"{path} is up to date")
        return 0
    seeds = str(plan.config.seeds) if plan.config.seeds else None
    words = ["--cores", "1", "--report", str(path), "--quiet", "all"]
    command = snakemake_command(words, scale=plan.scale, papers=list(plan.config.papers), seeds=seeds)
    # Snakemake warns of coroutines of its own that a report does not need.
    quiet = {**os.environ, "PYTHONWARNINGS": "ignore::RuntimeWarning"}
    done = subprocess.run(
        [sys.executable, "-P", "-m", *command], env=quiet, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RobustftError(
            "Snakemake writes no report",
            observed="\n".join((done.stdout + done.stderr).strip().splitlines()[-3:]),
            next_step=f"robustft run --scale {plan.scale} makes what is missing",
        )
    write_text(path, with_stages(path.read_text(encoding="utf-8"), plan))
    print(path)
    return 0


def _is_newer(path: Path, others: Iterable[str]) -> bool:
    """Tell whether a file is there and newer than all others, which are there too."""
    try:
        return path.stat().st_mtime_ns > max(Path(other).stat().st_mtime_ns for other in others)
    except OSError:
        return False


def get_command(arguments: argparse.Namespace) -> int:
    """Bring published results here, verify them and make them known to Snakemake."""
    from robustft.export.get import get
    from robustft.provenance.adopt import adopt

    get(planned(arguments), log=logger("get"))
    adopt(planned(arguments), log=logger("adopt"))  # planned again: of as many seeds as are here now
    return 0


def freeze_command(arguments: argparse.Namespace) -> int:
    """Clone this commit and print how to run it."""
    from robustft.provenance.freeze import freeze, how_to_run

    print(how_to_run(freeze(arguments.folder)))
    return 0


def images_command(arguments: argparse.Namespace) -> int:
    """Build container images."""
    from robustft.errors import lookup
    from robustft.images.build import Settings, build_image
    from robustft.images.builders import choose

    def log(text: str) -> None:
        print(f"[images] {text}", flush=True)

    roles = configuration(arguments).images
    names = arguments.roles or roles
    images = {name: lookup(roles, name, kind="image role", where="config/images.yaml") for name in names}
    settings = Settings(
        program=choose(arguments.builder, log),
        base=arguments.base,
        pip_conf=arguments.pip_conf,
        mounts=tuple(arguments.mount),
        folder=arguments.folder,
        compression=arguments.compression,
        force=arguments.force,
    )
    for role, image in images.items():
        build_image(role, image, settings, log)
    return 0
