"""What the training loop knows of a method."""

from __future__ import annotations

import dataclasses
import importlib
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from pipeline.attacks.pgd import Budget
from pipeline.errors import ConfigError, nearest
from pipeline.models.classifier import Classifier


@dataclass(frozen=True)
class Loss:
    """A loss as named terms, each already multiplied by its weight; the total is their plain sum.

    A name may begin with a group and a slash ("frozen/cross_entropy"): the diagnostics report gradients by group.
    """

    terms: Mapping[str, Tensor]

    @property
    def total(self) -> Tensor:
        """The sum of the terms: what is differentiated."""
        return torch.stack(list(self.terms.values())).sum()

    def groups(self) -> dict[str, Tensor]:
        """Return the sum of the terms of each group, in the order of their first term; "all" is the nameless one."""
        sums: dict[str, Tensor] = {}
        for name, term in self.terms.items():
            group = name.split("/")[0] if "/" in name else "all"
            sums[group] = sums[group] + term if group in sums else term
        return sums


class Method(Protocol):
    """A paper's objective, or a baseline's. Implementations are frozen dataclasses; their fields are the weights."""

    def prepare(self, model: Classifier) -> Classifier:
        """Turn a freshly initialised model into the one that is trained; what requires no gradient is frozen."""

    def perturb(self, model: Classifier, x: Tensor, y: Tensor, *, budget: Budget, generator: torch.Generator) -> Tensor:
        """Return the adversarial images that the loss sees, (n, C, H, W); the model's modes are left as they were."""

    def loss(self, model: Classifier, x: Tensor, x_adv: Tensor, y: Tensor) -> Loss:
        """Return the loss on clean images x, adversarial images x_adv (n, C, H, W) and labels y (n,)."""

    def export(self, model: Classifier) -> Classifier:
        """Return the model used at test time; it may be changed in place."""


def build_method(spec: Mapping[str, Any]) -> Method:
    """Build the method that a specification {name, implementation, parameters} describes.

    Raises ConfigError for an unknown parameter, naming the nearest, for a missing one, and for a value of another kind
    than its field's type.
    """
    module, name = spec["implementation"].split(":")
    cls = getattr(importlib.import_module(module), name)
    fields = {field.name: field for field in dataclasses.fields(cls)}
    for key in spec["parameters"]:
        if key not in fields:
            raise ConfigError(f"the method '{spec['name']}' has no parameter '{key}'", next_step=nearest(key, fields))
    required = {key for key, field in fields.items() if field.default is dataclasses.MISSING}
    missing = sorted(required - set(spec["parameters"]))
    if missing:
        raise ConfigError(f"the method '{spec['name']}' needs the parameter '{missing[0]}'")
    for key, hint in typing.get_type_hints(cls).items():
        if key in spec["parameters"] and not _fits(spec["parameters"][key], hint):
            raise ConfigError(
                f"the method '{spec['name']}' cannot take {key}={spec['parameters'][key]!r}", expected=_shown(hint)
            )
    method: Method = cls(**spec["parameters"])
    return method


def _fits(value: Any, hint: Any) -> bool:
    """Tell whether a value from YAML fits a field's type: a number, a truth value, a text or one of some words."""
    if typing.get_origin(hint) is typing.Literal:
        return value in typing.get_args(hint)
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    return isinstance(value, hint) and (hint is bool or not isinstance(value, bool))


def _shown(hint: Any) -> str:
    if typing.get_origin(hint) is typing.Literal:
        return "one of " + ", ".join(map(repr, typing.get_args(hint)))
    return "a number" if hint is float else str(hint.__name__)
