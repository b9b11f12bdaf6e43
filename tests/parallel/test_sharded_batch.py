from __future__ import annotations

import pytest
import torch
from torch import nn

from robustft.models.two_wing_batch_norm import halves
from robustft.parallel.sharded_batch import (
    ShardedBatch,
    averaged,
    current_shard,
    sharded_attack,
    sharded_forward,
    sharded_over,
)
from robustft.parallel.sync_batch_norm import WholeBatchNorm2d, to_sync_batch_norm

SIZES = [(size, n) for size in (1, 2, 3, 5) for n in range(2 * size, 2 * size + 9)]


@pytest.mark.parametrize(("size", "n"), SIZES)
def test_every_image_is_in_one_share_and_halves_of_a_share_are_in_the_halves_of_the_batch(size, n):
    batch = torch.arange(n)
    first, second = halves(batch)
    batch = [ShardedBatch(rank, size).own(batch) for rank in range(size)]
    assert torch.equal(torch.cat(batch).sort().values, batch)
    for share in batch:
        own_first, own_second = halves(share)
        assert torch.isin(own_first, first).all()
        assert torch.isin(own_second, second).all()
    lengths = [len(share) for share in batch]
    assert max(lengths) - min(lengths) <= 2


@pytest.mark.parametrize(("size", "n"), SIZES)
def test_shares_placed_and_summed_are_the_batch(size, n):
    batch = torch.randn(n, 2)
    placed = [batch.placed(batch.own(batch), n) for batch in (ShardedBatch(rank, size) for rank in range(size))]
    assert torch.equal(torch.stack(placed).sum(0), batch)


def test_too_few_images_are_not_shared():
    assert ShardedBatch(0, 3).small(5)
    assert not ShardedBatch(0, 3).small(6)


class Doubling(nn.Module):
    """Notes how many images pass, and whether they are a share."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[int, bool]] = []

    @sharded_forward
    def features(self, x):
        self.seen.append((len(x), current_shard() is not None))
        return 2 * x

    @sharded_forward
    def forward(self, x):
        return self.features(x), -x


def test_alone_all_images_pass():
    model, x = Doubling(), torch.rand(5, 1)
    with sharded_over(0, 1):
        doubled, negative = model(x)
        assert torch.equal(averaged(x), x)
    assert torch.equal(doubled, 2 * x)
    assert torch.equal(negative, -x)
    assert model.seen == [(5, False)]


def test_while_images_are_crafted_a_process_computes_its_share_and_asks_nobody():
    model, x = Doubling(), torch.rand(5, 1)

    def attack():
        doubled, negative = model(x)
        own = ShardedBatch(1, 2).pieces(5)
        expected = torch.zeros(5, 1)
        for piece in own:
            expected[piece] = 2 * x[piece]
        assert torch.equal(doubled, expected)
        assert torch.equal(negative, -expected / 2)
        raise StopIteration  # the attack's end is told to the group, which is not there

    with sharded_over(1, 2), pytest.raises(StopIteration):
        sharded_attack(attack, 5)
    assert model.seen == [(2, True)]
    assert current_shard() is None


def test_a_small_batch_is_passed_whole_by_every_process():
    model, x = Doubling(), torch.rand(3, 1)
    with sharded_over(1, 2):
        assert torch.equal(model(x)[0], 2 * x)
        assert sharded_attack(lambda: x, 3) is x
    assert model.seen == [(3, False)]


def test_only_plain_batch_norms_become_those_of_a_batch_and_nothing_else_changes():
    class Special(nn.BatchNorm2d):
        """Not a plain one."""

    model = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2), Special(2))
    before = {name: id(value) for name, value in model.state_dict(keep_vars=True).items()}
    assert to_sync_batch_norm(model) is model
    assert [type(module) for module in model] == [nn.Conv2d, WholeBatchNorm2d, Special]
    assert {name: id(value) for name, value in model.state_dict(keep_vars=True).items()} == before


@pytest.mark.parametrize("training", [True, False])
def test_a_batch_norm_of_a_batch_that_is_not_shared_is_a_plain_one(training):
    torch.manual_seed(0)
    plain, whole = nn.BatchNorm2d(3), to_sync_batch_norm(nn.Sequential(nn.BatchNorm2d(3)))
    x = torch.randn(4, 3, 2, 2)
    assert torch.equal(whole.train(training)(x), plain.train(training)(x))
    for name, value in plain.state_dict().items():
        assert torch.equal(whole[0].state_dict()[name], value), name
