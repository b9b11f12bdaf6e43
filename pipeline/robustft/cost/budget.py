"""The tables of a plan by what each costs, and those that fit into a budget of one device."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from robustft.cost.pricing import WORKING, CostModel
from robustft.cost.selection import steps_for_table
from robustft.plan.step import Step
from robustft.report.claim_matching import unmeasured
from robustft.report.claims import MISSING, Claim


@dataclass(frozen=True)
class TablePrice:
    """What the cells of one table need."""

    name: str
    """`PAPER/TABLE`."""
    title: str
    steps: tuple[Step, ...]
    seconds: float
    """Of training and attacks on one device, alone."""
    claims: tuple[Claim, ...]
    """The claims with a published value or an ordering that its cells can judge."""


@dataclass(frozen=True)
class Choice:
    """A table within a budget."""

    table: TablePrice
    added: float
    """Seconds that it adds to the tables before it: what several need is paid for once."""


def table_prices(model: CostModel) -> list[TablePrice]:
    """Return every table of the plan, the cheapest first."""
    plan = model.plan
    prices = []
    for step in plan.of_kind("table"):
        needed = tuple(steps_for_table(plan, step.id))
        about = step.spec["table"]
        prices.append(TablePrice(step.id, about["title"], needed, _seconds(model, needed), tuple(_claims(model, step))))
    return sorted(prices, key=lambda price: (price.seconds, price.name))


def within(model: CostModel, tables: Iterable[TablePrice], budget_s: float) -> list[Choice]:
    """Return the tables that fit into so many seconds of one device: again and again the one that adds least."""
    left, paid, chosen = list(tables), set[str](), list[Choice]()
    while left:
        added = {table.name: _seconds(model, (s for s in table.steps if s.key not in paid)) for table in left}
        cheapest = min(left, key=lambda table: (added[table.name], table.name))
        if sum(choice.added for choice in chosen) + added[cheapest.name] > budget_s:
            break
        chosen.append(Choice(cheapest, added[cheapest.name]))
        paid.update(step.key for step in cheapest.steps)
        left.remove(cheapest)
    return chosen


def _seconds(model: CostModel, steps: Iterable[Step]) -> float:
    return sum(model.device_seconds(step) for step in steps if step.kind in WORKING)


def _claims(model: CostModel, step: Step) -> list[Claim]:
    """Return the claims with a published value, or an ordering, that the cells of a table alone can judge."""
    spec, paper = step.spec, step.spec["paper"]
    verdicts, experiment = model.plan.step("verdicts", paper).spec, spec["table"]["experiment"]
    claims = [*verdicts["claims"], *(claim for table in verdicts.get("tables", []) for claim in table["claims"])]
    evaluations, rows = {one["evaluation"] for one in spec["shown"].values()}, set(spec["rows"])
    members = [
        {**one, "attacks": [attack for attack in one["attacks"] if attack in spec["shown"]]}
        for one in verdicts["members"]
        if one["experiment"] == experiment and one["evaluation"] in evaluations and one["method"] in rows
    ]
    trainings = [
        {"experiment": run.experiment, "method": run.method, "dataset": run.dataset}
        for run in model.plan.runs
        if run.paper == paper and run.experiment == experiment and run.method in rows
    ]
    columns = set(spec["table"].get("columns", []))
    known = [claim for claim in claims if claim.get("value") != MISSING]
    left = unmeasured(known, members, trainings, training_metrics=columns - set(spec["shown"]))
    return [claim for claim in known if claim["id"] not in left]
