"""Which steps of a plan a paper or a table needs."""

from __future__ import annotations

from robustft.errors import RobustftError, nearest
from robustft.plan import Plan
from robustft.plan.step import Step


def steps_for_paper(plan: Plan, paper: str) -> list[Step]:
    """Return the steps that a paper's runs, tables, figures and verdicts need."""
    own = [s for s in plan.steps.values() if s.id == paper or s.id.startswith(f"{paper}/")]
    return plan.needed(own)


def steps_for_table(plan: Plan, name: str) -> list[Step]:
    """Return the steps that the cells of one table, `paper/table`, need.

    One step computes all numbers of a paper from all its ledgers. Here a ledger counts only if it holds both a row and
    a column of the table, or the table's control. Raises RobustftError for an unknown table.
    """
    tables = {step.id: step for step in plan.of_kind("table")}
    if name not in tables:
        raise RobustftError(f"scale '{plan.scale}' has no table '{name}'", next_step=nearest(name, tables))
    spec, paper = tables[name].spec, name.split("/")[0]
    table = spec["table"]
    shown = spec["shown"]
    evaluations = {one["evaluation"] for one in shown.values()}
    ledgers = [
        e.step
        for e in plan.paper_evaluations(paper)
        if shown.keys() & set(e.attacks)
        and (
            (e.run.experiment == table["experiment"] and e.run.method in spec["rows"] and e.name in evaluations)
            or (e.run.experiment == spec["control"] and e.transfer_eval == (table.get("across") == "datasets"))
        )
    ]
    trainings = [
        run.step
        for run in plan.runs
        if run.paper == paper and run.experiment == table["experiment"] and run.method in spec["rows"] and run.trained
    ]
    return plan.needed([*ledgers, *trainings])
