"""A network of a library or of a user's function as a backbone: all of it but its last linear layer."""

from __future__ import annotations

from torch import Tensor, nn

from robustft.errors import ConfigError
from robustft.models.foreign.architectures import architecture


class LibraryBackbone(nn.Module):
    """Images (n, C, H, W) -> features (n, D) of the architecture `arch`, LIBRARY:NAME or MODULE:FUNCTION.

    Raises ConfigError for a network whose last layer is not linear.
    """

    def __init__(self, *, channels: int, arch: str) -> None:
        super().__init__()
        self.network = architecture(arch).build(channels=channels)
        self.head_name = last_linear(self.network, arch)
        parent, _, name = self.head_name.rpartition(".")
        head = self.network.get_submodule(self.head_name)
        assert isinstance(head, nn.Linear)
        self.out_features = head.in_features
        setattr(self.network.get_submodule(parent), name, nn.Identity())

    def forward(self, x: Tensor) -> Tensor:
        """Return features."""
        features: Tensor = self.network(x)
        return features


def last_linear(network: nn.Module, arch: str) -> str:
    """Return the name of the linear layer that makes logits: the last one that the network has."""
    layers = [(name, module) for name, module in network.named_modules() if not list(module.children())]
    weighted = [(name, module) for name, module in layers if list(module.parameters(recurse=False))]
    if not weighted or not isinstance(weighted[-1][1], nn.Linear):
        raise ConfigError(
            "the network's last layer is not linear, so robustft cannot give it a new head",
            where=arch,
            observed=type(weighted[-1][1]).__name__ if weighted else "no weights",
            next_step="write a backbone of your own, a class with `out_features`",
        )
    return weighted[-1][0]
