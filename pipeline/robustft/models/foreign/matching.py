"""A state dict and an architecture: under which prefix its names lie, what is left over, what is missing."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

Shapes = Mapping[str, tuple[int, ...]]

COUNTER = "num_batches_tracked"
"""Batch norm's count of batches, which old files lack and evaluation does not read."""

BOOKKEEPING = re.compile(r"(^|\.)(n_averaged|num_updates|decay|initted|step|epoch)$")
"""Entries of a moving average that are no weights of the network."""

NORMALISER = re.compile(
    r"(^|\.)(new_)?(mean|std|mu|sigma|means|sds|image_mean|image_std|mean_torch|std_torch)$", re.IGNORECASE
)
"""Names of a normalisation that is stored beside the network."""


@dataclass(frozen=True)
class Match:
    """How a state dict fits the names and shapes of an architecture."""

    prefix: str
    """What all names of the network begin with in the file."""
    tensors: dict[str, Tensor]
    """Those of the network, under the architecture's names."""
    missing: list[str]
    unknown: list[str]
    """Names of the file that belong neither to the network nor to what is known beside one."""
    misshapen: dict[str, tuple[tuple[int, ...], tuple[int, ...]]]
    """Shapes in the file and in the architecture, where they differ."""
    normaliser: dict[str, Tensor] = field(default_factory=dict)
    """A normalisation beside the network, by its names in the file."""
    differing_copy: list[str] = field(default_factory=list)
    """Names of a second copy of the network whose tensors are others."""

    @property
    def fits(self) -> bool:
        """Whether every weight arrives, and nothing of the file is unknown."""
        return not (self.missing or self.unknown or self.misshapen or self.differing_copy)

    @property
    def share(self) -> float:
        """The share of names and shapes, of file and architecture together, that agree."""
        wrong = len(self.missing) + len(self.unknown) + 2 * len(self.misshapen)
        return 1 - wrong / max(1, 2 * len(self.tensors) + len(self.missing) + len(self.unknown))


def match(state: Mapping[str, Tensor], expected: Shapes) -> Match:
    """Return the best fit over all prefixes: none, `module.`, `model.`, `attacker.model.`, and what else is there."""
    fits = [_under(prefix, state, expected) for prefix in _prefixes(state, expected)]
    return max(
        fits, key=lambda one: (one.fits, len(one.tensors) - len(one.misshapen), -len(one.unknown), -len(one.prefix))
    )


def _prefixes(state: Mapping[str, Tensor], expected: Shapes) -> list[str]:
    """Return the beginnings after which some name of the architecture follows, the commonest first."""
    first = next(iter(expected), "")
    counts = Counter(name[: -len(first)] for name in state if first and name.endswith(first))
    last = {name.rsplit(".", 2)[-1] for name in expected}
    for name in state:
        parts = name.split(".")
        counts.update(".".join(parts[:k]) + "." for k in range(1, min(4, len(parts))) if parts[-1] in last)
    return ["", *(prefix for prefix, _ in counts.most_common(12) if prefix.endswith("."))]


def _under(prefix: str, state: Mapping[str, Tensor], expected: Shapes) -> Match:
    inside = {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}
    tensors = {name: tensor for name, tensor in inside.items() if name in expected}
    filled = {
        name: torch.tensor(0)
        for name in expected
        if name.rsplit(".", 1)[-1] == COUNTER and name not in tensors and len(tensors)
    }
    rest = {
        name: tensor
        for name, tensor in state.items()
        if name.removeprefix(prefix) not in tensors or name[: len(prefix)] != prefix
    }
    normaliser = {name: tensor for name, tensor in rest.items() if _is_normaliser(name, tensor)}
    copies = {name: inner for name in rest if (inner := _copied(name, tensors)) is not None}
    differing = [name for name, inner in copies.items() if not _equal(rest[name], tensors[inner])]
    unknown = [name for name in rest if name not in normaliser and name not in copies and not BOOKKEEPING.search(name)]
    return Match(
        prefix=prefix,
        tensors={**tensors, **filled},
        missing=sorted(set(expected) - set(tensors) - set(filled)),
        unknown=sorted(unknown),
        misshapen={
            name: (tuple(tensor.shape), tuple(expected[name]))
            for name, tensor in tensors.items()
            if tuple(tensor.shape) != tuple(expected[name])
        },
        normaliser=normaliser,
        differing_copy=sorted(differing),
    )


def _is_normaliser(name: str, tensor: Tensor) -> bool:
    return bool(NORMALISER.search(name)) and tensor.numel() in (1, 3)


def _copied(name: str, tensors: Mapping[str, Tensor]) -> str | None:
    """Return the name of the tensor that `PREFIX.name` is a second copy of: the attacker of the robustness library."""
    parts = name.split(".")
    for start in range(1, len(parts)):
        inner = ".".join(parts[start:])
        if inner in tensors and "attacker" in parts[:start]:
            return inner
    return None


def _equal(first: Tensor, second: Tensor) -> bool:
    return first.shape == second.shape and torch.equal(first, second)
