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

SIZES = [(size, n) for size in (1, 2, 3, 5) for n in range(2 * size, 2 * size + 9)]


@pytest.mark.parametrize(("size", "n"), SIZES)
def test_every_image_is_in_one_shard_and_halves_of_a_shard_are_in_the_halves_of_the_batch(size, n):
    batch = torch.arange(n)
    first, second = halves(batch)
    shards = [ShardedBatch(rank, size).own(batch) for rank in range(size)]
    assert torch.equal(torch.cat(shards).sort().values, batch)
    for shard in shards:
        own_first, own_second = halves(shard)
        assert torch.isin(own_first, first).all()
        assert torch.isin(own_second, second).all()
    lengths = [len(shard) for shard in shards]
    assert max(lengths) - min(lengths) <= 2


@pytest.mark.parametrize(("size", "n"), SIZES)
def test_shards_padded_and_summed_are_the_batch(size, n):
    batch = torch.randn(n, 2)
    padded = [
        sharding.padded(sharding.own(batch), n) for sharding in (ShardedBatch(rank, size) for rank in range(size))
    ]
    assert torch.equal(torch.stack(padded).sum(0), batch)


def test_too_few_images_are_not_sharded():
    assert ShardedBatch(0, 3).too_small(5)
    assert not ShardedBatch(0, 3).too_small(6)


class Doubling(nn.Module):
    """Notes how many images pass, and whether they are a shard."""

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


def test_during_an_attack_a_process_computes_its_shard_and_asks_nobody():
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
