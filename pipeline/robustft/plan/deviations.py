"""Which rows of a table a deviation from the paper touches."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from robustft.config import Config
from robustft.errors import lookup
from robustft.plan.graph import Graph
from robustft.plan.step import Run, Step, implementations

Deviation = Mapping[str, Any]

NOTHING = "nothing"
"""What a deviation touches that changes no number."""


def touches_of(deviation: Deviation) -> Mapping[str, Any]:
    """Return what a deviation touches; empty if it has no condition."""
    touches = deviation.get("touches", {})
    return {} if touches == NOTHING else touches


def short_names(tree: Any) -> set[str]:
    """Return the components that a specification names, and their modules: `trades.Trades` and `trades`.

    A module stands for all that is in it.
    """
    names = set()
    for implementation in implementations(tree):
        module, _, name = implementation.partition(":")
        names |= {module.rpartition(".")[2], f"{module.rpartition('.')[2]}.{name}"}
    return names


class Touched:
    """Finds the deviations of a paper that touch a table at this scale."""

    def __init__(self, graph: Graph, config: Config, paper: str, runs: Sequence[Run]) -> None:
        self.graph, self.scale = graph, config.scale_name
        document = config.papers[paper]
        self.deviations: list[Deviation] = document.values["deviations"]
        self._of_step: dict[str, set[str]] = {}
        self._components: dict[tuple[str, str], set[str]] = {}
        for run in runs:
            key = (run.experiment, run.method)
            if key not in self._components:
                self._components[key] = short_names(run.derivation).union(*map(self._of_training, run.steps))
        entries = [config.methods(paper), document.values.get("pretraining", {}), config.weights]
        known = dict.fromkeys(short_names([list(one.values()) for one in entries]))
        for deviation in self.deviations:
            for name in touches_of(deviation).get("components", []):
                lookup(known, name, kind=f"component (of the deviation '{deviation['key']}')", where=document.path)

    def _of_training(self, step: Step) -> set[str]:
        """Return the components of a training and of those that it starts from."""
        if step.key not in self._of_step:
            own = short_names([step.spec.get("method"), step.spec.get("weights")])
            starts = [path for role, path in step.inputs.items() if role == "initial" or role.startswith("from_")]
            producers = [producer for path in starts if (producer := self.graph.producer(path)) is not None]
            self._of_step[step.key] = own.union(*map(self._of_training, producers))
        return self._of_step[step.key]

    def by(
        self, experiment: str, rows: Iterable[str], columns: Iterable[str], datasets: Iterable[str]
    ) -> list[Deviation]:
        """Return the deviations that touch a table of these rows (methods), columns (metrics) and data sets."""
        there = {"experiments": {experiment}, "columns": {*columns}, "datasets": {*datasets}, "scales": {self.scale}}
        rows = list(rows)
        numeric = [one for one in self.deviations if one.get("touches") != NOTHING]
        return [one for one in numeric if self._touches(touches_of(one), experiment, rows, there)]

    def _touches(
        self, touches: Mapping[str, Any], experiment: str, rows: Sequence[str], there: Mapping[str, set[str]]
    ) -> bool:
        if any(part in touches and not there[part] & {*touches[part]} for part in there):
            return False
        return any(
            row in touches.get("methods", rows)
            and (
                "components" not in touches or self._components.get((experiment, row), set()) & {*touches["components"]}
            )
            for row in rows
        )
