"""The price of a step: how long it takes on a machine. Estimates only; they enter no result."""

from __future__ import annotations

from collections.abc import Iterable

from robustft.cost.disk import images
from robustft.cost.machines import Machine, machine_for
from robustft.cost.passes import ONE_MODEL, class_count, has_rule
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


class CostModel:
    """Prices the steps of one plan on one machine."""

    def __init__(self, plan: Plan, machine: Machine | None = None) -> None:
        self.plan, self.config = plan, plan.config
        self.machine = machine or machine_for(self.config.scale["device"])
        self._seconds: dict[str, float] = {}

    def seconds(self, step: Step) -> float:
        """Return the estimated wall time of one step in seconds. A download is 0: its time depends on the network."""
        if step.key not in self._seconds:
            self._seconds[step.key] = self._price(step)
        return self._seconds[step.key]

    def device_seconds(self, step: Step) -> float:
        """Return the device-seconds of one step: its wall time times its processes."""
        return self.seconds(step) * (step.spec["processes"] if step.kind == "train" else 1)

    def _price(self, step: Step) -> float:
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
        """Return the seconds before the work begins: only the first step of a bundle starts Python and torch."""
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
        """Return the steps that make the networks of an attack: one for a merged model, all members for an ensemble."""
        producers = [self.plan.producer(path) for role, path in step.inputs.items() if role.startswith("checkpoint")]
        models = [producer for producer in producers if producer is not None]
        derivation = step.spec["derivation"] or {}
        return models[:1] if derivation.get("implementation") in ONE_MODEL else models

    def assumptions(self, steps: Iterable[Step]) -> dict[str, list[str]]:
        """Return what the prices of some steps assume: names of unmeasured backbones and of methods without a rule."""
        trained = [step for step in steps if step.kind == "train"]
        backbones = {step.spec["backbone"]["name"] for step in trained}
        methods = {step.spec["method"]["implementation"] for step in trained}
        return {
            "backbones": sorted(name for name in backbones if not self.machine.knows(name)),
            "methods": sorted(method for method in methods if not has_rule(method)),
        }
