from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from robustft.errors import ConfigError, IntegrityError
from robustft.models.classifier import build_classifier
from robustft.models.self_supervised.pretext import (
    JigsawHead,
    RotationHead,
    cut,
    draw_permutations,
    join,
    permutations,
    sha256_of,
)

TABLE = {
    "grid": [4, 4],
    "count": 30,
    "seed": 22,
    "sha256": "9c1336bbf85c498f9f4a2752a064518de7cd3d460cfe9080a4a2ead50a094c13",
}
"""The table of config/papers/adv_ss_pretraining/methods.yaml."""

TINY = {
    "name": "tiny",
    "implementation": "robustft.models.backbones.resnet_v2:ResNetV2",
    "parameters": {"width": 4, "blocks": [1, 1, 1, 1], "block": "basic"},
    "normalisation": {"mean": [0.3], "std": [0.4]},
}


def test_patches_by_hand():
    # Rows of a 2 x 4 image cut by a 2 x 2 grid: cells from left to right, then down.
    x = torch.arange(8.0).view(1, 1, 2, 4)
    assert cut(x, (2, 2)).flatten(2).tolist() == [[[0, 1], [2, 3], [4, 5], [6, 7]]]
    assert cut(x, (1, 2)).flatten(2).tolist() == [[[0, 1, 4, 5], [2, 3, 6, 7]]]


@pytest.mark.parametrize("grid", [(1, 1), (2, 2), (4, 2), (4, 4)])
def test_joining_undoes_cutting(grid):
    x = torch.rand(3, 2, 8, 8)
    assert torch.equal(join(cut(x, grid), grid), x)


def test_a_grid_that_does_not_divide_the_image_is_refused():
    with pytest.raises(ValueError, match="3 x 4 does not divide images of 8 x 8"):
        cut(torch.zeros(1, 1, 8, 8), (3, 4))


def test_the_table_of_permutations_is_the_one_whose_hash_the_configuration_states():
    # The released code writes every run's table to one file name, where runs overwrite each other's (B15). Here it is
    # a function of its description, and a generator that drew others would be found.
    table = permutations(TABLE)
    assert sha256_of(table) == TABLE["sha256"]
    assert table.shape == (31, 16)
    assert table[0].tolist() == list(range(16))
    assert len({tuple(row) for row in table.tolist()}) == 31
    assert torch.equal(table.sort(dim=1).values, torch.arange(16).expand(31, -1))
    assert torch.equal(permutations(dict(TABLE)), table)


def test_another_table_than_stated_is_refused():
    with pytest.raises(IntegrityError, match="have another hash") as error:
        permutations({**TABLE, "seed": 23})
    assert TABLE["sha256"] in str(error.value)


def test_the_hash_is_that_of_the_table_as_text():
    # printf '0 1\n1 0\n' | sha256sum
    expected = "19d8e8cf6b93224d3388548d5f8bdee4cd4e033d416d8631b8c44db208da788d"
    assert sha256_of(torch.tensor([[0, 1], [1, 0]])) == expected


def test_permutations_are_distinct_even_where_there_are_few():
    # Two cells have one permutation besides the identity, three have five.
    assert draw_permutations(2, 1, 0).tolist() == [[0, 1], [1, 0]]
    assert len({tuple(row) for row in draw_permutations(3, 5, 0).tolist()}) == 6
    with pytest.raises(ConfigError, match="no 6 permutations of 3"):
        draw_permutations(3, 6, 0)


def test_permutations_are_uniform():
    # How often cell 0 shows each of 4 patches in 3000 tables: within 5 standard deviations of 6 draws out of 23 + 1.
    shown = torch.stack([draw_permutations(4, 1, seed)[1] for seed in range(3000)])[:, 0]
    share = (shown == 1).double().mean().item()  # 6 of the 23 permutations that are not the identity
    assert abs(share - 6 / 23) < 5 * math.sqrt(6 / 23 * 17 / 23 / 3000)


def test_the_heads_replace_that_of_the_classes_and_leave_the_rest():
    model = build_classifier(TINY, shape=[1, 8, 8], classes=5)
    backbone = dict(model.backbone.named_parameters())
    assert RotationHead().prepare(model).head.out_features == 4
    model = JigsawHead(table=TABLE).prepare(model)
    assert model.head.out_features == 31
    assert model(torch.rand(2, 1, 8, 8)).shape == (2, 31)
    assert all(parameter is backbone[name] for name, parameter in model.backbone.named_parameters())
    assert all(parameter.requires_grad for parameter in model.parameters())
    # The permutations travel in the checkpoint, beside the weights that give them their meaning.
    assert torch.equal(model.state_dict()["head.permutations"], permutations(TABLE))
    assert isinstance(model.head, nn.Linear)
