"""The sites of a vision transformer: the linear maps of its blocks that a tuning can adapt.

They are q, k, v (rows of timm's one `qkv` layer), proj, fc1 and fc2.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from robustft.errors import ConfigError, nearest

LAYER = {"q": "attn.qkv", "k": "attn.qkv", "v": "attn.qkv", "proj": "attn.proj", "fc1": "mlp.fc1", "fc2": "mlp.fc2"}
"""The layer of a block that holds each site."""
SITES = tuple(LAYER)


def check_sites(sites: Sequence[str]) -> None:
    """Raise ConfigError for an unknown site."""
    for site in sites:
        if site not in LAYER:
            raise ConfigError(f"a transformer block has no site '{site}'", next_step=nearest(site, SITES))


def site_shapes(backbone: nn.Module, sites: Sequence[str] = SITES) -> dict[str, tuple[int, int]]:
    """Return (outputs, inputs) of each site of a ViT. All blocks have the same shapes."""
    check_sites(sites)
    block = blocks_of(backbone)[0]
    shapes = {}
    for site in sites:
        layer = block.get_submodule(LAYER[site])
        assert isinstance(layer, nn.Linear)
        shapes[site] = (layer.out_features // (3 if site in "qkv" else 1), layer.in_features)
    return shapes


def blocks_of(backbone: nn.Module) -> nn.Sequential:
    """Return the blocks of a ViT. Raises ConfigError for another backbone."""
    blocks = getattr(backbone, "blocks", None)
    if not isinstance(blocks, nn.Sequential):
        raise ConfigError(f"LoRA needs the blocks of a vision transformer; {type(backbone).__name__} has none")
    return blocks


def in_weights(deltas: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the changes of a ViT's weights by name, from those by site, each (L, outputs, inputs) for L blocks."""
    layers: dict[str, list[Tensor]] = {}
    for layer in dict.fromkeys(LAYER[site] for site in deltas):
        sites = [site for site in SITES if LAYER[site] == layer]
        some = next(deltas[site] for site in sites if site in deltas)
        parts = [deltas.get(site, torch.zeros_like(some)) for site in sites]
        layers[layer] = list(torch.cat(parts, dim=1).unbind() if len(parts) > 1 else some.unbind())
    return {f"blocks.{n}.{layer}.weight": delta for layer, blocks in layers.items() for n, delta in enumerate(blocks)}
