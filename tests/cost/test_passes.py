"""Image passes by hand. That a method takes the passes stated for it, every method's case tests."""

from __future__ import annotations

from fractions import Fraction

import pytest
import torch
from torch import nn

from robustft.attacks.autoattack import STANDARD, AutoAttackShard
from robustft.attacks.threat import ThreatModel
from robustft.cost.passes import RULES, Passes, attack_work, has_rule, method_passes, token_factor, training_work
from robustft.methods.protocol import build_method

AT = "robustft.methods.adversarial_training:AdversarialTraining"
TRADES = "robustft.methods.trades:Trades"


def spec(**changes):
    """A training of 100 images for 3 epochs by AT with 10 steps, watched each second epoch."""
    return {
        "method": {"implementation": AT, "parameters": {}, "tuning": None},
        "recipe": {"epochs": 3, "batch_size": 20},
        "dataset": {"splits": {"train": 100, "validation": 30, "test": 50}},
        "auxiliary": None,
        "split": "train",
        "training_attack": {"steps": 10},
        "monitor": {"images": 40, "every_epochs": 2, "attack": {"steps": 5}},
        "backbone": {"parameters": {}},
        "processes": 1,
        **changes,
    }


def attacks(*entries, images=(0, 10), shard=4):
    return {"images": list(images), "shard_images": shard, "attacks": list(entries)}


@pytest.mark.parametrize(
    ("name", "parameters", "expected"),
    [
        ("standard:Standard", {}, Passes(learn=1)),
        ("linear_probe:LinearProbe", {}, Passes(forward=1, attack=10)),
        ("trades:Trades", {"attack_loss": "kl"}, Passes(forward=1, attack=10, learn=2)),
        ("trades:Trades", {"attack_loss": "cross_entropy"}, Passes(attack=10, learn=2)),
        ("n_fgsm:NFgsm", {}, Passes(attack=1, learn=1)),
        ("joint_finetuning:JointFinetuning", {}, Passes(attack=20, learn=2)),
        ("fare:Fare", {}, Passes(forward=2, attack=10, learn=1)),
        ("contrastive:Contrastive", {"adversarial": False}, Passes(learn=1)),
        ("adv_ss_pretraining:Selfie", {"clean": 1.0, "adversarial": 0.0}, Passes(learn=1)),
        ("adv_ss_pretraining:Jigsaw", {"clean": 0.5, "adversarial": 0.5}, Passes(attack=10, learn=2)),
    ],
)
def test_what_one_image_takes_in_a_step_of_training(name, parameters, expected):
    assert method_passes(f"robustft.methods.{name}", parameters, 10) == expected


def test_three_tasks_differentiated_twice_take_more_than_without_their_diversity():
    def passes(diversity):
        parameters = {"diversity": diversity, "attack_diversity": diversity}
        return method_passes("robustft.methods.adv_ss_pretraining:EnsemblePretraining", parameters, 2)

    assert passes(0.0) == Passes(attack=6, learn=6)
    assert passes(0.1) == Passes(attack=15, learn=9)


def test_hyperat_takes_the_mean_of_its_defences():
    defences = {"at": {"implementation": AT}, "trades": {"implementation": TRADES, "parameters": {"attack_loss": "kl"}}}
    found = method_passes("robustft.methods.hyperat:HyperAT", {"defences": defences}, 10)
    assert found == Passes(forward=0.5, attack=10, learn=1.5)


def test_a_method_without_a_rule_is_taken_for_adversarial_training():
    assert not has_rule("robustft.methods.sixth:Paper")
    assert method_passes("robustft.methods.sixth:Paper", {}, 7) == Passes(attack=7, learn=1)


@pytest.mark.parametrize("name", RULES)
def test_every_rule_is_of_a_method_that_there_is(name):
    with pytest.raises(Exception, match="parameter"):
        build_method({"name": "m", "implementation": f"robustft.methods.{name}", "parameters": {"nonsense": 1}})


def test_the_work_of_a_training_by_hand():
    steps, watched = training_work(spec())
    assert (steps.passes, steps.images, steps.batch) == (Passes(attack=10, learn=1), 300, 20)
    # 40 + 30 + 40 images, after epochs 2 and 3; clean and adversarial ones are scored.
    assert (watched.passes, watched.images, watched.batch) == (Passes(forward=2, attack=5), 220, 110)


def test_a_data_set_without_validation_images_is_watched_on_the_others():
    _, watched = training_work(spec(dataset={"splits": {"train": 100, "test": 50}}))
    assert watched.images == 160


def test_each_of_several_processes_takes_its_share_of_a_batch():
    assert next(training_work(spec(processes=4))).batch == 5


def test_a_frozen_backbone_takes_no_gradients_by_weights_and_prompts_are_more_tokens():
    tuning = {"implementation": "robustft.models.tunings.prompts:PromptTuning", "parameters": {"length": 13}}
    prompted = spec(
        method={"implementation": AT, "parameters": {}, "tuning": tuning},
        backbone={"parameters": {"image_size": 32, "patch_size": 4}},
    )
    assert token_factor(prompted) == pytest.approx(78 / 65)  # 64 patches, a class token, 13 prompts
    steps, watched = training_work(prompted)
    assert steps.passes == Passes(attack=11)
    assert (steps.size, watched.size) == (78 / 65, 78 / 65)
    assert token_factor(spec()) == 1


def test_choosing_source_classes_looks_once_at_all_images():
    method = {"implementation": AT, "parameters": {"selection": "transport"}, "tuning": None}
    looked = list(training_work(spec(method=method, auxiliary={"splits": {"train": 1000}})))[-1]
    assert (looked.passes, looked.images) == (Passes(forward=1), 1100)


def test_the_work_of_gradient_attacks_by_hand():
    checks, clean, pgd, elastic = attack_work(
        attacks(
            {"algorithm": "none"},
            {"algorithm": "pgd", "steps": 20},
            {"algorithm": "function", "parameters": {"steps": 7}},
        ),
        classes=10,
    )
    assert (checks.passes, checks.images) == (Passes(forward=4, attack=4), 10)
    assert (clean.passes, clean.images, clean.batch) == (Passes(forward=2), 10, 4)
    assert pgd.passes == Passes(forward=2, attack=20)
    assert elastic.passes == Passes(forward=2, attack=7)


def test_the_work_of_autoattack_by_hand():
    _, clean, untargeted, others = attack_work(attacks({"algorithm": "autoattack", "square_queries": 500}), classes=5)
    assert (clean.passes, clean.images) == (Passes(forward=1), 10)
    assert (untargeted.passes, untargeted.images) == (Passes(forward=2, attack=101), 8)
    # For half of the images four targets: APGD 100 steps, FAB 100 steps and 103.5 scores; then Square's 500 queries.
    assert others.images == 5
    assert others.passes == Passes(forward=4 * (1.5 + 103.5) + 500, attack=4 * 200)
    fewer = {"algorithm": "autoattack", "iterations": 20, "square_queries": 500}
    assert [work.passes.attack for work in list(attack_work(attacks(fewer), classes=5))[2:]] == [21, 4 * 40]


def test_autoattack_tries_at_most_nine_targets_and_no_targeted_apgd_on_two_classes():
    *_, many = attack_work(attacks({"algorithm": "autoattack"}), classes=100)
    assert many.passes.attack == 9 * 200
    *_, two = attack_work(attacks({"algorithm": "autoattack"}), classes=2)
    assert two.passes == Passes(forward=103.5 + 5000, attack=100)


class Counting(nn.Module):
    """Counts images with and without a gradient by the image."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner, self.seen = inner, [0, 0]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.seen[torch.is_grad_enabled() and x.requires_grad] += len(x)
        return self.inner(x)


def test_autoattack_makes_the_passes_that_are_stated_for_it():
    # An eps too small for any image to be broken: each of six images goes through all four attacks.
    torch.manual_seed(0)
    model = Counting(nn.Sequential(nn.Flatten(), nn.Linear(16, 4)).requires_grad_(False)).eval()
    x = torch.rand(6, 1, 4, 4)
    y = model(x).argmax(1)
    shard = AutoAttackShard(
        model,
        threat=ThreatModel("linf", Fraction(1, 10**6)),
        classes=4,
        seed=0,
        device=torch.device("cpu"),
        square_queries=20,
        settled_images=False,  # with it there are fewer: how many depends on the images
    )
    model.seen = [0, 0]
    outcome = shard.run(x, y, shard.clean(x))
    assert outcome.attacks_done == len(STANDARD)
    assert outcome.robust(y).all()
    spec = {"images": [0, 6], "shard_images": 6, "attacks": [{"algorithm": "autoattack", "square_queries": 20}]}
    stated = sum((work.passes for work in list(attack_work(spec, classes=4))[1:]), Passes())
    forward, attack = (seen / 6 for seen in model.seen)
    assert attack == pytest.approx(stated.attack, rel=0.01)
    assert forward == pytest.approx(stated.forward, abs=8)  # Square asks a few times more than its queries
