"""From configuration to resolved values: each run, pre-training and evaluation at one scale.

Values come in layers (`plan/layers.py`). This module creates no steps, and the modules that create steps merge no
layers.

| value | its layers, the later over the earlier |
| --- | --- |
| training attack, monitor, diagnostics | experiment, scale's entry for the paper, scale's entry for the experiment |
| recipe | as these, then the method's own recipe |
| method | `methods.yaml` or paper, experiment's override, scale's override |
| threat | paper, experiment, scale's entry for the paper |
| threat of training | as this, then the method's own |
| threat of an evaluation | as this, then the evaluation's own: all methods are judged by one |
| evaluation | paper, scale's entry for the paper |
| pre-training | paper, scale |
| attack | `attacks.yaml`, scale |
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from robustft.config import Config
from robustft.errors import ConfigError, lookup
from robustft.plan.entries import Entries
from robustft.plan.layers import Layer, Layered, Parts, Place, given, layers_at
from robustft.plan.names import check_names, check_paper
from robustft.plan.scope import Scope, without

BUDGET = ("recipe", "training_attack", "monitor", "diagnostics")
"""How long and how a model is trained."""

_UNWATCHED = {"monitor": Parts(), "diagnostics": Parts()}
"""Of a method that trains nothing."""

PRETRAINING = ("dataset", "backbone", "method", "seed", "threat", *BUDGET)
"""The keys of a complete pre-training."""


@dataclass(frozen=True)
class Training:
    """The settings of one training, except its initial weights."""

    method: Layered
    dataset: Parts
    auxiliary: Parts | None
    backbone: Parts
    threat: Layered
    """What the model is trained against."""
    test_threat: Layered
    """What it is judged by, unless an evaluation has a threat of its own."""
    recipe: Layered
    training_attack: Layered
    monitor: Parts
    diagnostics: Parts
    seed: Layered


@dataclass(frozen=True)
class Pretraining:
    """A model to start from: published weights if `training` is None, else trained, from `start` if that is given."""

    name: str
    training: Training | None = None
    start: str | None = None


@dataclass(frozen=True)
class ResolvedRun:
    """One run: a method of an experiment on one data set with one seed."""

    paper: str
    experiment: str
    dataset: str
    method: str
    seed: int
    training: Training
    pretraining: str
    evaluations: tuple[str, ...]

    @property
    def details(self) -> dict[str, Any]:
        """The method's entry."""
        return self.training.method.value  # type: ignore[no-any-return]


@dataclass(frozen=True)
class ResolvedEvaluation:
    """The attacks on one run over images of one data set."""

    name: str
    dataset: Layered
    split: Layered
    images: int
    parts: int
    shard_images: Layered
    attacks: list[Parts]
    transfer_eval: bool
    """Whether the evaluation lists its data sets, instead of taking the one that the run was trained on."""
    threat: tuple[Layer, ...] = ()
    """The layers over the threat of the experiment."""


class Resolver:
    """Resolves the configuration of one scale."""

    def __init__(self, config: Config) -> None:
        check_names(config)
        self.config, self.scale = config, config.scale
        self.entries = Entries(config)
        self.left_out: dict[tuple[str, str], str] = {}
        """Why an experiment or evaluation, by paper and name, is not at this scale, or not on all of its data sets."""
        self._owners: dict[str, str] = {}
        self._evaluations: dict[tuple[str, str, Layered], tuple[dict[str, Any], list[ResolvedEvaluation]]] = {}

    # -- runs ------------------------------------------------------------------------------------------------------

    def runs(self, paper: str) -> Iterator[ResolvedRun]:
        """Yield the runs of a paper at this scale: by experiment, data set, method and seed.

        An experiment is left out if the scale says so, or if its backbone, its pre-training or all of its data sets
        have no stand-in; `left_out` then has the reason. Raises ConfigError for an undefined name.
        """
        check_paper(self.config, paper, self.entries)
        for name, values in self.config.papers[paper].values["experiments"].items():
            experiment = given(f"papers/{paper}", f"experiments.{name}", values)
            scope = Scope(self.entries, paper, name, experiment)
            if reason := scope.left_out or scope.left_out_in_part:
                self.left_out[paper, name] = reason
            if scope.left_out is None:
                yield from self._experiment(paper, name, experiment, scope)

    def _experiment(self, paper: str, name: str, experiment: Layered, scope: Scope) -> Iterator[ResolvedRun]:
        values, seeds, backbone = experiment.value, scope.seeds, self.entries.backbone(scope.backbone)
        shared = {method: self._run_parts(paper, name, experiment, method) for method in scope.methods}
        for dataset in self.entries.datasets(paper, experiment["datasets"]):
            entry = self.entries.dataset(dataset)
            for method, parts in shared.items():
                for seed in (seed for seed in experiment["seeds"].each() if seed.value in seeds):
                    training = Training(**parts, backbone=backbone, dataset=entry, seed=seed)
                    yield ResolvedRun(
                        *(paper, name, dataset.value, method, seed.value, training),
                        pretraining=training.method.value.get("pretraining", values["pretraining"]),
                        evaluations=tuple(values["evaluations"]),
                    )

    def _run_parts(self, paper: str, name: str, experiment: Layered, method: str) -> dict[str, Any]:
        """Return the parts of a training that all data sets and seeds of an experiment share."""
        document, of_scale = self.config.papers[paper], self.entries.of_scale
        budget = {
            part: Layered(
                *experiment[part].layers,
                *of_scale("papers", paper, part),
                *of_scale("papers", paper, "experiments", name, part),
            )
            for part in BUDGET
        }
        file = f"papers/{paper}"
        threat = layers_at(file, document.values, "threat")
        threat += layers_at(file, document.values, "experiments", name, "threat")
        auxiliary = None
        if experiment.value.get("auxiliary"):
            auxiliary = self.entries.stand_in(paper, "datasets", experiment["auxiliary"])
        return self._training_parts(
            self.method(paper, method, document.path, experiment=name),
            budget,
            auxiliary,
            threat=Layered(*threat, *of_scale("papers", paper, "threat")),
            id=f"{paper}/{name}",
        )

    def _training_parts(
        self, method: Layered, budget: dict[str, Layered], auxiliary: Layered | None, *, threat: Layered, id: str
    ) -> dict[str, Any]:
        """Return the parts of a training that depend on its method and its budget."""
        # Only methods that train on the auxiliary data depend on it, since ImageNet is large.
        uses_auxiliary = method.value.get("uses_auxiliary", False)
        if uses_auxiliary and auxiliary is None:
            raise ConfigError(
                f"the method '{method.value['name']}' needs an auxiliary data set, and {id} has none at this scale",
                where=self.entries.where,
                next_step="name a stand-in for it, or leave the method out",
            )
        return {
            **budget,
            **(self._watched(budget, method, id) if "implementation" in method.value else _UNWATCHED),
            "method": method,
            "threat": Layered(*threat.layers, *method["threat"].layers),
            "test_threat": threat,
            "recipe": Layered(*budget["recipe"].layers, *method["recipe"].layers),
            "auxiliary": self.entries.dataset(auxiliary) if auxiliary and uses_auxiliary else None,
        }

    def _watched(self, budget: dict[str, Layered], method: Layered, id: str) -> dict[str, Parts]:
        """Return what is measured while a method trains. Raises ConfigError if a part of the budget is missing."""
        for part in BUDGET:
            if budget[part].value is None:
                raise ConfigError(
                    f"{id}: the key '{part}' is missing, and the method '{method.value['name']}' trains",
                    where=self.config.folder,
                    next_step=f"add '{part}' to the experiment",
                )
        monitor = budget["monitor"]
        return {
            "monitor": Parts({**monitor.parts(), "attack": self.entries.attack(monitor["attack"])}),
            "diagnostics": self._diagnostics(budget["diagnostics"], method.value["name"]),
        }

    def _diagnostics(self, diagnostics: Layered, method: str) -> Parts:
        """Return what is diagnosed of a method."""
        parts = Parts(diagnostics.parts())
        along = parts.pop("loss_along", None)
        if along is not None and method in along.value["methods"]:
            parts["loss_along"] = Parts(along.parts())
            parts["loss_along"]["attacks"] = [self.entries.attack(name) for name in along["attacks"].each()]
            del parts["loss_along"]["methods"]
        return parts

    def method(self, paper: str | None, name: str, where: Path, *, experiment: str | None = None) -> Layered:
        """Return a method's entry, with the overrides of the experiment and then those of the scale."""
        entry = lookup(self.config.methods(paper), name, kind="method", where=where)
        file = "methods" if name in self.config.baselines else f"papers/{paper}"
        layers = [Layer(Place(file, f"methods.{name}"), {"name": name, "parameters": {}, **entry})]
        if paper and experiment:
            keys = ("experiments", experiment, "overrides", name)
            layers += layers_at(f"papers/{paper}", self.config.papers[paper].values, *keys)
        if paper:
            layers += self.entries.of_scale("papers", paper, "overrides", name)
        return Layered(*layers)

    # -- pre-trainings ---------------------------------------------------------------------------------------------

    def pretraining(self, name: str, paper: str) -> Pretraining:
        """Return this scale's pre-training for a name in a paper.

        Raises ConfigError for an unknown name, a name with two meanings, and an incomplete training.
        """
        name = self.entries.stand_ins(paper, "pretraining").get(name, name)
        document, scale = self.config.papers[paper], self.scale["pretraining"]
        own = document.values.get("pretraining", {})
        lookup({**self.config.weights, **own, **scale}, name, kind="pretraining", where=document.path)
        if name in self.config.weights:
            if name in own or name in scale:
                raise ConfigError(
                    f"'{name}' is both published weights and a pre-training",
                    where=self.config.file("weights"),
                    next_step="rename one",
                )
            return Pretraining(name)
        owner = self._owners.setdefault(name, paper if name in own else "")
        if name in own and owner != paper:
            raise ConfigError(f"the pretraining '{name}' is defined twice", where=document.path, next_step="rename one")
        layers = layers_at(f"papers/{paper}", document.values, "pretraining", name)
        values = Layered(*layers, *self.entries.of_scale("pretraining", name))
        training = self._pretraining(name, paper, values, owner=paper if name in own else None)
        return Pretraining(name, training, values.value.get("pretraining"))

    def _pretraining(self, name: str, paper: str, values: Layered, *, owner: str | None) -> Training:
        entries, where = self.entries, self.entries.where
        for key in PRETRAINING:
            if key not in values.value:
                raise ConfigError(
                    f"pretraining.{name}: the key '{key}' is missing", where=where, next_step=f"add '{key}'"
                )
        parts = self._training_parts(
            self.method(owner, values["method"].value, where),
            {part: values[part] for part in BUDGET},
            values["auxiliary"] if values.value.get("auxiliary") else None,
            threat=values["threat"],
            id=f"pretraining/{name}",
        )
        dataset = entries.stand_in(paper, "datasets", values["dataset"]) or values["dataset"]
        backbone = entries.stand_in(paper, "backbones", values["backbone"]) or values["backbone"]
        return Training(
            **parts, dataset=entries.dataset(dataset), backbone=entries.backbone(backbone), seed=values["seed"]
        )

    # -- evaluations -----------------------------------------------------------------------------------------------

    def evaluations(self, run: ResolvedRun) -> Iterator[ResolvedEvaluation]:
        """Yield the evaluations of a run: on its own data set, or on each of those that an evaluation lists."""
        for name in run.evaluations:
            if name in self.entries.override(run.paper).get("left_out", []):
                self.left_out[run.paper, f"evaluation {name}"] = "the scale leaves it out"
                continue
            key = (run.paper, name, run.training.dataset["name"])
            if key not in self._evaluations:
                self._evaluations[key] = self._evaluation(*key)
            values, evaluations = self._evaluations[key]
            of_seed = run.seed in values.get("seeds", [run.seed])
            of_method = run.method in values.get("methods", [run.method])
            if of_seed and of_method:
                yield from evaluations

    def _evaluation(self, paper: str, name: str, own: Layered) -> tuple[dict[str, Any], list[ResolvedEvaluation]]:
        """Return an evaluation's entry, and its resolved form on each data set; `own` is the training data set."""
        document = self.config.papers[paper]
        lookup(document.values["evaluations"], name, kind="evaluation", where=document.path)
        layers = layers_at(f"papers/{paper}", document.values, "evaluations", name)
        evaluation = Layered(*layers, *self.entries.of_scale("papers", paper, "evaluations", name))
        values, transfer_eval = evaluation.value, "datasets" in evaluation.value
        if transfer_eval and (missing := self.entries.without_stand_in(paper, evaluation["datasets"])):
            self.left_out[paper, f"evaluation {name}"] = f"in part: {without(missing, 'data set')}"
        sizes = {
            dataset: self.entries.view(dataset.value)["splits"][values["split"]]
            for dataset in (self.entries.datasets(paper, evaluation["datasets"]) if transfer_eval else [own])
        }
        attacks = [self.entries.attack(attack) for attack in evaluation["attacks"].each()]
        return values, [
            ResolvedEvaluation(
                name,
                dataset,
                split=evaluation["split"],
                images=min(values.get("images", size), size, self.scale.get("subset", {}).get("images", size)),
                parts=values["parts"],
                shard_images=evaluation["shard_images"],
                attacks=attacks,
                transfer_eval=transfer_eval,
                threat=tuple(evaluation["threat"].layers) if "threat" in values else (),
            )
            for dataset, size in sizes.items()
        ]
