"""Which parts of a model are trained, and what is attached to it for that: the other half of a method.

An objective says what is minimised; a tuning says over which parameters. Any objective goes with any tuning.
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
    """Prepares a model for training and makes the model used at test time. Implementations are frozen dataclasses."""

    attached: ClassVar[bool] = False
    """Whether `export` leaves modules in the model that `prepare` must attach again before weights can be loaded."""

    def prepare(self, model: Classifier) -> Classifier:
        """Attach modules and freeze the rest, in place if possible; new weights come from torch's generator."""
        return model

    def attacked(self, model: Classifier) -> AbstractContextManager[None]:
        """Let the model act, within the context, as the network that training attacks see."""
        return contextlib.nullcontext()

    def export(self, model: Classifier) -> Classifier:
        """Return the model used at test time."""
        return model


@dataclass(frozen=True, kw_only=True)
class Full(Tuning):
    """Train everything."""


class Frozen(nn.Module):
    """A module that neither learns nor updates statistics: always in evaluation mode, no parameter trained."""

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
    """Train all but the submodules named in `frozen`, such as [backbone.trunk]; those keep weights and statistics."""

    frozen: Sequence[str]

    def prepare(self, model: Classifier) -> Classifier:
        """Freeze the named submodules. Raises ConfigError for a name that the model lacks."""
        for name in self.frozen:
            parent, child = _located(model, name)
            setattr(parent, child, Frozen(getattr(parent, child)))
        return model

    def export(self, model: Classifier) -> Classifier:
        """Unwrap what was frozen."""
        for name in self.frozen:
            parent, child = _located(model, name)
            setattr(parent, child, getattr(parent, child).inner)
        return model


def _located(model: nn.Module, name: str) -> tuple[nn.Module, str]:
    """Return the parent of a named submodule and the name within it."""
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
