"""The lists of `config/` at one scale: stand-ins, and the entries of data sets, backbones and attacks.

A stand-in replaces a paper's data set, backbone or pre-training. Without a stand-in the papers' own scale uses the
original, and another scale leaves it out.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

from robustft.config import Config
from robustft.config.units import fault_of_eps
from robustft.errors import ConfigError, lookup
from robustft.plan.layers import Layer, Layered, Parts, Place, given, layers_at

BUILT = ("implementation", "parameters", "normalisation", "head")
"""The keys of a backbone's entry that define its model."""


def prompts(dataset: dict[str, Any]) -> list[str] | dict[str, str] | None:
    """Return a text for each class of a data set, in class order; None if it has no texts.

    If the class names are in the data itself, it is {template: ...}, with `drop` if a text is left out of the names.
    """
    if "template" not in dataset:
        return None
    if "names" in dataset:
        return [dataset["template"].format(name) for name in dataset["names"]]
    return {key: dataset[key] for key in ("template", "drop") if key in dataset}


class Entries:
    """The entries of one scale, cached for each place that names them."""

    def __init__(self, config: Config) -> None:
        self.config, self.scale = config, config.scale
        self.scale_file = f"scales/{config.scale_name}"
        self.where = config.file(self.scale_file)
        self.listed = config.file("datasets")
        self._made: dict[tuple[str, Any, Place], Parts] = {}

    def of_scale(self, *keys: str) -> list[Layer]:
        """Return the layer at a path of keys in the scale's file: one, or none if a key is missing."""
        return layers_at(self.scale_file, self.scale, *keys)

    # -- stand-ins -------------------------------------------------------------------------------------------------

    def override(self, paper: str | None) -> dict[str, Any]:
        """Return the scale's entry for a paper."""
        return self.scale["papers"].get(paper, {})  # type: ignore[no-any-return]

    def stand_ins(self, paper: str, kind: str) -> dict[str, str]:
        """Return the stand-ins of a paper's `datasets`, `backbones` or `pretraining`: its own map or the shared one."""
        return self._stand_ins(paper, kind).value  # type: ignore[no-any-return]

    def _stand_ins(self, paper: str, kind: str) -> Layered:
        own = self.of_scale("papers", paper, "stand_ins", kind)
        return Layered(*(own or self.of_scale("stand_ins", kind)))

    def stand_in(self, paper: str, kind: str, name: Layered) -> Layered | None:
        """Return this scale's stand-in for a paper's data set or backbone; None if it has none.

        At the paper's own scale it is the original, as in a paper of the user's own.
        """
        stand_ins = self._stand_ins(paper, kind)
        if name.value in stand_ins.value:
            return stand_ins[name.value]
        return name if self.config.reproduces(paper) else None

    def datasets(self, paper: str, names: Layered) -> list[Layered]:
        """Return the data sets of this scale, each once, for a paper's list; those without one are left out."""
        standing = [self.stand_in(paper, "datasets", name) for name in names.each()]
        unique: dict[str, Layered] = {}
        for one in standing:
            if one is not None:
                unique.setdefault(one.value, one)
        return list(unique.values())

    def without_stand_in(self, paper: str, names: Layered) -> list[str]:
        """Return the data sets of a paper's list that this scale leaves out."""
        return [name.value for name in names.each() if self.stand_in(paper, "datasets", name) is None]

    # -- entries of catalogues -------------------------------------------------------------------------------------

    @functools.cached_property
    def machine(self) -> dict[str, Layered]:
        """The settings of device and arithmetic that change the bits of a training or attack."""
        shared = given("config", "optimizations", self.config.optimizations)
        own = self.of_scale("optimizations")
        return {
            "device": given(self.scale_file, "device", self.scale["device"]),
            "threads": given(self.scale_file, "threads", self.scale["threads"]),
            "optimizations": Layered(*shared.layers, *own),
        }

    def _entry(self, kind: str, name: Layered, make: Callable[[Layered], dict[str, Any]]) -> Parts:
        """Return an entry with its name, cached for each place that names it."""
        key = (kind, name.value, name.layers[-1].place)
        if key not in self._made:
            self._made[key] = Parts({"name": name, **make(name)})
        return self._made[key]

    def _file(self, name: Layered) -> Path:
        """Return the file of a place."""
        return self.config.file(name.layers[-1].place.file)

    def dataset(self, name: Layered) -> Parts:
        """Return the entry of a data set for a training."""
        return self._entry("dataset", name, self._dataset)

    def _dataset(self, name: Layered) -> dict[str, Any]:
        dataset = self.view(name.value)
        entry, shape = given("datasets", f"datasets.{name.value}", dataset), f"sources.{dataset['source']}.shape"
        source = self.config.sources[dataset["source"]]
        return {"shape": given("datasets", shape, source["shape"]), **entry.parts(), "prompts": prompts(dataset)}

    def view(self, name: str) -> dict[str, Any]:
        """Return the entry of a data set."""
        return lookup(self.config.datasets, name, kind="data set", where=self.listed)  # type: ignore[no-any-return]

    def backbone(self, name: Layered) -> Parts:
        """Return the entry of a backbone with the keys that define its model."""
        return self._entry("backbone", name, self._backbone)

    def _backbone(self, name: Layered) -> dict[str, Any]:
        backbone = lookup(self.config.backbones, name.value, kind="backbone", where=self._file(name))
        entry = given("backbones", f"backbones.{name.value}", backbone)
        return {key: entry[key] for key in BUILT if key in backbone}

    def attack(self, name: Layered) -> Parts:
        """Return an attack's specification, with the scale's values over its own."""
        return self._entry("attack", name, self._attack)

    def _attack(self, name: Layered) -> dict[str, Any]:
        attack = lookup(self.config.attacks, name.value, kind="attack", where=self._file(name))
        # The sanity checks of an attack do not change the attack.
        attack = {key: value for key, value in attack.items() if key != "checks"}
        shared = given("attacks", f"attacks.{name.value}", attack)
        return Layered(*shared.layers, *self.of_scale("attacks", name.value)).parts()

    def check_threat(self, threat: Layered, shape: list[int]) -> None:
        """Raise ConfigError for an eps of other units: its layers may stand in several files, its norm in another."""
        if fault := fault_of_eps(threat.value["norm"], threat.value["eps"], shape):
            place = threat.places()["eps"]
            raise ConfigError(f"{place.path}: {fault}", where=self.config.file(place.file))
