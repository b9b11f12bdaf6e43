"""The contract of `settled_images`: less work, and the same images broken by the same attacks as by the package."""

from __future__ import annotations

import copy
from fractions import Fraction

import pyautoattack
import pytest
import torch
from torch import Tensor, nn

from robustft.attacks.autoattack import STANDARD, AutoAttackShard, ShardOutcome
from robustft.attacks.threat import ThreatModel
from robustft.speed.settled_images import OpenRows, Run, SettledError, _later_targets, _other_targets, apgd

CPU = torch.device("cpu")
CLASSES = 5
QUERIES = 200
THREATS = {"linf": ThreatModel("linf", Fraction(3, 20)), "l2": ThreatModel("l2", Fraction(4, 5))}


def shard_of(
    model: nn.Module, threat: ThreatModel, *, settled: bool, seed: int = 1, classes: int = CLASSES
) -> AutoAttackShard:
    return AutoAttackShard(
        model,
        threat=threat,
        classes=classes,
        seed=seed,
        device=CPU,
        square_queries=QUERIES,
        settled_images=settled,
    )


def by_the_driver(model: nn.Module, x: Tensor, y: Tensor, *, norm: str, seed: int) -> list[str]:
    """Return which attack of the package's own driver broke each image, by the images that are left after each one."""
    driver = pyautoattack.AutoAttack(
        model, norm={"linf": "Linf", "l2": "L2"}[norm], eps=float(THREATS[norm].eps), seed=seed
    )
    driver.apgd_targeted.n_target_classes = driver.fab.n_target_classes = CLASSES - 1
    driver.square.n_queries = QUERIES
    broken_by = [""] * len(x)
    left = (model(x).argmax(1) == y).nonzero().squeeze(1)
    perturbed = {"apgd-ce": driver.apgd, "apgd-t": driver.apgd_targeted, "fab-t": driver.fab, "square": driver.square}
    seen: dict[str, Tensor] = {}
    for name, attack in perturbed.items():
        attack.perturb = _noting(attack.perturb, name, seen)
    driver.run_standard_evaluation(x, y, batch_size=len(x))
    for name in STANDARD:
        if not len(left):
            break
        fell = model(seen[name]).argmax(1) != y[left]
        for image in left[fell].tolist():
            broken_by[image] = name
        left = left[~fell]
    return broken_by


def _noting(attack, name: str, seen: dict[str, Tensor]):
    def noted(x: Tensor, y: Tensor) -> Tensor:
        seen[name] = attack(x, y)
        return seen[name]

    return noted


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("norm", THREATS)
def test_each_image_falls_to_the_attack_that_breaks_it_under_the_packages_own_driver(norm, seed, model, images):
    expected = by_the_driver(model, *images, norm=norm, seed=seed)
    assert 3 < expected.count("") < 20  # some hold and some fall, or nothing were compared
    shard = shard_of(model, THREATS[norm], settled=True, seed=seed)
    outcome = shard.run(*images, shard.clean(images[0]))
    assert outcome.broken_by == expected


@pytest.mark.parametrize("name", STANDARD)
@pytest.mark.parametrize("norm", THREATS)
def test_each_attack_alone_breaks_the_images_that_the_packages_breaks(norm, name, model, images):
    """In the ensemble the later attacks find little left to break."""
    x, y = images
    found = []
    for settled in (True, False):
        shard = shard_of(model, THREATS[norm], settled=settled)
        outcome = shard.clean(x)
        points: list[Tensor] = []
        shard._inspect = lambda x_adv, *_, points=points: points.append(x_adv)
        shard._attack(name, x, y, outcome.robust(y).nonzero().squeeze(1), outcome)
        found.append(outcome.broken_by)
        if settled:
            broken = torch.tensor([bool(by) for by in outcome.broken_by])
            assert 2 < broken.sum() < 23
            assert (model(points[0]).argmax(1) != y[broken]).all()
            assert ((points[0] >= 0) & (points[0] <= 1)).all()
            # float32 pixels: eps itself may be off by half a unit in the last place of a pixel near 1 (6e-8).
            assert THREATS[norm].distance(points[0], x[broken]).max() <= float(THREATS[norm].eps) + 1e-6
    assert found[0] == found[1]


@pytest.mark.parametrize("norm", THREATS)
def test_stopping_and_resuming_after_each_attack_changes_nothing(norm, model, images):
    stages: list[ShardOutcome] = []
    shard = shard_of(model, THREATS[norm], settled=True)
    last = shard.run(*images, shard.clean(images[0]), after=lambda state: stages.append(copy.deepcopy(state)))
    for stage in stages:
        resumed = shard_of(model, THREATS[norm], settled=True).run(*images, stage)
        assert torch.equal(resumed.prediction, last.prediction)
        assert torch.equal(resumed.distance, last.distance)
        assert resumed.broken_by == last.broken_by


def test_one_image_no_image_and_all_at_once(model, images):
    x, y = images
    everything = shard_of(model, ThreatModel("linf", Fraction(1)), settled=True)
    outcome = everything.run(x, y, everything.clean(x))
    assert set(outcome.broken_by[:-1]) <= {"apgd-ce", ""}
    assert not outcome.robust(y).any()
    again = everything.run(x, y, copy.deepcopy(outcome))
    assert again.broken_by == outcome.broken_by  # no image is left: nothing runs
    for settled in (True, False):
        nothing = shard_of(model, ThreatModel("linf", Fraction(1, 10**6)), settled=settled)
        one = nothing.run(x[:1], y[:1], nothing.clean(x[:1]))
        assert one.robust(y[:1]).all()
        assert one.broken_by == [""]


@pytest.mark.parametrize(("classes", "eps"), [(2, Fraction(1, 20)), (3, Fraction(7, 50))])
def test_with_fewer_than_four_classes_the_other_three_attacks_agree_with_the_package(classes, eps):
    torch.manual_seed(classes)
    linear = nn.Sequential(nn.Flatten(), nn.Linear(64, classes)).eval()
    x = torch.rand(16, 1, 8, 8) * 0.8 + 0.1
    y = linear(x).argmax(1)
    outcomes = []
    for settled in (True, False):
        shard = shard_of(linear, ThreatModel("linf", eps), settled=settled, classes=classes)
        outcomes.append(shard.run(x, y, shard.clean(x)))
    assert outcomes[0].broken_by == outcomes[1].broken_by
    assert 0 < outcomes[0].robust(y).sum() < 16


class Counting(nn.Module):
    """Counts the rows that go through a network, and keeps what each call said."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model, self.rows, self.logits = model, [], []

    def forward(self, x: Tensor) -> Tensor:
        logits = self.model(x)
        self.rows.append(len(x))
        self.logits.append(logits.detach().clone())
        return logits


def test_no_row_is_computed_after_the_iterate_that_broke_it(model, images):
    right = model(images[0]).argmax(1) == images[1]
    x, y = (part[right] for part in images)
    theirs, ours = Counting(model), Counting(model)
    attacks = [pyautoattack.AutoAttack(model, eps=float(THREATS["linf"].eps), seed=1).apgd for _ in range(2)]
    attacks[0].model = theirs
    with torch.no_grad():
        attacks[0].perturb(x, y)
    right = torch.stack([logits.argmax(1) == y for logits in theirs.logits[1:]])  # the first call is of clean images
    still_open = [len(y), *right.cummin(0).values.sum(1).tolist()[:-1]]
    assert still_open[-1] < len(y)
    network = attacks[1].model = OpenRows(ours, numbers=64)  # no batch is filled up
    with torch.no_grad():
        apgd(attacks[1], network, x, y)
    assert ours.rows == still_open


def test_a_run_ends_with_its_last_open_row():
    x, y = torch.zeros(2, 1, 1, 2), torch.tensor([0, 0])
    network = OpenRows(nn.Flatten(), numbers=1)
    run = Run(x, y, 1, counts=lambda x, _: torch.ones(len(x)).bool(), closes=torch.clone)
    reached = []
    with network.during(run):
        for first, second in [((1.0, 0.0), (0.0, 1.0)), ((0.0, 0.5), (1.0, 0.0)), ((1.0, 0.0), (1.0, 0.0))]:
            reached.append(network(torch.tensor([first, second]).view(2, 1, 1, 2)))
    assert len(reached) == 1  # the second row falls in the first call, the first in the second: there is no third
    torch.testing.assert_close(run.points.flatten(1), torch.tensor([[0.0, 0.5], [0.0, 1.0]]))
    run.open[:] = True
    with pytest.raises(SettledError):
        run.note(run.points, torch.tensor([[0.0, 1.0], [0.0, 1.0]]))


def test_settled_rows_have_remembered_logits_and_no_gradient():
    network = OpenRows(nn.Flatten(), numbers=1)
    x = torch.tensor([[0.2, 0.1], [0.3, 0.4]]).view(2, 1, 1, 2)
    run = Run(x, torch.tensor([0, 0]), 1, counts=lambda x, _: torch.ones(len(x)).bool(), closes=torch.clone)
    with network.during(run):
        network(x)
        moved = (x + 0.25).requires_grad_()
        logits = network(moved)
        (gradient,) = torch.autograd.grad(logits.sum(), moved)
    torch.testing.assert_close(logits, torch.tensor([[0.45, 0.35], [0.3, 0.4]]))
    torch.testing.assert_close(gradient.flatten(1), torch.tensor([[1.0, 1.0], [0.0, 0.0]]))


def test_images_stored_channel_by_channel_or_pixel_by_pixel_fare_alike():
    """The package's `view` fails on channels_last images, which an evaluation hands in."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 4)).eval()
    x = torch.rand(6, 3, 8, 8)
    y = network(x).argmax(1)
    for norm, eps in (("linf", Fraction(1, 30)), ("l2", Fraction(1, 3))):
        shard = shard_of(network, ThreatModel(norm, eps), settled=True, classes=4)
        outcomes = [
            shard.run(images, y, shard.clean(images)) for images in (x, x.contiguous(memory_format=torch.channels_last))
        ]
        assert outcomes[0].broken_by == outcomes[1].broken_by


def test_small_batches_are_filled_up_and_the_rest_thrown_away():
    counting = Counting(nn.Flatten())
    network = OpenRows(counting, numbers=2 * 8 * 32)  # two numbers an image: 256 images, filled up to eights
    x = torch.rand(13, 1, 1, 2)
    torch.testing.assert_close(network(x), x.flatten(1))
    torch.testing.assert_close(network(x[:3]), x[:3].flatten(1))
    assert counting.rows == [16, 3]


def test_which_rows_a_break_closes():
    broken = torch.tensor([[False, False, False], [False, True, False], [False, False, True]])
    image = torch.tensor([[False, True, True]] * 3)
    assert torch.equal(_other_targets(broken), image)
    later = torch.tensor([[False] * 3, [False] * 3, [True] * 3])
    assert torch.equal(_later_targets(broken), later)


class Tied(nn.Module):
    """Two equal logits; which one is ahead, by a rounding error, depends on the size of the batch."""

    def forward(self, x: Tensor) -> Tensor:
        logits = torch.zeros(len(x), CLASSES)
        logits[:, 0] = 1e-6 * (1 if len(x) == 3 else -1)
        logits[:, 2:] = -9.0
        return logits + 0.0 * x.sum()


def test_an_image_whose_logits_tie_is_no_crash_when_the_attacked_network_sees_it_misclassified():
    x, y = torch.rand(3, 1, 8, 8), torch.tensor([0, 0, 1])
    for settled in (True, False):
        shard = shard_of(Tied().eval(), ThreatModel("linf", Fraction(1, 10)), settled=settled)
        outcome = shard.run(x, y, shard.clean(x))
        assert outcome.attacks_done == 4
        assert not outcome.robust(y)[2]
