"""Steps that train: pre-trainings, and the runs of the experiments, each from its initial weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from robustft.errors import ConfigError
from robustft.plan.catalogue import Catalogue
from robustft.plan.graph import RESULTS, Graph
from robustft.plan.layers import Layered, Parts, given
from robustft.plan.resolve import ResolvedRun, Resolver, Training
from robustft.plan.step import Run, Step, implementations


@dataclass(frozen=True)
class InitialWeights:
    """The initial weights of a training: `spec` in its specification, and the checkpoints by role."""

    spec: dict[str, Any]
    inputs: dict[str, str]
    implementations: tuple[str, ...] = ()

    @classmethod
    def pretraining(cls, step: Step, parts: list[str] | None) -> InitialWeights:
        """Start from a pre-trained model, or from the named parts of it."""
        built = implementations([step.spec["backbone"], step.spec["method"]["tuning"]])
        spec = {"digests": [step.digest], "from": [], "parts": parts, "derivation": None}
        return cls(spec, {"initial": step.outputs["checkpoint"]}, built)

    @classmethod
    def runs(cls, names: list[str], steps: list[Step], derivation: dict[str, Any] | None) -> InitialWeights:
        """Start from the derivation of other runs' models; `initial` is the pre-trained model."""
        roles = {name if name == "initial" else f"from_{name}": step for name, step in zip(names, steps, strict=True)}
        built = implementations([[step.spec["backbone"], step.spec["method"]["tuning"]] for step in steps])
        spec = {
            "digests": [step.digest for step in steps],
            "from": list(roles),
            "parts": None,
            "derivation": derivation,
        }
        return cls(spec, {role: step.outputs["checkpoint"] for role, step in roles.items()}, built)


class Trainings:
    """Plans trainings into a graph."""

    def __init__(self, graph: Graph, catalogue: Catalogue, resolver: Resolver) -> None:
        self.graph, self.catalogue, self.resolver = graph, catalogue, resolver
        self.folder = f"{RESULTS}/{resolver.config.scale_name}"

    def run(self, resolved: ResolvedRun) -> Run:
        """Plan one run. A method without an implementation has no training: its model is derived from other runs."""
        run = (resolved.paper, resolved.experiment, resolved.dataset, resolved.method, resolved.seed)
        details = resolved.details
        names, derivation = details.get("from", []), details.get("derivation")
        sources = [self._source(name, resolved) for name in names]
        if "implementation" not in details:
            return Run(*run, tuple(sources), trained=False, derivation=derivation)
        initial = None
        if sources:
            initial = InitialWeights.runs(names, sources, derivation)
        elif resolved.pretraining != "none":
            step = self.pretraining(resolved.pretraining, resolved.paper)
            initial = InitialWeights.pretraining(step, details.get("pretrained_parts"))
        return Run(*run, (self._train(Run(*run, ()).id, resolved.training, initial),))

    def pretraining(self, name: str, paper: str) -> Step:
        """Return the step of a pre-trained model: published weights, or a training."""
        pretraining = self.resolver.pretraining(name, paper)
        if pretraining.training is None:
            return self.catalogue.weights(pretraining.name)
        id = f"pretraining/{pretraining.name}"
        if step := self.graph.get("train", id):
            return step
        initial = None
        if pretraining.start is not None:
            initial = InitialWeights.pretraining(self.pretraining(pretraining.start, paper), None)
        return self._train(id, pretraining.training, initial)

    def _source(self, name: str, resolved: ResolvedRun) -> Step:
        """Return the step of a model that a run uses: pre-trained, or of another run."""
        if name == "initial":
            return self.pretraining(resolved.pretraining, resolved.paper)
        id = Run(resolved.paper, resolved.experiment, resolved.dataset, name, resolved.seed, ()).id
        if step := self.graph.get("train", id):
            return step
        raise ConfigError(
            f"the method '{resolved.method}' starts from a run that is not planned before it",
            where=self.resolver.config.papers[resolved.paper].path,
            expected=id,
            next_step="list that method before it, and leave neither out at this scale",
        )

    def _train(self, id: str, training: Training, initial: InitialWeights | None) -> Step:
        self.resolver.entries.check_threat(training.threat, training.dataset["shape"].value)
        scale, spec = self.resolver.scale, self._spec(training, initial)
        inputs = {
            role: self.catalogue.data(dataset["name"].value).outputs["data"]
            for role, dataset in (("data", training.dataset), ("auxiliary", training.auxiliary))
            if dataset is not None
        }
        return self.graph.add(
            "train",
            id,
            spec,
            inputs=inputs | (initial.inputs if initial else {}),
            outputs={
                "checkpoint": f"{self.folder}/{id}/checkpoint.safetensors",
                "history": f"{self.folder}/{id}/history.csv",
            },
            implementations=(*implementations(spec.value), *(initial.implementations if initial else ())),
            settings={
                "save_every_steps": scale["save_every_steps"],
                "nodes": scale.get("nodes", 1),
                **{key: one for key, one in self.resolver.config.project.items() if key == "tracking"},
            },
        )

    def _spec(self, training: Training, initial: InitialWeights | None) -> Parts:
        method, scale, entries = training.method, self.resolver.scale, self.resolver.entries
        parts = ("name", "implementation", "parameters", "tuning")
        return Parts(
            scale=self.resolver.config.scale_name,
            dataset=training.dataset,
            auxiliary=training.auxiliary,
            backbone=training.backbone,
            split=method["trains_on"] if "trains_on" in method.value else "train",
            initial=initial.spec if initial else None,
            method=Parts({part: method[part] for part in parts}),
            threat=training.threat,
            training_attack=training.training_attack,
            recipe=training.recipe,
            monitor=training.monitor,
            diagnostics=training.diagnostics,
            seed=training.seed,
            fused_optimizer=Layered(*entries.of_scale("fused_optimizer")) if "fused_optimizer" in scale else True,
            processes=given(entries.scale_file, "processes", scale["processes"]),
            **entries.machine,
        )
