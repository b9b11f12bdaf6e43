"""The cost of a plan as text, in aligned tables, and as JSON."""

from __future__ import annotations

from typing import Any

from robustft.cost.estimate import Costs, Estimate, costs, estimate_steps
from robustft.cost.machines import Machine, observed
from robustft.cost.pricing import CostModel
from robustft.plan import Plan
from robustft.plan.step import Step

STEP_KINDS = ("download", "weights", "data", "train", "attack", "report")
DEVICES = (1, 4, 8, 16, 64)
CHAIN_STEPS = 8
"""How many steps of the longest chain are printed: the longest ones."""


def duration(seconds: float) -> str:
    """Return a duration as text, in seconds, minutes, hours or days."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:,.0f} h" if seconds < 96 * 3600 else f"{seconds / 86400:,.0f} days"


def hours(seconds: float) -> str:
    """Return seconds as hours: one decimal below ten, a comma between thousands."""
    value = seconds / 3600
    return f"{value:,.0f}" if value >= 10 else f"{value:.1f}" if value >= 0.1 else f"{value:.2f}"


def size(bytes: float) -> str:
    """Return bytes as text in decimal units."""
    for unit, factor in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if bytes >= factor:
            value = bytes / factor
            return f"{value:,.0f} {unit}" if value >= 10 else f"{value:.1f} {unit}"
    return f"{bytes:.0f} B"


def aligned(rows: list[list[str]], *, texts: int = 1) -> list[str]:
    """Return rows as lines with aligned columns: the first `texts` columns to the left, the others to the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  ".join(
            cell.ljust(width) if column < texts else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def in_short(model: CostModel, steps: list[Step]) -> str:
    """Return in one sentence what some steps of a plan cost, without the steps that they depend on."""
    total = estimate_steps(model, steps)
    training, attacks = duration(total.seconds["train"]), duration(total.seconds["attack"])
    return (
        f"about {training} of training and {attacks} of attacks "
        f"on one {device_of(model)} ({model.machine.title}; an estimate), "
        f"for {counted(total.runs, 'run')} and {counted(total.measurements, 'measurement')}"
    )


def device_of(model: CostModel) -> str:
    """Return what a job holds: a GPU or a core."""
    return "GPU" if model.machine.device == "cuda" else "core"


def _kinds(estimate: Estimate) -> dict[str, int]:
    """Return the number of steps of each kind; all kinds of the report count as one."""
    known = {kind: estimate.kinds[kind] for kind in STEP_KINDS[:-1]}
    return {**known, "report": len(estimate.steps) - sum(known.values())}


def _parts(sums: Costs) -> dict[str, Estimate]:
    """Return the rows of the tables."""
    shared = {"shared": sums.shared} if sums.shared.steps else {}
    several = len(sums.papers) + len(shared) > 1
    return {**sums.papers, **shared, **({"all": sums.whole} if several else {})}


def counted(number: int, thing: str) -> str:
    """Return a number with its noun, in the plural unless it is one."""
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def _counts(sums: Costs) -> list[str]:
    rows = [["", "runs", "measurements", *STEP_KINDS, "steps"]]
    for name, part in _parts(sums).items():
        kinds = [f"{number:,}" for number in _kinds(part).values()]
        rows.append([name, f"{part.runs:,}", f"{part.measurements:,}", *kinds, f"{len(part.steps):,}"])
    return aligned(rows)


def _resources(sums: Costs, device: str) -> list[str]:
    unit = f"{device}-hours"
    rows = [["", f"training {unit}", f"attack {unit}", "longest chain", "downloads", "data", "checkpoints", "reports"]]
    for name, part in _parts(sums).items():
        chain = sums.alone.get(name, part).chain_s
        sizes = [size(part.disk[kind]) for kind in ("downloads", "data", "checkpoints", "reports")]
        sizes[0] += f" + {counted(len(part.unsized), 'file')}" if part.unsized else ""
        rows.append([name, hours(part.seconds["train"]), hours(part.seconds["attack"]), duration(chain), *sizes])
    return aligned(rows)


def _chain(estimate: Estimate) -> list[str]:
    """Return the lines of the longest chain: its CHAIN_STEPS longest steps, in order."""
    longest = sorted(estimate.chain, key=lambda pair: -pair[1])[:CHAIN_STEPS]
    rows = [
        [f"  {step.kind}", step.id, duration(seconds)] for step, seconds in estimate.chain if (step, seconds) in longest
    ]
    left = len(estimate.chain) - len(rows)
    return aligned(rows, texts=2) + ([f"  and {counted(left, 'shorter step')}"] if left else [])


def _overruns(model: CostModel, estimate: Estimate) -> list[str]:
    """Return a line for each kind of step with jobs longer than the time that the scale requests from a cluster."""
    lines = []
    for kind in ("data", "train", "attack"):
        limit = 60 * model.config.scale["resources"][kind]["runtime_min"]
        longest = sorted(
            (model.seconds(s), s.id) for s in estimate.steps if s.kind == kind and model.seconds(s) > limit
        )
        if longest:
            seconds, id = longest[-1]
            jobs = counted(len(longest), f"{kind} job")
            lines.append(
                f"Longer than the scale's runtime_min of {duration(limit)}: {jobs}, up to {duration(seconds)} ({id})."
            )
    return ["", *lines] if lines else []


def _files(estimate: Estimate) -> list[str]:
    lines = []
    if estimate.unsized:
        lines += ["", f"Files whose size was not published: {', '.join(estimate.unsized)}."]
    if estimate.by_hand:
        lines += ["", "Files to be obtained by hand:"]
        ways: dict[str, list[str]] = {}
        for name, what in estimate.by_hand.items():
            ways.setdefault(" ".join(what.split()), []).append(name)
        lines += [f"  {', '.join(names)}: {what}" for what, names in ways.items()]
    return lines


def _basis(model: CostModel, estimate: Estimate) -> list[str]:
    """Return what the estimate is based on."""
    machine = model.machine
    unknown = model.assumptions(estimate.steps)
    lines = ["", f"Estimated for {machine.title}; {machine.about}."]
    lines += [
        f"Finished steps of scale {comparison['scale']} took {_ratio(comparison)}."
        for comparison in observed(machine.name)
    ]
    if machine.measured and unknown["backbones"]:
        lines.append(f"Not measured on it: {', '.join(unknown['backbones'])}.")
    if unknown["methods"]:
        lines.append(f"Taken to cost what adversarial training costs: {', '.join(unknown['methods'])}.")
    lines.append("Downloads are not timed. Shared pieces are counted once, in their own row; a chain counts them too.")
    return lines


def _ratio(comparison: dict[str, Any]) -> str:
    """Return observed over predicted time of finished steps: the median and the quartiles."""
    low, middle, high = comparison["groups"]["all"]["ratio_quartiles"]
    return f"{middle} times what is estimated for them on it (half of them {low} to {high} times)"


def _left_out(plan: Plan) -> list[str]:
    return ["", f"Left out at scale {plan.scale}:", *(f"  {text}" for text in plan.left_out)] if plan.left_out else []


def describe(plan: Plan, *, details: bool = False, table: str | None = None, machine: Machine | None = None) -> str:
    """Return what would run and what it would cost, for a terminal.

    table: `PAPER/TABLE`, to count only what that table needs. details: list every step with its estimated time.
    """
    model = CostModel(plan, machine)
    sums = costs(model, table=table)
    whole, device = sums.whole, device_of(model)
    what = f"the table {table} at scale {plan.scale}" if table else f"scale {plan.scale}"
    lines = [f"{what}: {' '.join(plan.config.scale['about'].split())}", ""]
    if details:
        rows = [[f"  {duration(model.seconds(step))}", step.kind, step.id] for step in whole.steps]
        lines += [*aligned(rows, texts=3), ""]
    lines += [*_counts(sums), "", *_resources(sums, device)]
    lines += ["", f"The longest chain, {duration(whole.chain_s)}:", *_chain(whole)]
    walls = ", ".join(f"{duration(whole.wall_s(number))} on {number}" for number in DEVICES)
    lines += ["", f"At least, whatever the order: {walls} {device}s."]
    lines += _overruns(model, whole)
    return "\n".join([*lines, *_files(whole), *_basis(model, whole), *([] if table else _left_out(plan))])


def as_json(plan: Plan, *, table: str | None = None, machine: Machine | None = None) -> dict[str, Any]:
    """Return the sums of `describe` as plain values: seconds, bytes and counts."""
    model = CostModel(plan, machine)
    sums = costs(model, table=table)
    return {
        "scale": plan.scale,
        "table": table,
        "machine": {"name": model.machine.name, "title": model.machine.title, "about": model.machine.about},
        "measured": model.machine.measured,
        "assumptions": model.assumptions(sums.whole.steps),
        "whole": _plain(sums.whole),
        "shared": _plain(sums.shared),
        "papers": {
            name: {"own": _plain(part), "alone": _plain(sums.alone[name])} for name, part in sums.papers.items()
        },
    }


def _plain(estimate: Estimate) -> dict[str, Any]:
    return {
        "runs": estimate.runs,
        "measurements": estimate.measurements,
        "steps": _kinds(estimate),
        "device_seconds": {kind: round(estimate.seconds[kind], 1) for kind in ("train", "attack")},
        "bytes": {kind: round(value) for kind, value in sorted(estimate.disk.items())},
        "files_without_size": estimate.unsized,
        "files_by_hand": estimate.by_hand,
        "longest_chain_s": round(estimate.chain_s, 1),
        "longest_chain": [{"step": step.key, "seconds": round(seconds, 1)} for step, seconds in estimate.chain],
        "wall_s": {str(number): round(estimate.wall_s(number), 1) for number in DEVICES},
    }
