"""The contract of the ledger: image by image what pyautoattack's own driver finds for the same seed and batches."""

from __future__ import annotations

import dataclasses
from functools import partial

import numpy as np
import pyautoattack
import pytest
import torch

from robustft.attacks.objectives import cross_entropy
from robustft.attacks.pgd import Budget, pgd
from robustft.attacks.threat import ThreatModel
from robustft.data.batches import Images
from robustft.data.imagefile import load_split, save
from robustft.evaluate.ledger import read_checks, read_ledger
from robustft.evaluate.step import Evaluator
from robustft.evaluate.target import Subject
from robustft.models.checkpoint import load_classifier, save_checkpoint
from robustft.runtime.context import Context
from robustft.runtime.randomness import counter_seed
from robustft.speed.optimizations import Optimizations

THREAT = {"norm": "linf", "eps": "1/8"}
SHARD = 6
IMAGES = 12
SEED = 5


QUERIES = 500
"""Of the black-box attack; its standard, 5000, takes ten times as long."""


@pytest.fixture(scope="module")
def inputs(tmp_path_factory, tiny_model, tiny_backbone, class_patterns):
    """A residual network trained adversarially for a moment, and images of which it classifies some."""
    folder = tmp_path_factory.mktemp("attacked")
    model = tiny_model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    budget = Budget.of(THREAT, {"steps": 3, "step_over_eps": "1/2"})
    for step in range(60):
        x, y = class_patterns(40, seed=step, noise=0.25)
        x_adv = pgd(model.eval(), x, budget=budget, objective=partial(cross_entropy, y=y), start="none")
        model.train()
        optimizer.zero_grad()
        cross_entropy(model(x_adv), y).mean().backward()
        optimizer.step()
    about = {"backbone": tiny_backbone, "shape": [1, 8, 8], "classes": 5}
    save_checkpoint(folder / "checkpoint", model, about=about)
    x, y = class_patterns(IMAGES, seed=999, noise=0.25)
    y[-1] = (y[-1] + 1) % 5  # one image that is wrong before any attack
    save(
        folder / "data",
        images=(255 * x).round().to(torch.uint8).numpy(),
        labels=y.numpy(),
        splits={"toy/test": np.arange(IMAGES)},
        about={"levels": 255, "datasets": {"toy": {"classes": [0, 1, 2, 3, 4]}}},
    )
    return {name: folder / name for name in ("checkpoint", "data")}


@pytest.fixture(scope="module")
def driver(inputs):
    """What the package's own driver finds for each shard: images, adversarial images, whether correct, predictions."""
    model = load_classifier(inputs["checkpoint"])[0].eval()
    images = Images.of(load_split(inputs["data"], dataset="toy", split="test"), torch.device("cpu"))
    shards = {}
    for start in range(0, IMAGES, SHARD):
        x, y = images.take(slice(start, start + SHARD))
        seed = counter_seed(SEED, "autoattack", start) % 2**31
        driver = pyautoattack.AutoAttack(model, eps=float(ThreatModel.of(THREAT).eps), seed=seed, version="standard")
        driver.apgd_targeted.n_target_classes = driver.fab.n_target_classes = 4  # all that five classes have
        driver.square.n_queries = QUERIES
        x_adv, predicted = driver.run_standard_evaluation(x, y, batch_size=SHARD)
        shards[start] = x, x_adv, predicted == y, predicted
    return shards


@pytest.fixture(scope="module", params=[True, False], ids=["optimizations", "no optimizations"])
def attacked(request, inputs, tmp_path_factory):
    """The ledger of the network under the standard ensemble."""
    folder = tmp_path_factory.mktemp("ledger")
    spec = {"dataset": "toy", "split": "test", "images": [0, IMAGES], "shard_images": SHARD, "threat": THREAT}
    ensemble = {"name": "autoattack", "algorithm": "autoattack", "target": "exported_model"}
    ensemble |= {"version": "standard", "square_queries": QUERIES}
    spec["optimizations"] = {optimization.name: request.param for optimization in dataclasses.fields(Optimizations)}
    spec |= {"attacks": [ensemble], "seed": SEED, "models": ["-"], "derivation": None, "prompts": None}
    context = Context(inputs, {"ledger": folder / "ledger"}, folder, log=lambda _: None)
    device = torch.device("cpu")
    Evaluator(spec, context, Subject.of(spec, context.inputs, device), device).run()
    checks = read_checks(folder / "ledger")["autoattack"]
    return request.param, read_ledger(folder / "ledger")["autoattack"], checks


def test_the_ledger_equals_the_packages_own_driver_image_by_image(attacked, driver):
    optimized, outcome, _ = attacked
    assert 0.2 < outcome.correct.mean() < 0.8, "the comparison says little if all images stand or all fall"
    for start, (x, x_adv, correct, predicted) in driver.items():
        rows = slice(start, start + SHARD)
        assert outcome.correct[rows].tolist() == correct.tolist()
        if optimized:
            continue  # with settled images the adversarial point is the first one that the ensemble meets
        assert outcome.prediction[rows].tolist() == predicted.tolist()
        distance = ThreatModel.of(THREAT).distance(x_adv, x).numpy()
        np.testing.assert_array_equal(outcome.distance[rows], distance)


def test_what_the_ensemble_broke_is_inspected_like_any_other_attack(attacked):
    *_, checks = attacked
    assert set(checks) == {"over_eps", "adversarial_pixels_outside", "not_a_number", "rescored_differently"}
    assert checks["over_eps"] < 1e-6  # float32 sums of pixel and eps round
    assert checks["adversarial_pixels_outside"] == checks["not_a_number"] == checks["rescored_differently"] == 0
