from __future__ import annotations

import contextlib
import copy
import dataclasses
import math
from collections.abc import Iterator
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from robustft.attacks.objectives import cross_entropy
from robustft.attacks.pgd import Budget, pgd
from robustft.attacks.threat import ThreatModel
from robustft.cost.passes import Passes, method_passes
from robustft.errors import IntegrityError
from robustft.methods.adv_ss_pretraining import (
    TEST_SPLIT_SEED,
    EnsemblePretraining,
    Jigsaw,
    Rotation,
    Selfie,
    gradient_diversity,
)
from robustft.methods.adversarial_training import AdversarialTraining
from robustft.methods.protocol import Loss, Method
from robustft.methods.standard import Standard
from robustft.models.checkpoint import load_classifier, load_strict, read_checkpoint, save_checkpoint
from robustft.models.classifier import Classifier, build_classifier
from robustft.models.self_supervised.pretext import (
    JigsawHead,
    RotationHead,
    cut,
    draw_permutations,
    permutations,
    sha256_of,
)
from robustft.models.self_supervised.selfie import AttentionPooling, PatchEncoder, SelfieHead
from robustft.models.self_supervised.three_tasks import EnsembleHeads
from robustft.models.tunings.protocol import Tuning
from tests.train import toy

from .cases import BUDGET, Logits, MethodCase, Reduction, logits, seeded

LN3 = math.log(3)
TABLE = {"grid": [2, 2], "count": 5, "seed": 0, "sha256": sha256_of(draw_permutations(4, 5, 0))}
SELFIE = {"grid": [4, 4], "targets": 4, "layers": 1, "heads": 2, "feedforward": 16, "dropout": 0.0}
HALVES = {"clean": 0.5, "adversarial": 0.5}
BACKBONE = {
    "name": "tiny",
    "implementation": "robustft.models.backbones.resnet_v2:ResNetV2",
    "parameters": {"width": 4, "blocks": [1, 1, 1, 1], "block": "basic"},
    "normalisation": {"mean": [0.3], "std": [0.4]},
}


def ensemble(*, diversity: float = 0.1, attack_diversity: float = 0.1) -> EnsemblePretraining:
    weights = {**HALVES, "diversity": diversity, "attack_diversity": attack_diversity}
    return EnsemblePretraining(**weights, targets=4, table=TABLE, identity=0.1)


def network(tuning: Tuning, *, seed: int = 0, lived: bool = True, dtype: torch.dtype = torch.float64) -> Classifier:
    """A small ResNet-v2 with a task's heads and, if wished, the statistics of one that has been trained."""
    torch.manual_seed(seed)
    model = tuning.prepare(build_classifier(BACKBONE, shape=[1, 8, 8], classes=5))
    for layer in model.modules():
        if lived and isinstance(layer, nn.BatchNorm2d):
            nn.init.normal_(layer.running_mean, 0, 0.3)
            nn.init.uniform_(layer.running_var, 0.5, 2.0)
            nn.init.uniform_(layer.weight, 0.5, 1.5)
            nn.init.normal_(layer.bias, 0, 0.3)
    return model.to(dtype)


class PretextCase(MethodCase):
    """The case of a method that states its own task: its heads, and its inputs and targets instead of the labels."""

    tuning: Tuning

    @pytest.fixture
    def tiny_model(self):
        return lambda **settings: network(self.tuning, **{"lived": False, **settings})

    @pytest.fixture
    def random_batch(self, random_batch):
        def make(n: int, **settings) -> tuple[Tensor, Tensor]:
            return self.method.pretext(*random_batch(n, **settings), generator=seeded(3))

        return make

    @pytest.fixture
    def class_patterns(self, class_patterns):
        def make(n: int, **settings) -> tuple[Tensor, Tensor]:
            return self.method.pretext(*class_patterns(n, **settings), generator=seeded(3))

        return make


class SingleTaskCase(PretextCase):
    """Rotation and Jigsaw are classification once their pretext is made; Selfie has several targets."""

    def like(self, **weights: float) -> Method:
        return type(self.method)(**{**vars(self.method), **weights})

    def reductions(self):
        return [
            Reduction(
                "standard training on the task, with weights 1 and 0",
                self.like(clean=1.0, adversarial=0.0),
                lambda model, x, x_adv, y: Standard().loss(model, x, x_adv, y).total,
            ),
            Reduction(
                "adversarial training on the task, with weights 0 and 1",
                self.like(clean=0.0, adversarial=1.0),
                lambda model, x, x_adv, y: AdversarialTraining().loss(model, x, x_adv, y).total,
            ),
        ]


class TestRotationCase(SingleTaskCase):
    method = Rotation(**HALVES)
    tuning = RotationHead()


class TestJigsawCase(SingleTaskCase):
    method = Jigsaw(**HALVES, table=TABLE, identity=0.1)
    tuning = JigsawHead(table=TABLE)
    lr = 0.2


class TestStandardPretrainingCase(SingleTaskCase):
    method = Rotation(clean=1.0, adversarial=0.0)
    tuning = RotationHead()
    attacks_images = False


@contextlib.contextmanager
def with_the_split_of_test_time(head: AttentionPooling) -> Iterator[None]:
    before = head.targets
    head.draw(seeded(TEST_SPLIT_SEED))
    yield
    head.targets = before


class TestSelfieCase(PretextCase):
    method = Selfie(**HALVES, targets=4)
    tuning = SelfieHead(**SELFIE)

    def at_test_time(self, model: Classifier):
        return with_the_split_of_test_time(model.head)

    def reductions(self):
        def summed(model: Classifier, x: Tensor, y: Tensor) -> Tensor:
            return F.cross_entropy(model(x), y, reduction="sum") / len(x)

        return [
            Reduction(
                "standard pre-training, with weights 1 and 0",
                Selfie(clean=1.0, adversarial=0.0, targets=4),
                lambda model, x, x_adv, y: summed(model, x, y),
            ),
            Reduction(
                "adversarial images alone, with weights 0 and 1",
                Selfie(clean=0.0, adversarial=1.0, targets=4),
                lambda model, x, x_adv, y: summed(model, x_adv, y),
            ),
        ]


def parts(model: Classifier) -> dict[str, Classifier]:
    """The three networks that share the trunk of ensemble pre-training."""
    body, head = model.backbone, model.head

    def images(stage: nn.Module) -> nn.Module:
        return nn.Sequential(body.trunk, stage, nn.AdaptiveAvgPool2d(1), nn.Flatten())

    return {
        "selfie": Classifier(model.normalise, PatchEncoder(body.trunk, body.grid), head.selfie),
        "jigsaw": Classifier(model.normalise, images(body.jigsaw), head.jigsaw),
        "rotation": Classifier(model.normalise, images(body.rotation), head.rotation),
    }


def three_tasks(model: Classifier, x: Tensor, x_adv: Tensor, y: Tensor) -> Tensor:
    """The mean of the single tasks' losses, each computed by its own method."""
    methods = {
        "selfie": (Selfie(**HALVES, targets=4), y[:, :4]),
        "jigsaw": (Jigsaw(**HALVES, table=TABLE, identity=0.1), y[:, 4]),
        "rotation": (Rotation(**HALVES), y[:, 5]),
    }
    found = [
        methods[task][0].loss(network, x[:, number], x_adv[:, number], methods[task][1]).total
        for number, (task, network) in enumerate(parts(model).items())
    ]
    return torch.stack(found).mean()


class TestEnsembleCase(PretextCase):
    method = ensemble()
    tuning = EnsembleHeads(**SELFIE, table=TABLE)

    def at_test_time(self, model: Classifier):
        return with_the_split_of_test_time(model.head.selfie)

    def stated_cost(self) -> Passes:
        # Differentiating twice is more work in a pass, not another pass.
        plain = dataclasses.asdict(ensemble(diversity=0.0, attack_diversity=0.0))
        return method_passes("robustft.methods.adv_ss_pretraining:EnsemblePretraining", plain, BUDGET.steps)

    def reductions(self):
        return [Reduction("the mean of the three tasks, without diversity", ensemble(diversity=0.0), three_tasks)]

    @pytest.mark.parametrize("norm", ["linf", "l2"])
    def test_adversarial_images_are_images_in_the_ball(self, norm, prepared, batch):
        # Each of an image's three inputs has a ball of its own.
        x, _, y = batch
        threat = ThreatModel(norm, BUDGET.threat.eps)
        budget = Budget(threat, 3, BUDGET.step_over_eps)
        x_adv = self.method.attack(prepared, x, y, budget=budget, generator=seeded())
        assert x_adv.shape == x.shape
        assert not x_adv.requires_grad
        distance = threat.distance(x_adv.flatten(0, 1), x.flatten(0, 1))
        assert distance.max() <= 0.1 + 1e-12
        assert (distance > 0).all()
        assert x_adv.min() >= 0
        assert x_adv.max() <= 1


# -- the tasks ---------------------------------------------------------------------------------------------------------


def test_rotations_by_hand_and_in_balance():
    # (0, 1; 2, 3) turned by 0, 90, 180 and 270 degrees to the left.
    x = torch.arange(4.0).view(1, 1, 2, 2).expand(10, -1, -1, -1)
    turned, angle = Rotation(**HALVES).pretext(x, torch.zeros(10), generator=seeded())
    by_hand = {0: [0, 1, 2, 3], 1: [1, 3, 0, 2], 2: [3, 2, 1, 0], 3: [2, 0, 3, 1]}
    for image, label in zip(turned, angle.tolist(), strict=True):
        assert image.flatten().tolist() == by_hand[label]
    assert sorted(angle.bincount(minlength=4).tolist()) == [2, 2, 3, 3]  # of ten, as equal as can be
    assert angle.tolist() != sorted(angle.tolist())


def test_jigsaw_by_hand():
    # Row p of the table: cell i shows what was in cell p[i].
    x = torch.arange(4.0).view(1, 1, 2, 2).expand(40, -1, -1, -1)
    shuffled, order = Jigsaw(**HALVES, table=TABLE, identity=0.1).pretext(x, torch.zeros(40), generator=seeded())
    table = permutations(TABLE)
    assert set(order.tolist()) == set(range(6))
    for image, label in zip(shuffled, order.tolist(), strict=True):
        assert image.flatten().tolist() == table[label].tolist()


def test_the_identity_is_forced_for_a_tenth_of_the_images():
    # 0.1 + 0.9 / 31 = 0.129 with the paper's 31 classes; here 0.1 + 0.9 / 6 = 0.25, within 5 standard deviations.
    n = 4000
    _, order = Jigsaw(**HALVES, table=TABLE, identity=0.1).pretext(
        torch.zeros(n, 1, 2, 2), torch.zeros(n), generator=seeded()
    )
    share = order.bincount(minlength=6).double() / n
    assert share[0].item() == pytest.approx(0.25, abs=5 * math.sqrt(0.25 * 0.75 / n))
    assert share[1:].tolist() == pytest.approx([0.15] * 5, abs=5 * math.sqrt(0.15 * 0.85 / n))


def test_jigsaw_only_moves_patches(random_batch):
    x, y = random_batch(5)
    shuffled, order = Jigsaw(**HALVES, table=TABLE, identity=0.0).pretext(x, y, generator=seeded())
    assert not torch.equal(shuffled, x)
    for image, moved, row in zip(x, shuffled, permutations(TABLE)[order], strict=True):
        assert torch.equal(cut(image[None], (2, 2))[:, row], cut(moved[None], (2, 2)))


def test_selfie_hides_the_cells_that_begin_draws_and_leaves_the_image_whole(random_batch):
    x, y = random_batch(3)
    method, model = Selfie(**HALVES, targets=4), network(SelfieHead(**SELFIE), dtype=torch.float32)
    same, targets = method.pretext(x, y, generator=seeded())
    assert same is x
    assert targets.tolist() == [[0, 1, 2, 3]] * 3
    method.on_step_start(model, generator=seeded(1))
    first = model.head.targets.tolist()
    method.on_step_start(model, generator=seeded(2))
    assert model.head.targets.tolist() != first
    # Context and target patches are perturbed together, under the split that was drawn.
    split = model.head.targets
    x_adv = method.attack(model, x, targets, budget=BUDGET, generator=seeded())
    assert model.head.targets is split
    moved = (cut(x_adv, (4, 4)) != cut(x, (4, 4))).flatten(2).any(dim=2)
    assert moved.all()


@pytest.mark.parametrize("method", [Rotation(**HALVES), Jigsaw(**HALVES, table=TABLE, identity=0.1)], ids=["r", "j"])
def test_equal_draws_give_equal_pretexts(method, random_batch):
    x, y = random_batch(8)
    one, other = (method.pretext(x, y, generator=seeded(5)) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))
    assert not torch.equal(one[1], method.pretext(x, y, generator=seeded(6))[1])


def test_loss_by_hand():
    # softmax(ln 3, 0) = (3/4, 1/4). Clean, labels 0 and 1: ln(4/3), ln 4; adversarial logits are equal: ln 2 each.
    x, x_adv = logits([LN3, 0.0], [LN3, 0.0]), logits([1.0, 1.0], [2.0, 2.0])
    loss = Rotation(clean=0.5, adversarial=0.25).loss(Logits(), x, x_adv, torch.tensor([0, 1]))
    assert {name: term.item() for name, term in loss.terms.items()} == {
        "clean": pytest.approx(0.5 * math.log(16 / 3) / 2, abs=1e-15),
        "adversarial": pytest.approx(0.25 * math.log(2), abs=1e-15),
    }


class TwoCells(nn.Module):
    """Pixels (n, 1, 2, 2) as logits (n, 2 choices, 2 cells)."""

    def forward(self, x: Tensor) -> Tensor:
        return x[:, 0]


def test_selfie_sums_over_the_cells_and_averages_over_images():
    # Columns are cells. Image 1: cell 0 (ln 3, 0) label 0: ln(4/3); cell 1 (0, 0): ln 2. Image 2: ln 2 twice.
    x = torch.tensor([[[[LN3, 0.0], [0.0, 0.0]]], [[[0.0, 0.0], [0.0, 0.0]]]], dtype=torch.float64)
    y = torch.tensor([[0, 1], [0, 1]])
    loss = Selfie(clean=1.0, adversarial=0.0, targets=2).loss(TwoCells(), x, x, y)
    assert loss.total.item() == pytest.approx((math.log(4 / 3) + 3 * math.log(2)) / 2, abs=1e-15)


def test_the_released_double_softmax_is_not_repeated():
    # B1: with softmax before cross-entropy one of four choices costs between ln(e + 3) - 1 = 0.744 and
    # ln(e + 3) = 1.744 whatever the logits, so neither training nor the attack can go on. Plain cross-entropy is free.
    right, wrong = 50 * torch.eye(4, dtype=torch.float64), 50 * torch.eye(4, dtype=torch.float64).roll(1, 0)
    y, least = torch.arange(4)[None], math.log(math.e + 3) - 1

    class Scores(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x[:, 0]

    def cost(scores: Tensor) -> float:
        images = scores[None, None]
        return Selfie(clean=1.0, adversarial=0.0, targets=4).loss(Scores(), images, images, y).total.item()

    assert cost(right) == pytest.approx(0, abs=1e-12)
    assert cost(wrong) == pytest.approx(4 * 50, abs=1e-12)
    doubled = F.cross_entropy(F.softmax(torch.stack([right, wrong]), dim=1), y.expand(2, -1), reduction="none")
    assert doubled.min().item() == pytest.approx(least, abs=1e-12)
    assert doubled.max().item() == pytest.approx(least + 1, abs=1e-12)


def test_standard_pretraining_attacks_nothing_and_sees_clean_images_once(random_batch):
    method, model = Rotation(clean=1.0, adversarial=0.0), network(RotationHead(), dtype=torch.float32)
    x, y = random_batch(4)
    assert method.attack(model, x, y, budget=BUDGET, generator=seeded()) is x
    before = model.backbone.trunk[0][1].num_batches_tracked.item()
    method.loss(model.train(), x, torch.full_like(x, math.nan), y % 4)
    assert model.backbone.trunk[0][1].num_batches_tracked.item() == before + 1


def test_a_loss_of_nothing_is_refused():
    with pytest.raises(ValueError, match="one of the two weights must not be 0"):
        Rotation(clean=0.0, adversarial=0.0)


@pytest.mark.parametrize("task", ["selfie", "rotation"])
def test_the_attack_is_pgd_on_the_tasks_own_loss(task, random_batch):
    cases = {
        "selfie": (Selfie(**HALVES, targets=4), SelfieHead(**SELFIE)),
        "rotation": (Rotation(**HALVES), RotationHead()),
    }
    method, model = cases[task][0], network(cases[task][1], dtype=torch.float32)
    x, y = method.pretext(*random_batch(6), generator=seeded())
    adversarial = method.attack(model.train(), x, y, budget=BUDGET, generator=seeded(4))
    model.eval()
    objective = partial(cross_entropy, y=y)
    expected = pgd(model, x, budget=BUDGET, objective=objective, start="uniform", generator=seeded(4))
    assert torch.equal(adversarial, expected)
    assert cross_entropy(model(adversarial), y).mean() > cross_entropy(model(x), y).mean()


# -- the ensemble ------------------------------------------------------------------------------------------------------


def test_diversity_by_hand():
    # Orthogonal columns: G^T G = I, so log(1 + 1e-5)^3. Parallel ones: eigenvalues 3 + 1e-5, 1e-5, 1e-5.
    orthogonal = torch.diag(torch.tensor([2.0, 0.5, 7.0], dtype=torch.float64))  # lengths must not matter
    parallel = torch.tensor([[3.0, 4.0, 0.0]], dtype=torch.float64) * torch.tensor([[1.0], [2.0], [9.0]])
    opposite = parallel * torch.tensor([[1.0], [-1.0], [1.0]])
    h = gradient_diversity(torch.stack([orthogonal, parallel, opposite]).view(3, 3, 1, 1, 3))
    assert h[0].item() == pytest.approx(3 * math.log1p(1e-5), abs=1e-14)
    expected = math.log(3 + 1e-5) + 2 * math.log(1e-5)
    assert expected == pytest.approx(-21.93, abs=0.005)  # the value in the fact sheet
    assert h[1:].tolist() == pytest.approx([expected] * 2, abs=1e-5)  # 1 + 1e-5 keeps 11 digits


def test_diversity_at_an_angle_by_hand():
    # Two unit columns at 60 degrees: G^T G = (1, 1/2; 1/2, 1), det(. + r I) = (1 + r)^2 - 1/4.
    gradients = torch.tensor([[[1.0, 0.0], [0.5, math.sqrt(3) / 2]]], dtype=torch.float64)
    assert gradient_diversity(gradients).item() == pytest.approx(math.log((1 + 1e-5) ** 2 - 0.25), abs=1e-12)


def test_the_ensemble_has_three_inputs_and_all_targets(random_batch):
    x, y = random_batch(7)
    inputs, targets = ensemble().pretext(x, y, generator=seeded())
    assert inputs.shape == (7, 3, 1, 8, 8)
    assert targets.shape == (7, 6)
    assert torch.equal(inputs[:, 0], x)
    assert targets[:, :4].tolist() == [[0, 1, 2, 3]] * 7
    assert torch.equal(
        cut(inputs[:, 1], (2, 2)), cut(x, (2, 2))[torch.arange(7)[:, None], permutations(TABLE)[targets[:, 4]]]
    )
    for image, turned, angle in zip(x, inputs[:, 2], targets[:, 5].tolist(), strict=True):
        assert torch.equal(image.rot90(angle, dims=(1, 2)), turned)


@pytest.fixture
def three(random_batch):
    method, model = ensemble(), network(EnsembleHeads(**SELFIE, table=TABLE))
    x, y = method.pretext(*random_batch(4, dtype=torch.float64), generator=seeded())
    x_adv = (x + 0.05 * torch.randn(x.shape, generator=seeded(1), dtype=x.dtype)).clamp(0, 1)
    return model, x, x_adv, y


def diversity_of(model: Classifier, x_adv: Tensor, y: Tensor) -> Tensor:
    """h of each image, from three networks that are differentiated one by one."""
    targets = {"selfie": y[:, :4], "jigsaw": y[:, 4], "rotation": y[:, 5]}
    gradients = []
    for number, (task, network) in enumerate(parts(model).items()):
        leaf = x_adv[:, number].clone().requires_grad_()
        gradients.append(torch.autograd.grad(cross_entropy(network(leaf), targets[task]).sum(), leaf)[0].flatten(1))
    g = torch.stack([F.normalize(gradient, dim=1) for gradient in gradients], dim=2)
    return torch.logdet(g.transpose(1, 2) @ g + 1e-5 * torch.eye(3, dtype=g.dtype))


@pytest.mark.parametrize("training", [True, False])
def test_the_regulariser_is_the_mean_diversity_on_adversarial_images(training, three):
    model, x, x_adv, y = three
    model.train(training)
    found = ensemble(diversity=0.1).loss(model, x, x_adv, y).terms["diversity"]
    assert found.item() == pytest.approx(0.1 * diversity_of(model, x_adv, y).mean().item(), abs=1e-9)
    opposite = ensemble(diversity=-0.1).loss(model, x, x_adv, y).terms["diversity"]
    assert opposite.item() == pytest.approx(-found.item(), abs=1e-9)
    assert "diversity" not in ensemble(diversity=0.0).loss(model, x, x_adv, y).terms


def test_the_outer_objective_is_a_sixth_of_six_losses_and_a_tenth_of_the_diversity(three):
    model, x, x_adv, y = three
    model.eval()
    networks, six = parts(model), []
    for images in (x, x_adv):
        six.append(F.cross_entropy(networks["selfie"](images[:, 0]), y[:, :4], reduction="sum") / len(x))
        six.append(F.cross_entropy(networks["jigsaw"](images[:, 1]), y[:, 4]))
        six.append(F.cross_entropy(networks["rotation"](images[:, 2]), y[:, 5]))
    expected = sum(six) / 6 + 0.1 * diversity_of(model, x_adv, y).mean()
    assert ensemble().loss(model, x, x_adv, y).total.item() == pytest.approx(expected.item(), abs=1e-9)


@pytest.mark.parametrize("training", [True, False])
def test_the_second_order_gradient_is_that_of_finite_differences(training, three):
    model, x, x_adv, y = three
    model.train(training)
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    torch.manual_seed(0)
    direction = [torch.randn_like(parameter) for parameter in parameters]

    def diversity() -> Tensor:
        return ensemble(diversity=1.0).loss(model, x, x_adv, y).terms["diversity"]

    gradients = torch.autograd.grad(diversity(), parameters, allow_unused=True, materialize_grads=True)
    slope = sum((g * d).sum() for g, d in zip(gradients, direction, strict=True)).item()
    step, values = 1e-7, []  # small, so that no ReLU changes sides
    for sign in (1, -1):
        with torch.no_grad():
            for parameter, d in zip(parameters, direction, strict=True):
                parameter.add_(sign * step * d)
        values.append(diversity().item())
        with torch.no_grad():
            for parameter, d in zip(parameters, direction, strict=True):
                parameter.sub_(sign * step * d)
    assert abs(slope) > 0.1
    assert slope == pytest.approx((values[0] - values[1]) / (2 * step), rel=1e-4)


def test_an_attack_step_follows_the_own_loss_and_a_tenth_of_the_diversity(three):
    model, x, _, y = three
    model.eval()
    budget = Budget(BUDGET.threat, 1, BUDGET.step_over_eps)
    x = 0.5 * x + 0.25  # inside [0, 1] by more than eps, so that nothing is clipped
    adversarial = ensemble(attack_diversity=0.1).attack(model, x, y, budget=budget, generator=seeded(4))
    start = x + BUDGET.threat.uniform(x.flatten(0, 1), seeded(4)).view_as(x)
    own = torch.zeros_like(x)
    targets = {"selfie": y[:, :4], "jigsaw": y[:, 4], "rotation": y[:, 5]}
    for number, (task, network) in enumerate(parts(model).items()):
        leaf = start[:, number].clone().requires_grad_()
        (own[:, number],) = torch.autograd.grad(cross_entropy(network(leaf), targets[task]).sum(), leaf)
    # The diversity's gradient by central differences, pixel by pixel of the first image; h of an image is its own.
    checked, turned = 0, 0
    for index in range(0, 3 * 64, 3):
        ahead, behind = start.clone(), start.clone()
        ahead[0].view(-1)[index] += 1e-6
        behind[0].view(-1)[index] -= 1e-6
        h = ((diversity_of(model, ahead, y) - diversity_of(model, behind, y)) / 2e-6)[0].item()
        g = own[0].view(-1)[index].item()
        wanted = g + 0.1 * h
        step = (adversarial - start)[0].view(-1)[index].item()
        if abs(wanted) > 1e-4 and abs(step) > 1e-9:
            assert math.copysign(1, step) == math.copysign(1, wanted), index
            checked, turned = checked + 1, turned + (g * wanted < 0)
    assert checked > 20
    assert turned > 0  # for some pixels the diversity decides


def test_without_its_diversity_the_attack_is_that_of_each_task_alone(three):
    model, x, _, y = three
    adversarial = ensemble(attack_diversity=0.0).attack(model, x, y, budget=BUDGET, generator=seeded(4))
    noise = BUDGET.threat.uniform(x.flatten(0, 1), seeded(4)).view_as(x)
    targets = {"selfie": y[:, :4], "jigsaw": y[:, 4], "rotation": y[:, 5]}
    model.eval()
    for number, (task, network) in enumerate(parts(model).items()):
        x_task = x[:, number]
        expected = BUDGET.threat.project(x_task + noise[:, number], x_task)
        for _ in range(BUDGET.steps):
            leaf = expected.detach().requires_grad_()
            (gradient,) = torch.autograd.grad(cross_entropy(network(leaf), targets[task]).sum(), leaf)
            expected = BUDGET.threat.project(leaf.detach() + float(BUDGET.step) * gradient.sign(), x_task)
        assert torch.equal(adversarial[:, number], expected)


def test_the_running_statistics_of_the_ensembles_trunk_follow_the_released_order_of_its_passes():
    """The passes were selfie, jigsaw, rotation on clean and then on adversarial images."""
    model = network(EnsembleHeads(**SELFIE, table=TABLE), lived=False).train()
    convolution, norm = model.backbone.trunk[0][0], model.backbone.trunk[0][1]
    x = torch.rand(6, 3, 1, 8, 8, dtype=torch.float64, generator=seeded(5))
    x_adv = torch.rand(x.shape, dtype=torch.float64, generator=seeded(6))
    y = torch.zeros(6, 6, dtype=torch.int64)
    plain, shuffled, rotated = 0, 1, 2
    released = [(x, shuffled), (x_adv, shuffled), (x_adv, rotated), (x, rotated), (x, plain), (x_adv, plain)]
    mean = norm.running_mean.clone()
    with torch.no_grad():
        for images, number in released:
            inputs = model.normalise(images[:, number])
            if number == plain:
                inputs = cut(inputs, (4, 4)).flatten(0, 1)
            mean = 0.9 * mean + 0.1 * convolution(inputs).mean(dim=(0, 2, 3))
    ensemble(diversity=0.0).loss(model, x, x_adv, y)
    torch.testing.assert_close(norm.running_mean, mean, rtol=0, atol=1e-14)
    assert norm.num_batches_tracked == 6


def test_the_passes_of_the_ensemble_may_have_another_order_but_none_may_be_left_out():
    with pytest.raises(ValueError, match="selfie_adversarial in some order"):
        dataclasses.replace(ensemble(), passes=["jigsaw_clean", "rotation_clean", "selfie_clean"])


def test_begin_draws_the_split_of_the_ensembles_selfie():
    model = network(EnsembleHeads(**SELFIE, table=TABLE))
    ensemble().on_step_start(model, generator=seeded(1))
    first = model.head.selfie.targets.tolist()
    ensemble().on_step_start(model, generator=seeded(2))
    assert model.head.selfie.targets.tolist() != first


# -- from pre-training to fine-tuning ----------------------------------------------------------------------------------


PRETRAINED = {
    "rotation": RotationHead(),
    "jigsaw": JigsawHead(table=TABLE),
    "selfie": SelfieHead(**SELFIE),
    "ensemble": EnsembleHeads(**SELFIE, table=TABLE),
}


@pytest.mark.parametrize("task", PRETRAINED)
def test_the_trunk_of_every_task_arrives_in_the_model_that_is_fine_tuned(task, tmp_path):
    # B2: the released loader ignores every key of the file and says nothing, so that pre-training has no effect.
    pretrained = network(PRETRAINED[task], dtype=torch.float32)
    save_checkpoint(tmp_path / "pretrained.safetensors", pretrained, about={})
    tensors, _ = read_checkpoint(tmp_path / "pretrained.safetensors")
    torch.manual_seed(7)
    model = build_classifier(BACKBONE, shape=[1, 8, 8], classes=5)
    before = copy.deepcopy(model.state_dict())
    load_strict(model, tensors, where=None, parts=["backbone.trunk"])
    for name, value in model.state_dict().items():
        if name.startswith("backbone.trunk."):
            assert torch.equal(value, pretrained.state_dict()[name]), name
        else:
            assert torch.equal(value, before[name]), name
    learnt = [name for name in before if name.startswith("backbone.trunk.") and name.endswith(".weight")]
    assert learnt
    assert not any(torch.equal(model.state_dict()[name], before[name]) for name in learnt)


@pytest.mark.parametrize("task", PRETRAINED)
def test_a_pretrained_checkpoint_is_built_again_with_the_heads_of_its_task(task, tmp_path):
    tuning = PRETRAINED[task]
    pretrained = network(tuning, dtype=torch.float32).eval()
    entry = {"implementation": f"{type(tuning).__module__}:{type(tuning).__qualname__}", "parameters": vars(tuning)}
    about = {"backbone": BACKBONE, "shape": [1, 8, 8], "classes": 5, "tuning": entry}
    save_checkpoint(tmp_path / "pretrained.safetensors", pretrained, about=about)
    again, _ = load_classifier(tmp_path / "pretrained.safetensors")
    x = torch.rand(2, *((3,) if task == "ensemble" else ()), 1, 8, 8)
    assert torch.equal(again.eval()(x), pretrained(x))


@pytest.mark.parametrize("wrapped", ["state_dict", "P_state", "module"])
def test_pretrained_weights_that_would_silently_not_be_loaded_are_an_error(wrapped):
    # B2: files that wrap the weights under another name match nothing; here that stops the run.
    pretrained = network(RotationHead(), dtype=torch.float32)
    tensors = {f"{wrapped}.{name}": value for name, value in pretrained.state_dict().items()}
    model = build_classifier(BACKBONE, shape=[1, 8, 8], classes=5)
    with pytest.raises(IntegrityError, match="does not fit the model"):
        load_strict(model, tensors, where=None, parts=["backbone.trunk"])


def trained(method: Method, tuning: Tuning, scratch, *, test_seed: int = 3, epochs: int = 1):
    """Train in the loop of every method; return the history, the weights and the epoch that was kept."""
    scratch.mkdir()
    torch.manual_seed(5)
    model = tuning.prepare(build_classifier(BACKBONE, shape=[1, 8, 8], classes=5))
    context = toy.context(scratch)
    trainer = toy.Trainer(
        toy.spec(backbone=BACKBONE, recipe={"selection": "best_validation", "epochs": epochs}),
        method=method,
        model=model,
        splits={**toy.splits(train=16), "test": toy.images(24, seed=test_seed)},
        context=context,
    )
    return trainer.run(), toy.content(trainer.model), context.facts["selected_epoch"]


@pytest.mark.parametrize("task", ["jigsaw", "ensemble"])
def test_the_kept_epoch_of_pretraining_is_not_chosen_on_test_images(task, tmp_path):
    # B6: the released Jigsaw script keeps the epoch that is best on the test set. Other test images, same weights.
    methods = {"jigsaw": Jigsaw(**HALVES, table=TABLE, identity=0.1), "ensemble": ensemble()}
    (one, weights, kept), (other, same, kept_again) = (
        trained(methods[task], PRETRAINED[task], tmp_path / str(seed), test_seed=seed, epochs=3) for seed in (3, 4)
    )
    assert weights == same
    scores = [(row["robust_validation"], row["clean_validation"]) for row in one]
    assert kept == kept_again == scores.index(max(scores)) + 1
    assert [row["clean_test"] for row in one] != [row["clean_test"] for row in other]


def test_selfie_trains_with_several_targets_in_the_one_loop(tmp_path):
    rows, _, _ = trained(Selfie(**HALVES, targets=4), PRETRAINED["selfie"], tmp_path / "run")
    assert 0 <= rows[0]["robust_validation"] <= rows[0]["clean_validation"] + 0.5
    assert rows[0]["loss"] == pytest.approx(rows[0]["term/clean"] + rows[0]["term/adversarial"])


def test_the_terms_are_named_by_task(three):
    model, x, x_adv, y = three
    loss = ensemble().loss(model, x, x_adv, y)
    assert isinstance(loss, Loss)
    assert list(loss.terms) == [
        *[f"{task}_{kind}" for task in ("selfie", "jigsaw", "rotation") for kind in ("clean", "adversarial")],
        "diversity",
    ]


def test_the_ensembles_score_gives_each_task_a_third_however_many_cells_selfie_has():
    """Counted cell by cell, Selfie's four would outweigh the two other tasks."""
    method = EnsemblePretraining(
        clean=0.5, adversarial=0.5, diversity=0.1, attack_diversity=0.1, targets=4, table={}, identity=0.1
    )
    right = torch.tensor([[1, 1, 1, 1, 0, 0], [0, 0, 0, 0, 1, 1], [1, 0, 0, 0, 1, 0]]).bool()
    assert method.score(right).tolist() == pytest.approx([1 / 3, 2 / 3, (0.25 + 1) / 3])
