"""The scope of an experiment at a scale: which of its methods, seeds and data sets run, or why none does."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from robustft.plan.entries import Entries
from robustft.plan.layers import Layered


class Scope:
    """One experiment of a paper at the scale of `entries`."""

    def __init__(self, entries: Entries, paper: str, name: str, experiment: Layered) -> None:
        self.entries, self.paper, self.name, self.experiment = entries, paper, name, experiment
        self.override = entries.override(paper)

    @cached_property
    def left_out(self) -> str | None:
        """Why the experiment has no run; None if it has one."""
        values = self.experiment.value
        if self.name in self.override.get("left_out", []):
            return "the scale leaves it out"
        if self.entries.stand_in(self.paper, "backbones", self.experiment["backbone"]) is None:
            return without([values["backbone"]], "backbone")
        if not self._has_pretraining(values["pretraining"]):
            return without([values["pretraining"]], "pre-training")
        if len(self._missing) == len(values["datasets"]):
            return without(self._missing, "data set")
        for what in ("methods", "seeds"):
            if not self._chosen(what):
                return f"the scale runs none of its {what}"
        return None

    @cached_property
    def left_out_in_part(self) -> str | None:
        """Which data sets of the experiment have no run; None if all have some."""
        return f"in part: {without(self._missing, 'data set')}" if self._missing else None

    @property
    def backbone(self) -> Layered:
        """The backbone, or its stand-in."""
        backbone = self.entries.stand_in(self.paper, "backbones", self.experiment["backbone"])
        assert backbone is not None, "otherwise the experiment is left out"
        return backbone

    @property
    def methods(self) -> list[str]:
        """The methods that run, in the order of the experiment."""
        return self._chosen("methods")

    @property
    def seeds(self) -> list[int]:
        """The seeds that run: of those that the scale leaves, the first ones, as many as are asked for."""
        return self._chosen("seeds")[: self.entries.config.seeds]

    def _chosen(self, key: str) -> list[Any]:
        """Return what the scale leaves of a list: its own for the experiment, else for the paper, else everything."""
        own, values = self.override.get("experiments", {}).get(self.name, {}), self.experiment.value[key]
        chosen = own.get(key, self.override.get(key, values))
        return [value for value in values if value in chosen]

    @cached_property
    def _missing(self) -> list[str]:
        """The data sets without a stand-in."""
        return self.entries.without_stand_in(self.paper, self.experiment["datasets"])

    def _has_pretraining(self, name: str) -> bool:
        own = self.entries.config.papers[self.paper].values.get("pretraining", {})
        scale = self.entries.scale
        here = {"none", *own, *scale["pretraining"], *self.entries.stand_ins(self.paper, "pretraining")}
        return name in here or self.entries.config.reproduces(self.paper)


def without(names: list[str], what: str) -> str:
    """Say of some names that they have no stand-in."""
    verb = "has" if len(names) == 1 else "have"
    return f"its {what}{'s' if len(names) > 1 else ''} {', '.join(names)} {verb} no stand-in"
