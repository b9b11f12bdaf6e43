"""The sites of a vision transformer: their shapes, and where their changes go."""

from __future__ import annotations

import pytest
import torch

from robustft.errors import ConfigError
from robustft.models.tunings.sites import in_weights, site_shapes
from tests.models.toy_vit import WIDTH, toy_vit


def test_sites_have_the_shapes_of_their_layers():
    d = WIDTH
    assert site_shapes(toy_vit().backbone) == {
        "q": (d, d), "k": (d, d), "v": (d, d), "proj": (d, d), "fc1": (4 * d, d), "fc2": (d, 4 * d)
    }  # fmt: skip


def test_changes_by_site_go_to_their_rows_of_their_weights():
    deltas = {"q": torch.full((2, 1, 1), 1.0), "v": torch.tensor([[[3.0]], [[4.0]]]), "fc2": torch.ones(2, 1, 2)}
    changes = in_weights(deltas)
    assert sorted(changes) == [f"blocks.{n}.{layer}.weight" for n in range(2) for layer in ("attn.qkv", "mlp.fc2")]
    assert changes["blocks.1.attn.qkv.weight"].flatten().tolist() == [1.0, 0.0, 4.0]  # no change of the keys
    assert changes["blocks.0.mlp.fc2.weight"].tolist() == [[1.0, 1.0]]


def test_a_site_or_a_network_that_does_not_exist_is_refused(tiny_model):
    with pytest.raises(ConfigError, match="no site 'kv'"):
        site_shapes(toy_vit().backbone, ("kv",))
    with pytest.raises(ConfigError, match="ResNet has none"):
        site_shapes(tiny_model().backbone)
