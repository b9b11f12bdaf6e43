"""What some steps of a plan cost together: time, disk, downloads, and the longest chain."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field

from robustft.cost.disk import left_bytes
from robustft.cost.pricing import WORKING, CostModel
from robustft.cost.selection import steps_for_paper, steps_for_table
from robustft.plan import Plan
from robustft.plan.step import Step


@dataclass
class Estimate:
    """What a set of steps costs. Seconds are device-seconds: a run of several processes holds one device for each."""

    steps: list[Step]
    runs: int
    measurements: int
    kinds: Counter[str] = field(default_factory=Counter)
    seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    """By kind of step, device-seconds."""
    disk: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    """Bytes on disk of downloads (those with a published size), data, checkpoints and reports (ledgers, records)."""
    unsized: list[str] = field(default_factory=list)
    """Files to download whose size was not published."""
    by_hand: dict[str, str] = field(default_factory=dict)
    """Files that cannot be downloaded freely, and what to do for them."""
    chain: list[tuple[Step, float]] = field(default_factory=list)
    """The longest chain of steps, each with its seconds."""

    @property
    def busy_s(self) -> float:
        """Device-seconds of training and attacks."""
        return sum(self.seconds[kind] for kind in WORKING)

    @property
    def chain_s(self) -> float:
        """Seconds of the longest chain: the least wall time however many devices there are."""
        return sum(seconds for _, seconds in self.chain)

    def wall_s(self, devices: int) -> float:
        """Return the least wall time in seconds on so many devices."""
        return max(self.busy_s / devices, self.chain_s)


def estimate_steps(model: CostModel, steps: list[Step]) -> Estimate:
    """Return what some steps cost together. The longest chain lies within these steps."""
    keys = {step.key for step in steps}
    evaluations = [e for e in model.plan.evaluations if e.step.key in keys]
    trained = {run.id for run in model.plan.runs if run.trained and run.step.key in keys}
    total = Estimate(
        steps,
        runs=len(trained | {e.run.id for e in evaluations}),
        measurements=sum(len(e.attacks) for e in evaluations),
    )
    for step in steps:
        total.kinds[step.kind] += 1
        total.seconds[step.kind] += model.device_seconds(step)
        for what, bytes in left_bytes(step, model.config.backbones).items():
            total.disk[what] += bytes
        if step.kind == "download":
            file = model.config.files[step.id]
            if "bytes" not in file:
                total.unsized.append(step.id)
            if not file.get("urls"):
                total.by_hand[file["name"]] = file.get("manual", "")
    total.chain = _longest_chain(model, steps)
    return total


def _longest_chain(model: CostModel, steps: list[Step]) -> list[tuple[Step, float]]:
    """Return the slowest chain of dependent steps. `steps` are in plan order, each after the steps that it needs."""
    finish: dict[str, float] = {}
    previous: dict[str, Step | None] = {}
    for step in steps:
        producers = [p for path in step.inputs.values() if (p := model.plan.producer(path)) and p.key in finish]
        last = max(producers, key=lambda producer: finish[producer.key], default=None)
        previous[step.key] = last
        finish[step.key] = model.seconds(step) + (finish[last.key] if last else 0.0)
    end = model.plan.steps[max(finish, key=lambda key: finish[key])] if finish else None
    chain = []
    while end is not None:
        chain.append((end, model.seconds(end)))
        end = previous[end.key]
    return chain[::-1]


@dataclass
class Costs:
    """What a plan, or a part of it, costs."""

    whole: Estimate
    shared: Estimate
    """What several papers need. It is part of no entry of `papers`."""
    papers: dict[str, Estimate]
    """What only this paper needs."""
    alone: dict[str, Estimate]
    """All that each paper needs, shared steps included."""


def costs(model: CostModel, *, table: str | None = None) -> Costs:
    """Return what the plan costs, for each paper and in all; with `table`, what that table needs."""
    steps = steps_for_table(model.plan, table) if table else list(model.plan.steps.values())
    keys = {step.key for step in steps}
    names = [table.split("/")[0]] if table else list(model.config.papers)
    closures = {name: [s for s in steps_for_paper(model.plan, name) if s.key in keys] for name in names}
    users = Counter(step.key for closure in closures.values() for step in closure)
    return Costs(
        whole=estimate_steps(model, steps),
        shared=estimate_steps(model, [step for step in steps if users[step.key] > 1]),
        papers={
            name: estimate_steps(model, [step for step in closure if users[step.key] == 1])
            for name, closure in closures.items()
        },
        alone={name: estimate_steps(model, closure) for name, closure in closures.items()},
    )


def urgency(plan: Plan) -> dict[str, int]:
    """Return how urgent each bundle is: those of a cheaper paper first, so that its tables are there early.

    Within a paper it is the estimated seconds from a bundle's start to the end of the last one that depends on it, so
    that few jobs run alone at the end.
    """
    model, bundles = CostModel(plan), plan.bundles()
    own = {bundle.name: sum(model.seconds(step) for step in bundle.steps) for bundle in bundles}
    maker = {path: bundle.name for bundle in bundles for step in bundle.steps for path in step.outputs.values()}
    after: dict[str, float] = defaultdict(float)
    of_paper: dict[str, float] = defaultdict(float)
    urgencies = {}
    for bundle in reversed(bundles):
        of_paper[bundle.paper] += own[bundle.name]
        seconds = own[bundle.name] + after[bundle.name]
        urgencies[bundle.name] = round(seconds)
        for source in {maker[path] for step in bundle.steps for path in step.inputs.values() if path in maker}:
            if source != bundle.name:
                after[source] = max(after[source], seconds)
    ranks = {paper: rank for rank, paper in enumerate(sorted(of_paper, key=of_paper.__getitem__, reverse=True))}
    whole = round(sum(own.values())) + 1
    return {bundle.name: urgencies[bundle.name] + whole * ranks[bundle.paper] for bundle in bundles}
