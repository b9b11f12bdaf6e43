from __future__ import annotations

import pytest
import torch
from torch import nn

from robustft.parallel.sync_batch_norm import SyncBatchNorm2d, to_sync_batch_norm


def test_only_plain_batch_norms_become_those_of_a_batch_and_nothing_else_changes():
    class Special(nn.BatchNorm2d):
        """Not a plain one."""

    model = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2), Special(2))
    before = {name: id(value) for name, value in model.state_dict(keep_vars=True).items()}
    assert to_sync_batch_norm(model) is model
    assert [type(module) for module in model] == [nn.Conv2d, SyncBatchNorm2d, Special]
    assert {name: id(value) for name, value in model.state_dict(keep_vars=True).items()} == before


@pytest.mark.parametrize("training", [True, False])
def test_a_batch_norm_of_a_batch_that_is_not_shared_is_a_plain_one(training):
    torch.manual_seed(0)
    plain, whole = nn.BatchNorm2d(3), to_sync_batch_norm(nn.Sequential(nn.BatchNorm2d(3)))
    x = torch.randn(4, 3, 2, 2)
    assert torch.equal(whole.train(training)(x), plain.train(training)(x))
    for name, value in plain.state_dict().items():
        assert torch.equal(whole[0].state_dict()[name], value), name
