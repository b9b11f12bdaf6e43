"""A tuning: which weights of a model are trained, and which modules are added for that.

A method is an objective, which is minimised, and a tuning. Any objective works with any tuning.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

from torch import Tensor, nn

from robustft.errors import ConfigError, nearest
from robustft.models.classifier import Classifier
from robustft.runtime.components import build


class Tuning(Protocol):
    """Prepares a model for training and returns the model used at test time. Implementations are frozen dataclasses."""

    attached: ClassVar[bool] = False
    """Whether `export` leaves added modules in the model, so that `prepare` must add them before weights are loaded."""

    def prepare(self, model: Classifier) -> Classifier:
        """Add modules and freeze weights, in place if possible. New weights are drawn from torch's global generator."""
        return model

    def attacked(self, model: Classifier) -> AbstractContextManager[None]:
        """Within the context the model is the network that training attacks see."""
        return contextlib.nullcontext()

    def export(self, model: Classifier) -> Classifier:
        """Return the model used at test time."""
        return model


@dataclass(frozen=True, kw_only=True)
class Full(Tuning):
    """Train everything."""


class Frozen(nn.Module):
    """A module that is always in evaluation mode and whose parameters are not trained."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> Frozen:
        """Stay in evaluation mode."""
        super().train(mode)
        self.inner.eval()
        return self

    def forward(self, x: Tensor) -> Tensor:
        """Apply the module."""
        result: Tensor = self.inner(x)
        return result


@dataclass(frozen=True, kw_only=True)
class Partial(Tuning):
    """Train all but the submodules in `frozen`, such as [backbone.trunk]. Those keep their weights and statistics."""

    frozen: Sequence[str]

    def prepare(self, model: Classifier) -> Classifier:
        """Freeze the submodules. Raises ConfigError for an unknown name."""
        for name in self.frozen:
            parent, child = _located(model, name)
            setattr(parent, child, Frozen(getattr(parent, child)))
        return model

    def export(self, model: Classifier) -> Classifier:
        """Replace each frozen submodule by the module in it."""
        for name in self.frozen:
            parent, child = _located(model, name)
            setattr(parent, child, getattr(parent, child).inner)
        return model


def _located(model: nn.Module, name: str) -> tuple[nn.Module, str]:
    """Return the parent of a submodule and its name in the parent."""
    names = [known for known, _ in model.named_modules() if known]
    if name not in names:
        raise ConfigError(f"the model has no part '{name}' to freeze", next_step=nearest(name, names))
    parent, _, child = name.rpartition(".")
    return model.get_submodule(parent), child


def build_tuning(spec: Mapping[str, Any] | None) -> Tuning:
    """Build the tuning that a specification {implementation, parameters} describes; None trains everything."""
    if spec is None:
        return Full()
    title = f"the tuning {spec['implementation']}"
    tuning: Tuning = build(spec["implementation"], spec.get("parameters", {}), kind="tuning", title=title)
    return tuning
