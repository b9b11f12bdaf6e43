from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from robustft.attacks.inner_maximization import maximise_cross_entropy
from robustft.attacks.pgd import evaluating
from robustft.attacks.pmg_aft import pgd_autocast
from robustft.config.load import Config
from robustft.errors import ConfigError
from robustft.methods.adversarial_training import AdversarialTraining
from robustft.methods.pmg_aft import PmgAft
from robustft.methods.protocol import Tuned, build_method
from robustft.models.classifier import Classifier
from robustft.models.teacher import WithTeacher
from robustft.models.text_heads import FixedTextHead
from robustft.models.tunings.zero_shot import ZeroShot
from tests.models.toy_clip import toy_clip

from .cases import BUDGET, MethodCase, Reduction, logits, seeded

LN2, LN3, LN4 = math.log(2), math.log(3), math.log(4)
READ = {"general_from": "teacher", "clean_from": "clean", "kl_reduction": "mean"}
"""As AGFT reads the paper, and as the newest commit of the released code has the directions."""


def pmg_aft(alpha=1.0, beta=1.0, **changes) -> PmgAft:
    return PmgAft(alpha=alpha, beta=beta, **{**READ, **changes})


class Held(nn.Module):
    """A network whose logits are its pixels, until `answer` is set."""

    answer = None

    def forward(self, x):
        return x.flatten(1) if self.answer is None else self.answer


def with_teacher(teacher) -> WithTeacher:
    """A model whose logits are its pixels, and whose teacher answers every image with these logits."""
    model = WithTeacher(Classifier(nn.Identity(), Held(), nn.Identity()))
    model.teacher.backbone.answer = teacher
    return model


class PmgAftCase(MethodCase):
    def trains(self, name):
        return not name.startswith("_teacher.")

    def reductions(self):
        bare = {field: getattr(self.method, field) for field in READ}
        return [
            Reduction(
                "TeCoA, that is AT against class prompts, with alpha and beta 0",
                PmgAft(alpha=0.0, beta=0.0, **bare),
                lambda model, x, x_adv, y: AdversarialTraining().loss(model, x, x_adv, y).total,
            )
        ]


class TestPmgAftCase(PmgAftCase):
    method = pmg_aft()


class TestPmgAftReverseCase(PmgAftCase):
    method = pmg_aft(general_from="student", clean_from="adversarial")


class TestPmgAftReleasedCase(PmgAftCase):
    method = pmg_aft(kl_reduction="sum")
    lr = 0.01  # nine images weigh the KL terms nine times


def test_loss_by_hand():
    # Image 1, label 0: adversarial (ln 4, 0): (4/5, 1/5); clean (0, 0): (1/2, 1/2); teacher (0, ln 3): (1/4, 3/4).
    # CE = ln 5/4. KL(teacher || adversarial) = 1/4 ln 5/16 + 3/4 ln 15/4. KL(clean || adversarial) = ln 5/4.
    # Image 2, label 1: all three (0, 0): CE = ln 2, both KL 0.
    x, x_adv = logits([0.0, 0.0], [0.0, 0.0]), logits([LN4, 0.0], [0.0, 0.0])
    teacher = torch.tensor([[0.0, LN3], [0.0, 0.0]], dtype=torch.float64)
    loss = pmg_aft(alpha=2.0, beta=3.0).loss(with_teacher(teacher), x, x_adv, torch.tensor([0, 1]))
    general = math.log(5 / 16) / 4 + 3 * math.log(15 / 4) / 4
    assert {name: term.item() for name, term in loss.terms.items()} == {
        "cross_entropy": pytest.approx((math.log(5 / 4) + LN2) / 2, abs=1e-15),
        "general": pytest.approx(2 * general / 2, abs=1e-15),
        "clean": pytest.approx(3 * math.log(5 / 4) / 2, abs=1e-15),
    }


def test_other_directions_by_hand():
    # KL(adversarial || teacher) = 4/5 ln 16/5 + 1/5 ln 4/15. KL(adversarial || clean) = 4/5 ln 8/5 + 1/5 ln 2/5.
    teacher = torch.tensor([[0.0, LN3]], dtype=torch.float64)
    method = pmg_aft(general_from="student", clean_from="adversarial")
    loss = method.loss(with_teacher(teacher), logits([0.0, 0.0]), logits([LN4, 0.0]), torch.tensor([0]))
    assert loss.terms["general"].item() == pytest.approx(4 / 5 * math.log(16 / 5) + math.log(4 / 15) / 5, abs=1e-15)
    assert loss.terms["clean"].item() == pytest.approx(4 / 5 * math.log(8 / 5) + math.log(2 / 5) / 5, abs=1e-15)


def test_the_released_sum_grows_with_the_batch_and_the_cross_entropy_does_not():
    teacher = torch.tensor([[0.0, LN3]] * 3, dtype=torch.float64)
    batch = logits(*[[0.0, 0.0]] * 3), logits(*[[LN4, 0.0]] * 3), torch.zeros(3, dtype=torch.int64)
    mean = pmg_aft().loss(with_teacher(teacher), *batch).terms
    total = pmg_aft(kl_reduction="sum").loss(with_teacher(teacher), *batch).terms
    assert total["cross_entropy"].item() == mean["cross_entropy"].item()
    assert total["general"].item() == pytest.approx(3 * mean["general"].item(), abs=1e-14)
    assert total["clean"].item() == pytest.approx(3 * mean["clean"].item(), abs=1e-14)


def test_scale_by_hand():
    # Embeddings (3, 4)/5 against (1, 0) and (0, 1): cosines 3/5 and 4/5. With the scale 5 ln 3 the margin is ln 3 and
    # label 0 has probability 1/4; with the released scale 1 it is 1/5, and the probability 1 / (1 + e^(1/5)).
    for scale, probability in ((5 * LN3, 1 / 4), (1.0, 1 / (1 + math.exp(1 / 5)))):
        head = FixedTextHead(torch.eye(2, dtype=torch.float64), torch.tensor(scale, dtype=torch.float64))
        model = WithTeacher(Classifier(nn.Identity(), nn.Flatten(), head))
        x = logits([3.0, 4.0])
        loss = pmg_aft().loss(model, x, x, torch.tensor([0]))
        assert loss.terms["cross_entropy"].item() == pytest.approx(-math.log(probability), abs=1e-14)
        assert loss.terms["general"].item() == loss.terms["clean"].item() == 0.0


def test_gradients_go_through_the_clean_image_and_not_through_the_teacher():
    # d KL(p || q) / d logits of p = p (ln p/q - KL). Here p = (1/2, 1/2), q = (4/5, 1/5): (-ln 2/2, ln 2/2); beta 6.
    x, x_adv = logits([0.0, 0.0]).requires_grad_(), logits([LN4, 0.0])
    pmg_aft(beta=6.0).loss(with_teacher(None), x, x_adv, torch.tensor([0])).terms["clean"].backward()
    assert x.grad.flatten().tolist() == pytest.approx([-3 * LN2, 3 * LN2], abs=1e-14)
    # With q = P(x_a) the general term's gradient at its logits is q - P_0: the teacher is a constant.
    x_adv = logits([LN4, 0.0]).requires_grad_()
    teacher = torch.tensor([[0.0, LN3]], dtype=torch.float64)
    pmg_aft().loss(with_teacher(teacher), logits([0.0, 0.0]), x_adv, torch.tensor([0])).terms["general"].backward()
    assert x_adv.grad.flatten().tolist() == pytest.approx([4 / 5 - 1 / 4, 1 / 5 - 3 / 4], abs=1e-14)


def test_teacher_and_model_see_the_same_adversarial_image():
    seen = []
    model = with_teacher(None)
    model.teacher.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    x_adv = logits([LN4, 0.0])
    pmg_aft().loss(model, logits([0.0, 0.0]), x_adv, torch.tensor([0]))
    assert len(seen) == 1
    assert seen[0] is x_adv


def test_images_are_attacked_on_the_model_in_training_alone(tiny_model, random_batch):
    x, y = random_batch(6)
    model = pmg_aft().prepare(tiny_model(lived=True))
    with torch.no_grad():
        model.head.weight.add_(torch.randn(model.head.weight.shape, generator=seeded()))
    adversarial = pmg_aft().attack(model, x, y, budget=BUDGET, generator=seeded(4))
    assert torch.equal(adversarial, maximise_cross_entropy(model.alone(), x, y, budget=BUDGET, generator=seeded(4)))
    assert not torch.equal(adversarial, maximise_cross_entropy(model.teacher, x, y, budget=BUDGET, generator=seeded(4)))


@pytest.mark.parametrize("method", [pmg_aft(), pmg_aft(general_from="student", clean_from="adversarial")])
def test_a_step_against_prompts_trains_the_image_tower_and_leaves_the_teacher_alone(method):
    method = Tuned(method, ZeroShot())
    model = method.prepare(toy_clip()).train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    x, y = torch.rand(5, 1, 8, 8, generator=seeded(), dtype=torch.float64), torch.arange(5)
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1, weight_decay=0.1)
    for _ in range(2):
        optimizer.zero_grad()
        x_adv = method.attack(model, x, y, budget=BUDGET, generator=seeded())
        method.loss(model, x, x_adv, y).total.backward()
        optimizer.step()
    changed = {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])}
    assert changed == {f"backbone.tower.{name}" for name, _ in model.backbone.tower.named_parameters()}
    exported = method.export(model)
    assert type(exported) is Classifier
    assert {name for name in exported.state_dict() if name.startswith("head.")} == {"head.embeddings", "head.scale"}


def test_the_released_row_is_the_code_and_the_others_are_not():
    methods = Config(scale="smoke", papers=["pmg_aft"]).methods("pmg_aft")

    def built(name):
        method = build_method({"name": name, "parameters": {}, **methods[name]})
        return method.inner, method.tuning

    assert built("pmg_aft") == (pmg_aft(), ZeroShot())
    assert built("pmg_aft_reverse") == (pmg_aft(general_from="student", clean_from="adversarial"), ZeroShot())
    objective, tuning = built("pmg_aft_released")
    assert objective == pmg_aft(kl_reduction="sum")
    assert tuning.scale == 1.0
    assert tuning.normalisation == {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
    assert isinstance(built("tecoa")[0], AdversarialTraining)


@pytest.mark.parametrize("changes", [{"general_from": "me"}, {"clean_from": "dirty"}, {"kl_reduction": "max"}])
def test_an_unknown_word_is_an_error(changes):
    with pytest.raises(ConfigError, match=next(iter(changes))):
        pmg_aft(**changes)


def test_the_released_training_attack_is_the_evaluations_pgd_under_autocast(tiny_model, random_batch):
    x, y = random_batch(6)
    method = pmg_aft(kl_reduction="sum", attack_gradient="mean_float16")
    model = method.prepare(tiny_model(lived=True))
    with torch.no_grad():
        model.head.weight.mul_(1e-7)  # gradients as small as a lost logit scale makes them: none in float16
    found = method.attack(model, x, y, budget=BUDGET, generator=torch.Generator().manual_seed(3))
    with evaluating(model):
        wanted = pgd_autocast(
            model,
            x,
            y,
            threat=BUDGET.threat,
            generator=torch.Generator().manual_seed(3),
            steps=BUDGET.steps,
            step_over_eps=str(BUDGET.step_over_eps),
        )
    assert torch.equal(found, wanted)
    other = pmg_aft().attack(model, x, y, budget=BUDGET, generator=torch.Generator().manual_seed(3))
    assert not torch.equal(found, other)
