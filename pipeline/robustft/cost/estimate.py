"""What some steps of a plan cost: time, disk, downloads, and the longest chain. Estimates; they enter no result."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from robustft.cost.disk import images, left_bytes
from robustft.cost.machines import Machine, machine_for
from robustft.cost.passes import ONE_MODEL, class_count, has_rule
from robustft.errors import RobustftError, nearest
from robustft.plan import Plan
from robustft.plan.step import Step

START_UP_S = 3.0
"""Starting Python and importing torch, for each job that needs it."""

IN_BUNDLE_S = 0.15
"""Reading the inputs and writing the record of a step that shares its process with others."""

REPORT_S = 1.0
"""A step of the report."""

PICTURE_S = 0.002
"""Decoding one picture and resizing it: PIL took 1.8 ms for a 500 x 375 JPEG of 84 kB on one core of an AMD EPYC."""

WORKING = ("train", "attack")
"""Kinds of steps that hold a GPU, or a core of a plan without GPUs."""


@dataclass
class Estimate:
    """What a set of steps costs. Seconds are of one device; a run of several processes holds as many."""

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


class CostModel:
    """Prices the steps of one plan on one machine."""

    def __init__(self, plan: Plan, machine: Machine | None = None) -> None:
        self.plan, self.config = plan, plan.config
        self.machine = machine or machine_for(self.config.scale["device"])
        self._seconds: dict[str, float] = {}

    # -- time ------------------------------------------------------------------------------------------------------

    def seconds(self, step: Step) -> float:
        """Return the estimated wall time of one step in seconds. Downloads take what the line takes: 0 here."""
        if step.key not in self._seconds:
            self._seconds[step.key] = self._priced(step)
        return self._seconds[step.key]

    def device_seconds(self, step: Step) -> float:
        """Return for how long one step holds how many devices: wall time times its processes."""
        return self.seconds(step) * (step.spec["processes"] if step.kind == "train" else 1)

    def _priced(self, step: Step) -> float:
        if step.kind == "download":
            return 0.0
        if step.kind == "data":
            source = step.spec["source"]
            return START_UP_S + images(step) * (PICTURE_S if "geometry" in source else 0.0)
        if step.kind == "weights":
            return START_UP_S
        if step.kind not in WORKING:
            return REPORT_S
        if step.kind == "attack":
            return self._start_up(step) + self._attack_s(step)
        return self._start_up(step) + self.machine.training_s(step.spec, self.config.backbones) / step.spec["processes"]

    def _start_up(self, step: Step) -> float:
        """The first step of a bundle starts Python and torch for all of them."""
        if self.config.scale["bundle"] and step.key in self.plan.bundled and not self.plan.bundled[step.key]:
            return IN_BUNDLE_S
        return START_UP_S

    def _attack_s(self, step: Step) -> float:
        spec = step.spec
        networks = [model.spec for model in self.models(step)]
        view = self.config.datasets[spec["dataset"]]
        shape = self.config.sources[view["source"]]["shape"]
        return self.machine.attack_s(
            spec, networks, self.config.backbones, classes=class_count(view["classes"]), shape=shape
        )

    def models(self, step: Step) -> list[Step]:
        """Return the steps whose networks an image passes in an attack: of a merge one, of an ensemble all."""
        producers = [self.plan.producer(path) for role, path in step.inputs.items() if role.startswith("checkpoint")]
        found = [producer for producer in producers if producer is not None]
        derivation = step.spec["derivation"] or {}
        return found[:1] if derivation.get("implementation") in ONE_MODEL else found

    # -- which steps -----------------------------------------------------------------------------------------------

    def needed(self, ends: Iterable[Step]) -> list[Step]:
        """Return `ends` and every step that they need, in plan order."""
        seen: set[str] = set()
        queue = list(ends)
        while queue:
            step = queue.pop()
            if step.key not in seen:
                seen.add(step.key)
                queue += [p for path in step.inputs.values() if (p := self.plan.producer(path)) is not None]
        return [step for key, step in self.plan.steps.items() if key in seen]

    def for_paper(self, paper: str) -> list[Step]:
        """Return the steps that a paper's runs, tables, figures and verdicts need."""
        own = [s for s in self.plan.steps.values() if s.id == paper or s.id.startswith(f"{paper}/")]
        return self.needed(own)

    def for_table(self, name: str) -> list[Step]:
        """Return the steps that the cells of one table, `paper/table`, need.

        The numbers of a paper are computed in one step from all its ledgers; here only the ledgers are counted that
        hold a row and a column of the table, or its control.
        """
        tables = {step.id: step for step in self.plan.of_kind("table")}
        if name not in tables:
            raise RobustftError(f"scale '{self.plan.scale}' has no table '{name}'", next_step=nearest(name, tables))
        spec, paper = tables[name].spec, name.split("/")[0]
        table = spec["table"]
        attacks = {table["metric"]} if table.get("across") == "datasets" else set(table["columns"])
        ledgers = [
            e.step
            for e in self.plan.paper_evaluations(paper)
            if attacks & set(e.attacks)
            and e.transfer_eval == (table.get("across") == "datasets")
            and (
                (e.run.experiment == table["experiment"] and e.run.method in spec["rows"])
                or e.run.experiment == spec["control"]
            )
        ]
        trainings = [
            run.step
            for run in self.plan.runs
            if run.paper == paper
            and run.experiment == table["experiment"]
            and run.method in spec["rows"]
            and run.trained
        ]
        return self.needed([*ledgers, *trainings])

    # -- sums ------------------------------------------------------------------------------------------------------

    def estimate(self, steps: list[Step]) -> Estimate:
        """Return what some steps cost together. The longest chain is that within them."""
        keys = {step.key for step in steps}
        evaluations = [e for e in self.plan.evaluations if e.step.key in keys]
        trained = {run.id for run in self.plan.runs if run.trained and run.step.key in keys}
        found = Estimate(
            steps,
            runs=len(trained | {e.run.id for e in evaluations}),
            measurements=sum(len(e.attacks) for e in evaluations),
        )
        for step in steps:
            found.kinds[step.kind] += 1
            found.seconds[step.kind] += self.device_seconds(step)
            for what, bytes in left_bytes(step, self.config.backbones).items():
                found.disk[what] += bytes
            if step.kind == "download":
                file = self.config.files[step.id]
                if "bytes" not in file:
                    found.unsized.append(step.id)
                if not file.get("urls"):
                    found.by_hand[file["name"]] = file.get("manual", "")
        found.chain = self._longest_chain(steps)
        return found

    def _longest_chain(self, steps: list[Step]) -> list[tuple[Step, float]]:
        """Return the chain of steps, in plan order, that takes longest; steps come after what they need."""
        finish: dict[str, float] = {}
        before: dict[str, Step | None] = {}
        for step in steps:
            producers = [p for path in step.inputs.values() if (p := self.plan.producer(path)) and p.key in finish]
            last = max(producers, key=lambda producer: finish[producer.key], default=None)
            before[step.key] = last
            finish[step.key] = self.seconds(step) + (finish[last.key] if last else 0.0)
        step_ = self.plan.steps[max(finish, key=lambda key: finish[key])] if finish else None
        chain = []
        while step_ is not None:
            chain.append((step_, self.seconds(step_)))
            step_ = before[step_.key]
        return chain[::-1]

    def assumptions(self, steps: Iterable[Step]) -> dict[str, list[str]]:
        """Return what is not known of some steps: backbones without a measurement, methods without a rule."""
        trained = [step for step in steps if step.kind == "train"]
        backbones = {step.spec["backbone"]["name"] for step in trained}
        methods = {step.spec["method"]["implementation"] for step in trained}
        return {
            "backbones": sorted(name for name in backbones if not self.machine.knows(name)),
            "methods": sorted(method for method in methods if not has_rule(method)),
        }


@dataclass
class Costs:
    """What a plan, or a part of it, costs."""

    whole: Estimate
    shared: Estimate
    """What several papers need; it is in no paper's `own`."""
    papers: dict[str, Estimate]
    """What each paper alone needs."""
    alone: dict[str, Estimate]
    """All that each paper needs, the shared pieces among it."""


def costs(model: CostModel, *, table: str | None = None) -> Costs:
    """Return what the plan costs, for each paper and in all; with `table`, what that table needs."""
    steps = model.for_table(table) if table else list(model.plan.steps.values())
    keys = {step.key for step in steps}
    names = [table.split("/")[0]] if table else list(model.config.papers)
    closures = {name: [s for s in model.for_paper(name) if s.key in keys] for name in names}
    wanted = Counter(step.key for closure in closures.values() for step in closure)
    return Costs(
        whole=model.estimate(steps),
        shared=model.estimate([step for step in steps if wanted[step.key] > 1]),
        papers={
            name: model.estimate([step for step in closure if wanted[step.key] == 1])
            for name, closure in closures.items()
        },
        alone={name: model.estimate(closure) for name, closure in closures.items()},
    )


def urgency(plan: Plan) -> dict[str, int]:
    """Return for each bundle about how many seconds pass from its start to the end of the last one that needs it.

    Run by this, the most urgent first, few jobs are left to run alone at the end.
    """
    model, bundles = CostModel(plan), plan.bundles()
    maker = {path: bundle.name for bundle in bundles for step in bundle.steps for path in step.outputs.values()}
    after: dict[str, float] = defaultdict(float)
    found = {}
    for bundle in reversed(bundles):
        seconds = sum(model.seconds(step) for step in bundle.steps) + after[bundle.name]
        found[bundle.name] = round(seconds)
        for source in {maker[path] for step in bundle.steps for path in step.inputs.values() if path in maker}:
            after[source] = max(after[source], seconds)
    return found
