"""A file of weights for an architecture of a library, as a backbone and a head of ours."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from robustft.models.backbones.library import last_linear
from robustft.models.foreign.load import Foreign, load_model


def read(path: Path, *, arch: str, head: bool = False) -> dict[str, Tensor]:
    """Return the tensors of a file under our names: the last linear layer is `head`, all others are the backbone's.

    Without `head` it is left out. Raises the errors of `load_model`, which name keys and the nearest architecture.
    """
    model = load_model(path, arch=arch, normalisation="none").model
    assert isinstance(model, Foreign)
    last = last_linear(model.network, arch)
    tensors = {}
    for name, tensor in model.network.state_dict().items():
        if not name.startswith(f"{last}."):
            tensors[f"backbone.network.{name}"] = tensor
        elif head:
            tensors[f"head.{name.removeprefix(f'{last}.')}"] = tensor
    return tensors
