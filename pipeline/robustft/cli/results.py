"""Commands that read finished results: audit, explain, compare, summary, readme and adopt; none imports torch."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from robustft.cli.common import logger, place, planned
from robustft.escape import terminal


def audit_command(arguments: argparse.Namespace) -> int:
    """Print the audit. The exit status is 1 if it has findings."""
    if arguments.folder is not None:
        return _audit_evaluation(arguments.folder)
    from robustft.provenance.audit import audit

    report = audit(planned(arguments), require_images=arguments.require_images)
    print(report.text(everything=arguments.all))
    return 0 if report.ok else 1


def _audit_evaluation(folder: Path) -> int:
    from robustft.assess.audit import audit_folder
    from robustft.cli.evaluating import HERE

    sys.path.insert(0, str(HERE))  # where the source of a user's own network is looked for
    broken = audit_folder(folder)
    for line in broken:
        print(line)
    verdict = (
        f"{len(broken)} broken links" if broken else "passed: every number is counted from its ledger, of this code"
    )
    print(f"audit of {folder}: {verdict}")
    return 1 if broken else 0


def explain_command(arguments: argparse.Namespace) -> int:
    """Print the lineage of one number."""
    if (place(arguments.cell) / "evaluation.json").is_file():
        from robustft.assess.audit import explain_folder

        print(explain_folder(place(arguments.cell)))
        return 0
    from robustft.provenance.explain import explain

    print(terminal(explain(planned(arguments), arguments.cell), lines=True))
    return 0


def compare_command(arguments: argparse.Namespace) -> int:
    """Print the comparison of two results folders. The exit status is 1 if they differ by more than the spread."""
    import json

    from robustft.provenance.compare import Comparison
    from robustft.provenance.compare_text import text

    comparison = Comparison(arguments.a, arguments.b)
    if arguments.json:
        print(json.dumps(comparison.as_json(), indent=2, ensure_ascii=False))
    else:
        print(terminal(text(comparison, everything=arguments.all), lines=True))
    return 0 if comparison.same else 1


def summary_command(arguments: argparse.Namespace) -> int:
    """Print the counts of measurements and verdicts."""
    from robustft.plan import RESULTS
    from robustft.report.formats import to_markdown
    from robustft.report.summary import summary

    plan = planned(arguments)
    papers = [step.id for step in plan.of_kind("numbers")]
    print(to_markdown(summary(Path(RESULTS) / plan.scale, papers, scale=plan.scale)), end="")
    return 0


def tables_command(arguments: argparse.Namespace) -> int:
    """Print tables and verdicts of a scale. Raises RobustftError for an unknown name and for a missing file."""
    from rich.console import Console

    from robustft.cli.terminal_table import chosen, read_table

    console = Console(highlight=False)
    for path in chosen(planned(arguments), arguments.names):
        console.print(read_table(path).rendered(), "")
    return 0


def choose_command(arguments: argparse.Namespace) -> int:
    """Print the points of a grid from the best to the worst on validation images, and the lines that the best one is.

    Raises RobustftError for an experiment that measures other images.
    """
    from robustft.errors import RobustftError, lookup
    from robustft.files import read_json
    from robustft.plan.graph import RESULTS

    plan = planned(arguments)
    paper, _, name = arguments.id.partition("/")
    document = lookup(plan.config.papers, paper, kind="paper", where="robustft choose")
    lookup(document.values["experiments"], name, kind="experiment", where=document.path)
    cells = [
        cell
        for cell in read_json(f"{RESULTS}/{plan.scale}/{paper}/numbers.json")["cells"]
        if cell["experiment"] == name and cell["evaluation"] == f"{name}_select" and cell["unit"] == "share"
    ]
    if not cells or any(cell["split"] != "validation" for cell in cells):
        raise RobustftError("this experiment is no grid that was run", where=arguments.id, expected="one with `grid`")
    methods = document.values["methods"]
    for cell in sorted(cells, key=lambda one: -one["mean"]):
        print(f"{100 * cell['mean']:6.2f} %  {cell['method']}  {methods[cell['method']]['title']}")
    best = max(cells, key=lambda one: one["mean"])["method"]
    images, attack = cells[0]["images"], cells[0]["attack"]
    print(f"\nchosen on {images} validation images under {attack}; train it under a name of its own:")
    print(f"  methods:\n    {best.rpartition('_g')[0]}_chosen: {{extends: {best}, title: chosen on validation images}}")
    return 0


def readme_command(arguments: argparse.Namespace) -> int:
    """Write the tables into README.md and docs/."""
    from robustft.provenance.readme import update_readme

    print(update_readme(planned(arguments)))
    return 0


def adopt_command(arguments: argparse.Namespace) -> int:
    """Make verified results known to Snakemake."""
    from robustft.provenance.adopt import adopt

    adopt(planned(arguments), log=logger("adopt"))
    return 0
