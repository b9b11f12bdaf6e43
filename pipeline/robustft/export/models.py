"""The models of a scale and the measurements of each, for exports by model instead of by table."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from robustft.files import read_json
from robustft.plan import Plan
from robustft.plan.step import Run, Step
from robustft.provenance.lineage import Lineage

Threat = tuple[str, str]
"""Norm and eps, as the configuration writes them."""


ITERATIONS, SQUARE_QUERIES = 100, 5000
"""Of Square in AutoAttack's standard version."""

LEADERBOARD_IMAGES = 1000
"""The fewest images on which RobustBench states an accuracy under AutoAttack, those of ImageNet being 5,000."""


@dataclass(frozen=True)
class Measured:
    """One measurement, with the specification of its attack."""

    values: dict[str, Any]
    """The entry of numbers.json."""
    attack: dict[str, Any]
    threat: Threat
    steps: tuple[Step, ...]
    """The attack steps that wrote its ledgers."""

    @property
    def reductions(self) -> list[str]:
        """What AutoAttack lacks of its standard version on enough images, in words; empty for any other attack."""
        if self.attack["algorithm"] != "autoattack":
            return []
        iterations = self.attack.get("iterations", ITERATIONS)
        queries, target = self.attack.get("square_queries", SQUARE_QUERIES), self.attack["target"]
        lacking = {
            f"version {self.attack['version']}": self.attack["version"] != "standard",
            f"{iterations} of {ITERATIONS} iterations": iterations < ITERATIONS,
            f"Square with {queries:,} of {SQUARE_QUERIES:,} queries": queries < SQUARE_QUERIES,
            f"gradients of {target}": target != "exported_model",
            f"{self.values['images']:,} images": self.values["images"] < LEADERBOARD_IMAGES,
        }
        return [text for text, lacks in lacking.items() if lacks]

    @property
    def standard_autoattack(self) -> bool:
        """Whether it is AutoAttack's standard version on as many images as a leaderboard asks for."""
        return self.attack["algorithm"] == "autoattack" and not self.reductions

    @property
    def title(self) -> str:
        """The attack's title; for a reduced AutoAttack it says what is reduced."""
        title = str(self.attack["title"])
        return f"Reduced {title} ({'; '.join(self.reductions)})" if self.reductions else title

    @property
    def failed(self) -> list[str]:
        """The sanity checks that failed."""
        return [check["check"] for check in self.values["checks"] if not check["ok"]]


@dataclass(frozen=True)
class Model:
    """One run's model."""

    run: Run
    title: str
    """The method's title in tables."""
    measured: tuple[Measured, ...]


def models(plan: Plan, lineage: Lineage) -> Iterator[Model]:
    """Yield the evaluated models of a plan whose numbers were computed, in plan order."""
    for step in plan.of_kind("numbers"):
        numbers = read_json(step.outputs["numbers"])
        by_run: dict[tuple[Any, ...], list[Measured]] = {}
        for one in numbers["measurements"]:
            key = (one["experiment"], one["trained_on"], one["method"], one["seed"])
            by_run.setdefault(key, []).append(_measured(lineage, step.id, one))
        titles = plan.config.methods(step.id)
        for run in (run for run in plan.runs if run.paper == step.id):
            measured = by_run.get((run.experiment, run.dataset, run.method, run.seed), [])
            if measured:
                yield Model(run, titles[run.method]["title"], tuple(measured))


def _measured(lineage: Lineage, paper: str, one: dict[str, Any]) -> Measured:
    steps = tuple(evaluation.step for evaluation in lineage.evaluations(paper, one))
    attack = next(entry for entry in steps[0].spec["attacks"] if entry["name"] == one["attack"])
    threat = attack.get("threat", steps[0].spec["threat"])
    return Measured(one, attack, (threat["norm"], str(threat["eps"])), steps)


def trained_on(steps: list[Step]) -> set[str]:
    """Return the data sets that training steps read, and `published weights` if a step provides them."""
    names: set[str] = set()
    for step in steps:
        if step.kind == "weights":
            names.add("published weights")
        elif step.kind == "train":
            names.add(step.spec["dataset"]["name"])
            if step.spec["auxiliary"]:
                names.add(step.spec["auxiliary"]["name"])
    return names
