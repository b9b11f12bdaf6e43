"""The tables of a plan as text: each with its price, or those within a budget with the claims that they judge."""

from __future__ import annotations

from collections import Counter

from robustft.cost.budget import TablePrice, table_prices, within
from robustft.cost.machines import Machine
from robustft.cost.pricing import CostModel
from robustft.cost.render import aligned, counted, device_of, duration
from robustft.plan import Plan
from robustft.report.verdict_tables import SUBSET

MINIMUM_SEEDS = 3
"""Of a verdict (report/verdicts.py)."""


def describe_tables(plan: Plan, *, budget_s: float | None = None, machine: Machine | None = None) -> str:
    """Return the tables of a plan, the cheapest first; with a budget those that fit one device, and their claims."""
    model = CostModel(plan, machine)
    prices, device = table_prices(model), device_of(model)
    if budget_s is None:
        rows = [["table", "training and attacks", "runs", "claims"]]
        rows += [
            [one.name, f"{duration(one.seconds)} of one {device}", str(_runs(one)), str(len(one.claims))]
            for one in prices
        ]
        return "\n".join([*_head(plan, "each table alone, the cheapest first"), *aligned(rows), *_footer(model, plan)])
    chosen = within(model, prices, budget_s)
    spent = sum(choice.added for choice in chosen)
    fits = f"{counted(len(chosen), 'table')} of {len(prices)}"
    what = f"{duration(spent)} of {duration(budget_s)} of one {device}: {fits}"
    lines = _head(plan, what)
    for choice in chosen:
        lines += [f"{choice.table.name}, {duration(choice.added)} more: {choice.table.title}", *_judged(choice.table)]
    if not chosen:
        cheapest = f"{prices[0].name}, {duration(prices[0].seconds)}" if prices else "there is none"
        lines.append(f"No table fits. The cheapest: {cheapest}.")
    elif len(chosen) < len(prices):
        rest = [one for one in prices if one.name not in {choice.table.name for choice in chosen}]
        lines += ["", f"The next one: {rest[0].name}, {duration(rest[0].seconds)} alone."]
    return "\n".join([*lines, *_footer(model, plan)])


def _head(plan: Plan, what: str) -> list[str]:
    seeds, lines = plan.config.seeds, [f"scale {plan.scale}, {what}", ""]
    if "subset" in plan.config.scale:
        images = f"{plan.config.scale['subset']['images']:,} images an evaluation"
        lines += [f'With at most {images}: every claim reads "{SUBSET}".', ""]
    elif seeds is not None and seeds < MINIMUM_SEEDS:
        lines += [f"With {counted(seeds, 'seed')}: every claim about a training is inconclusive.", ""]
    return lines


def _runs(price: TablePrice) -> int:
    return sum(step.kind == "train" for step in price.steps)


def _judged(price: TablePrice) -> list[str]:
    """Return the claims of a table, a line for each statement; those of a long table are counted."""
    own = [claim for claim in price.claims if "table" not in claim]
    listed = Counter(str(claim["table"]) for claim in price.claims if "table" in claim)
    lines = [f"    {claim['id']}: {claim['statement']}" for claim in own]
    return lines + [f"    {counted(count, 'published value')} of {table}" for table, count in listed.items()]


def _footer(model: CostModel, plan: Plan) -> list[str]:
    lines = [
        "",
        "Snakemake counts the numbers of a paper from all of its ledgers. For a part of them: a scale of your own that",
    ]
    lines.append("`extends` this one, with `left_out:` and `methods:` under `papers:`.")
    lines += ["", f"Estimated for {model.machine.title}; {model.machine.about}."]
    if plan.config.scale["reproduces"] and "subset" not in plan.config.scale:
        lines.append("On fewer images or seeds: --images 1000 --seeds 1, as in scale paper_1000.")
    return lines
