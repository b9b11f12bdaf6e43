"""Commands that print the steps, costs and files of a plan; none of them imports torch."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from robustft.cli.common import planned

EVERY = ""
"""The name of a table that stands for each of them."""

UNITS = {"min": 60, "h": 3600, "d": 86400}


def seconds(text: str) -> float:
    """Return a time such as `24h`, `90min` or `2d` in seconds. Raises ArgumentTypeError for any other text."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(min|h|d)", text)
    if found is None:
        raise argparse.ArgumentTypeError(f"'{text}' is no time; write it as 90min, 24h or 2d")
    return float(found[1]) * UNITS[found[2]]


def count(text: str) -> int:
    """Return a number of images. Raises ArgumentTypeError for what is no whole number from 1 on."""
    if not text.isdigit() or not int(text):
        raise argparse.ArgumentTypeError(f"'{text}' is no number of images; write a whole number from 1 on")
    return int(text)


def plan_command(arguments: argparse.Namespace) -> int:
    """Print the planned steps and their estimated cost."""
    from robustft.cost import as_json, describe, describe_tables
    from robustft.cost.machines import machine_for
    from robustft.files import write_json
    from robustft.report.claims import counts, describe_counts

    plan = planned(arguments)
    machine = machine_for(plan.config.scale["device"], name=arguments.machine)
    if arguments.table == EVERY or arguments.budget is not None:
        print(describe_tables(plan, budget_s=arguments.budget, machine=machine))
        return 0
    print(describe(plan, details=arguments.details, table=arguments.table, machine=machine))
    if not arguments.table:
        papers, tables = plan.config.papers, plan.config.claims
        print("\nClaims on record:")
        for line in describe_counts(counts({name: (papers[name].values["claims"], tables[name]) for name in papers})):
            print(f"  {line}")
    if arguments.json:
        write_json(arguments.json, as_json(plan, table=arguments.table, machine=machine))
    return 0


def files_command(arguments: argparse.Namespace) -> int:
    """Print the missing downloads. The exit status is 1 if there are any."""
    from robustft.data.fetch.mirror import missing

    plan = planned(arguments)
    steps = {step.id: step for step in plan.of_kind("download")}
    lines = missing(
        {key: plan.config.files[key] for key in steps},
        lambda key: all(Path(path).is_file() for path in (*steps[key].outputs.values(), steps[key].record)),
    )
    print("\n".join([*lines, f"{len(lines)} of the {len(steps)} files that are needed are missing"]))
    return 1 if lines else 0


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
