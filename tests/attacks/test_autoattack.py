"""The contract of AutoAttack in pieces: image by image what pyautoattack's own driver finds, resumable between attacks.

Nothing of the standard ensemble is reduced (Square keeps its 5000 queries), so the network is as small as can be.
"""

from __future__ import annotations

import copy
import dataclasses
from fractions import Fraction
from functools import partial

import pyautoattack
import pytest
import torch
from torch import Tensor, nn

from robustft.attacks.autoattack import STANDARD, AutoAttackShard, ShardOutcome
from robustft.attacks.objectives import cross_entropy
from robustft.attacks.pgd import Budget, pgd
from robustft.attacks.threat import ThreatModel
from robustft.errors import ConfigError
from robustft.models.classifier import Classifier, Normalise

CLASSES = 5
SEED = 3
THREATS = {
    "linf": ThreatModel("linf", Fraction(1, 6)),
    # So large that little is left for Square, whose 5000 queries are most of the time.
    "l2": ThreatModel("l2", Fraction(4, 3)),
}


class KilledError(Exception):
    """Stands for the end of the process."""


@pytest.fixture(scope="module")
def model(class_patterns) -> nn.Module:
    """A network of eight hidden units, trained on PGD examples for a moment, so that some images hold and some fall."""
    torch.manual_seed(1)
    hidden = nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.Tanh())
    model = Classifier(Normalise([0.3], [0.4]), hidden, nn.Linear(8, CLASSES))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    budget = Budget(ThreatModel("linf", Fraction(1, 20)), 3, Fraction(1, 2))
    for step in range(40):
        x, y = class_patterns(40, seed=step, noise=0.3)
        x_adv = pgd(model, x, budget=budget, objective=partial(cross_entropy, y=y), start="none")
        optimizer.zero_grad()
        cross_entropy(model(x_adv), y).mean().backward()
        optimizer.step()
    return model.eval()


@pytest.fixture(scope="module")
def images(class_patterns) -> tuple[Tensor, Tensor]:
    """Twelve images; the last has a wrong label, so one is misclassified before any attack."""
    x, y = class_patterns(12, seed=999, noise=0.3)
    y[-1] = (y[-1] + 1) % CLASSES
    return x, y


def shard_of(model: nn.Module, norm: str) -> AutoAttackShard:
    """Return the package's attacks as they are; `test_autoattack_settled` compares what leaves out work."""
    return AutoAttackShard(
        model,
        threat=THREATS[norm],
        classes=CLASSES,
        seed=SEED,
        device=torch.device("cpu"),
        settled_images=False,
    )


@pytest.fixture(scope="module")
def stages(model, images) -> dict[str, list[ShardOutcome]]:
    """For each norm the outcomes before the first attack and after each one, run through without a stop."""
    found = {}
    for norm in THREATS:
        shard = shard_of(model, norm)
        outcome = shard.clean(images[0])
        found[norm] = [copy.deepcopy(outcome)]
        shard.run(*images, outcome, after=lambda state, norm=norm: found[norm].append(copy.deepcopy(state)))
    return found


def assert_equal(one: ShardOutcome, other: ShardOutcome) -> None:
    for field in dataclasses.fields(ShardOutcome):
        left, right = getattr(one, field.name), getattr(other, field.name)
        assert torch.equal(left, right) if isinstance(left, Tensor) else left == right, field.name


def test_the_problem_is_worth_attacking(stages, images):
    # Otherwise the comparisons below could not fail: some images hold, some fall, and not all to the first attack.
    robust = stages["linf"][-1].robust(images[1]).float().mean().item()
    assert 0.2 < robust < 0.8
    assert len(set(stages["linf"][-1].broken_by) - {""}) >= 2
    assert stages["l2"][-1].robust(images[1]).sum() < stages["l2"][0].robust(images[1]).sum()


@pytest.mark.parametrize("norm", THREATS)
def test_each_image_fares_as_under_the_packages_own_driver(norm, stages, model, images):
    x, y = images
    driver = pyautoattack.AutoAttack(
        model, norm={"linf": "Linf", "l2": "L2"}[norm], eps=float(THREATS[norm].eps), seed=SEED, version="standard"
    )
    driver.apgd_targeted.n_target_classes = driver.fab.n_target_classes = CLASSES - 1
    x_adv, predicted = driver.run_standard_evaluation(x, y, batch_size=len(x))
    outcome = stages[norm][-1]
    assert torch.equal(outcome.robust(y), predicted == y)
    assert torch.equal(outcome.prediction, predicted)
    delta = (x_adv - x).flatten(1)
    distance = delta.abs().amax(1) if norm == "linf" else delta.norm(dim=1)
    torch.testing.assert_close(outcome.distance, distance)


def test_the_seed_reaches_the_attacks(model, images):
    # The driver's seed and ours must be able to differ in effect, or the equality above says nothing about seeds.
    seen = []
    for seed in (SEED, SEED + 1):
        shard = AutoAttackShard(model, threat=THREATS["l2"], classes=CLASSES, seed=seed, device=torch.device("cpu"))

        def stop(state: ShardOutcome) -> None:
            seen.append(state.distance.clone())
            raise KilledError

        with pytest.raises(KilledError):
            shard.run(*images, shard.clean(images[0]), after=stop)
    assert not torch.equal(*seen)


def test_stopping_and_resuming_after_each_attack_changes_nothing(stages, model, images):
    def killed(state: ShardOutcome) -> None:
        raise KilledError

    expected = stages["linf"]
    outcome = copy.deepcopy(expected[0])
    for done in range(1, len(STANDARD) + 1):
        with pytest.raises(KilledError):  # a fresh object each time, as in a fresh process
            shard_of(model, "linf").run(*images, outcome, after=killed)
        assert outcome.attacks_done == done
        assert_equal(outcome, expected[done])
    after: list[ShardOutcome] = []
    shard_of(model, "linf").run(*images, outcome, after=after.append)
    assert after == []
    assert_equal(outcome, expected[-1])


@pytest.mark.parametrize("norm", THREATS)
def test_the_outcome_is_consistent_in_itself(norm, stages, images):
    _, y = images
    first, last = stages[norm][0], stages[norm][-1]
    for i in range(len(y)):
        fell = first.robust(y)[i] and not last.robust(y)[i]
        assert bool(last.broken_by[i]) == bool(fell)
        assert last.broken_by[i] in ("", *STANDARD)
        assert (last.distance[i] > 0) == bool(fell)
        if not fell:
            assert last.prediction[i] == first.prediction[i]
    assert not first.robust(y)[-1]  # misclassified from the start: never attacked, broken by nothing
    # float32 pixels: eps itself may be off by half a unit in the last place of a pixel near 1 (6e-8).
    assert last.distance.max() <= float(THREATS[norm].eps) + 1e-6
    for before, after in zip(stages[norm], stages[norm][1:], strict=False):
        assert not (after.robust(y) & ~before.robust(y)).any()  # no later attack heals an image


def test_attacking_changes_neither_weights_nor_modes_nor_images(model, images):
    x, y = images
    weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    before = x.clone(), y.clone()
    everything = ThreatModel("linf", Fraction(1))  # so large that the first attack ends it
    shard = AutoAttackShard(model, threat=everything, classes=CLASSES, seed=0, device=torch.device("cpu"))
    outcome = shard.run(x, y, shard.clean(x))
    assert not outcome.robust(y).any()
    assert outcome.attacks_done == len(STANDARD)  # the rest had nothing left to do, and counts as done
    assert torch.equal(x, before[0])
    assert torch.equal(y, before[1])
    assert all(torch.equal(weights[name], tensor) for name, tensor in model.state_dict().items())
    assert not model.training


@pytest.mark.parametrize(("classes", "targets"), [(4, 3), (5, 4), (10, 9), (100, 9)])
def test_the_targeted_attacks_take_all_other_classes_up_to_nine(classes, targets):
    shard = AutoAttackShard(nn.Flatten(), threat=THREATS["linf"], classes=classes, seed=0, device=torch.device("cpu"))
    assert shard.targets == targets


@pytest.mark.parametrize("classes", [2, 3])
def test_below_four_classes_all_but_targeted_apgd_run(classes, monkeypatch):
    """Its loss compares four logits; the package's own driver stops with an error there."""
    shard = AutoAttackShard(nn.Flatten(), threat=THREATS["linf"], classes=classes, seed=0, device=torch.device("cpu"))
    ran: list[str] = []
    monkeypatch.setattr(shard, "_attack", lambda name, *_: ran.append(name))
    x = torch.zeros(3, 1, 1, classes)
    outcome = shard.run(x, torch.zeros(3, dtype=torch.int64), shard.clean(x))
    assert ran == ["apgd-ce", "fab-t", "square"]
    assert outcome.attacks_done == 4
    assert shard.targets == classes - 1


def test_with_two_classes_a_weak_model_is_broken():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 2)).eval()
    x = torch.rand(12, 1, 4, 4) * 0.5 + 0.25
    y = model(x).argmax(1)
    shard = AutoAttackShard(
        model,
        threat=ThreatModel("linf", Fraction(1, 4)),
        classes=2,
        seed=0,
        device=torch.device("cpu"),
        square_queries=50,
    )
    outcome = shard.run(x, y, shard.clean(x))
    # A linear model's margin w.(x - x') is at most eps |w|_1: exactly these images can be broken.
    weight = (model[1].weight[0] - model[1].weight[1]).detach()
    margin = (model(x)[:, 0] - model(x)[:, 1]).abs().detach()
    assert ((~outcome.robust(y)) == (margin < weight.abs().sum() / 4)).all()


def test_iterations_and_the_black_box_attacks_queries_are_100_and_5000_unless_said(model):
    def settings(**queries: int) -> tuple[int, ...]:
        shard = AutoAttackShard(
            model, threat=THREATS["linf"], classes=CLASSES, seed=SEED, device=torch.device("cpu"), **queries
        )
        found = shard._attacks
        return found["square"].n_queries, found["apgd-ce"].n_iter, found["apgd-t"].n_iter, found["fab-t"].n_iter

    assert settings() == (5000, 100, 100, 100)
    assert settings(square_queries=7) == (7, 100, 100, 100)
    assert settings(iterations=9) == (5000, 9, 9, 9)


def test_a_package_with_another_ensemble_is_refused(monkeypatch):
    class Other(pyautoattack.AutoAttack):
        def _set_version(self, version="standard"):
            super()._set_version(version)
            self.attacks_to_run = ["apgd-ce", "square"]

    monkeypatch.setattr(pyautoattack, "AutoAttack", Other)
    with pytest.raises(ConfigError, match="another standard ensemble"):
        AutoAttackShard(nn.Flatten(), threat=THREATS["linf"], classes=5, seed=0, device=torch.device("cpu"))
