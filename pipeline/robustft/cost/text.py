"""A plan's cost for people, as aligned tables, and for programs, as JSON."""

from __future__ import annotations

from typing import Any

from robustft.cost.estimate import CostModel, Costs, Estimate, costs
from robustft.cost.machines import Machine, observed
from robustft.plan import Plan
from robustft.plan.step import Step

STEP_KINDS = ("download", "weights", "data", "train", "attack", "report")
DEVICES = (1, 4, 8, 16, 64)
CHAIN_SHOWN = 8
"""Steps of a longest chain that are named; the shortest are left out first."""


def duration(seconds: float) -> str:
    """Return seconds in a unit that people read."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:,.0f} h" if seconds < 96 * 3600 else f"{seconds / 86400:,.0f} days"


def hours(seconds: float) -> str:
    """Return device-hours: one decimal below ten, thousands apart."""
    value = seconds / 3600
    return f"{value:,.0f}" if value >= 10 else f"{value:.1f}" if value >= 0.1 else f"{value:.2f}"


def size(bytes: float) -> str:
    """Return bytes in decimal units."""
    for unit, factor in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if bytes >= factor:
            value = bytes / factor
            return f"{value:,.0f} {unit}" if value >= 10 else f"{value:.1f} {unit}"
    return f"{bytes:.0f} B"


def aligned(rows: list[list[str]], *, texts: int = 1) -> list[str]:
    """Return rows as lines with columns of equal width: the first `texts` to the left, the others to the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  ".join(
            cell.ljust(width) if column < texts else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def in_short(model: CostModel, steps: list[Step]) -> str:
    """Return in one sentence what some steps of a plan cost, without what they need before."""
    estimate, device = model.estimate(steps), "GPU" if model.machine.device == "cuda" else "core"
    training, attacks = duration(estimate.seconds["train"]), duration(estimate.seconds["attack"])
    return (
        f"about {training} of training and {attacks} of attacks on one {device} ({model.machine.title}; an estimate), "
        f"for {_number(estimate.runs, 'run')} and {_number(estimate.measurements, 'measurement')}"
    )


def _kinds(estimate: Estimate) -> dict[str, int]:
    """Return how many steps of each kind there are; all of the report's together."""
    known = {kind: estimate.kinds[kind] for kind in STEP_KINDS[:-1]}
    return {**known, "report": len(estimate.steps) - sum(known.values())}


def _parts(found: Costs) -> dict[str, Estimate]:
    """Return the rows of the tables."""
    shared = {"shared": found.shared} if found.shared.steps else {}
    several = len(found.papers) + len(shared) > 1
    return {**found.papers, **shared, **({"all": found.whole} if several else {})}


def _number(number: int, thing: str) -> str:
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def _counts(found: Costs) -> list[str]:
    rows = [["", "runs", "measurements", *STEP_KINDS, "steps"]]
    for name, part in _parts(found).items():
        kinds = [f"{number:,}" for number in _kinds(part).values()]
        rows.append([name, f"{part.runs:,}", f"{part.measurements:,}", *kinds, f"{len(part.steps):,}"])
    return aligned(rows)


def _resources(found: Costs, device: str) -> list[str]:
    unit = f"{device}-hours"
    rows = [["", f"training {unit}", f"attack {unit}", "longest chain", "downloads", "data", "checkpoints", "reports"]]
    for name, part in _parts(found).items():
        chain = found.alone.get(name, part).chain_s
        sizes = [size(part.disk[kind]) for kind in ("downloads", "data", "checkpoints", "reports")]
        sizes[0] += f" + {_number(len(part.unsized), 'file')}" if part.unsized else ""
        rows.append([name, hours(part.seconds["train"]), hours(part.seconds["attack"]), duration(chain), *sizes])
    return aligned(rows)


def _chain(estimate: Estimate) -> list[str]:
    """Return the steps of the longest chain, the longest of them where there are many."""
    shown = sorted(estimate.chain, key=lambda pair: -pair[1])[:CHAIN_SHOWN]
    rows = [
        [f"  {step.kind}", step.id, duration(seconds)] for step, seconds in estimate.chain if (step, seconds) in shown
    ]
    left = len(estimate.chain) - len(rows)
    return aligned(rows, texts=2) + ([f"  and {_number(left, 'shorter step')}"] if left else [])


def _overruns(model: CostModel, estimate: Estimate) -> list[str]:
    """Return a line for each kind of step that has jobs longer than the scale asks a cluster for."""
    lines = []
    for kind in ("data", "train", "attack"):
        limit = 60 * model.config.scale["resources"][kind]["runtime_min"]
        longest = sorted(
            (model.seconds(s), s.id) for s in estimate.steps if s.kind == kind and model.seconds(s) > limit
        )
        if longest:
            seconds, id = longest[-1]
            jobs = _number(len(longest), f"{kind} job")
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
    """Return what the estimate rests on."""
    machine = model.machine
    unknown = model.assumptions(estimate.steps)
    lines = ["", f"Estimated for {machine.title}; {machine.about}."]
    lines += [f"Finished steps of scale {found['scale']} took {_ratio(found)}." for found in observed(machine.name)]
    if machine.measured and unknown["backbones"]:
        lines.append(f"Not measured on it: {', '.join(unknown['backbones'])}.")
    if unknown["methods"]:
        lines.append(f"Taken to cost what adversarial training costs: {', '.join(unknown['methods'])}.")
    lines.append("Downloads are not timed. Shared pieces are counted once, in their own row; a chain counts them too.")
    return lines


def _ratio(found: dict[str, Any]) -> str:
    """Return how often what was predicted finished steps took, half of them within the quartiles."""
    low, middle, high = found["groups"]["all"]["ratio_quartiles"]
    return f"{middle} times what is estimated for them on it (half of them {low} to {high} times)"


def missing(plan: Plan) -> list[str]:
    """Return a line for each paper that names data sets for which this scale has nothing."""
    lines, scale = [], plan.config.scale
    for paper, document in plan.config.papers.items():
        wanted = {d for e in document.values["experiments"].values() for d in e["datasets"]}
        own = scale["papers"].get(paper, {}).get("stand_ins", {})
        known = {
            *own.get("datasets", scale["stand_ins"]["datasets"]),
            *(plan.config.datasets if scale["reproduces"] else ()),
        }
        if wanted - known:
            lines.append(f"{paper}: no stand-in at this scale for {', '.join(sorted(wanted - known))}")
    return lines


def describe(plan: Plan, *, details: bool = False, table: str | None = None, machine: Machine | None = None) -> str:
    """Return what would run and what it would cost, for a terminal.

    table: `PAPER/TABLE`, to count only what that table needs. details: list every step with its estimated time.
    """
    model = CostModel(plan, machine)
    found = costs(model, table=table)
    whole, device = found.whole, "GPU" if model.machine.device == "cuda" else "core"
    what = f"the table {table} at scale {plan.scale}" if table else f"scale {plan.scale}"
    lines = [f"{what}: {' '.join(plan.config.scale['about'].split())}", ""]
    if details:
        rows = [[f"  {duration(model.seconds(step))}", step.kind, step.id] for step in whole.steps]
        lines += [*aligned(rows, texts=3), ""]
    lines += [*_counts(found), "", *_resources(found, device)]
    lines += ["", f"The longest chain, {duration(whole.chain_s)}:", *_chain(whole)]
    walls = ", ".join(f"{duration(whole.wall_s(number))} on {number}" for number in DEVICES)
    lines += ["", f"At least, whatever the order: {walls} {device}s."]
    lines += _overruns(model, whole)
    return "\n".join([*lines, *_files(whole), *_basis(model, whole), *([] if table else missing(plan))])


def as_json(plan: Plan, *, table: str | None = None, machine: Machine | None = None) -> dict[str, Any]:
    """Return the same as plain values: seconds, bytes and counts."""
    model = CostModel(plan, machine)
    found = costs(model, table=table)
    return {
        "scale": plan.scale,
        "table": table,
        "machine": {"name": model.machine.name, "title": model.machine.title, "about": model.machine.about},
        "measured": model.machine.measured,
        "assumptions": model.assumptions(found.whole.steps),
        "whole": _plain(found.whole),
        "shared": _plain(found.shared),
        "papers": {
            name: {"own": _plain(part), "alone": _plain(found.alone[name])} for name, part in found.papers.items()
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
