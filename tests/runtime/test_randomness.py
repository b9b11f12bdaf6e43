from __future__ import annotations

import hashlib

import pytest
import torch

from robustft.runtime.randomness import counter_seed, generator


def test_a_seed_is_the_hash_of_its_name():
    # 63 bits of BLAKE2b of the text "3/order/7": the same number on every machine and in every release.
    digest = hashlib.blake2b(b"3/order/7", digest_size=8).digest()
    assert counter_seed(3, "order", 7) == int.from_bytes(digest, "big") // 2


def test_a_seed_written_down():
    assert counter_seed(0, "weights") == 4283426181684004966


def test_seeds_fit_torchs_generators():
    assert all(0 <= counter_seed(seed, "x") < 2**63 for seed in range(200))


def test_different_names_give_different_seeds():
    names = [(seed, what, step) for seed in range(5) for what in ("order", "augment", "attack") for step in range(20)]
    assert len({counter_seed(*name) for name in names}) == len(names)


def test_the_parts_of_a_name_do_not_run_together():
    assert counter_seed(1, 11) != counter_seed(11, 1)
    assert counter_seed(0, "a", 12) != counter_seed(0, "a", 1, 2)


def test_a_generator_draws_the_same_whatever_was_drawn_before():
    torch.manual_seed(1)
    first = torch.rand(3, generator=generator("cpu", 0, "attack", 5))
    torch.rand(100)
    torch.rand(7, generator=generator("cpu", 0, "attack", 4))
    assert torch.equal(first, torch.rand(3, generator=generator("cpu", 0, "attack", 5)))
    assert not torch.equal(first, torch.rand(3, generator=generator("cpu", 1, "attack", 5)))


def test_making_a_generator_leaves_the_global_one_alone():
    torch.manual_seed(1)
    expected = torch.rand(2)
    torch.manual_seed(1)
    torch.rand(5, generator=generator("cpu", 0, "x"))
    assert torch.equal(torch.rand(2), expected)


@pytest.mark.parametrize("device", ["cpu", torch.device("cpu")])
def test_a_generator_lives_on_the_device_asked_for(device):
    assert generator(device, 0, "x").device == torch.device("cpu")
