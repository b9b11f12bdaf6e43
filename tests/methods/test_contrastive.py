from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from robustft.attacks.inner_maximization import maximise_cross_entropy
from robustft.errors import ConfigError
from robustft.methods.contrastive import Contrastive, contrast
from tests.models.toy_clip import toy_clip

from .cases import BUDGET, Logits, MethodCase, Reduction, logits, seeded

LN2, LN3 = math.log(2), math.log(3)


def written_out(images, y):
    """The symmetric loss pair by pair, every other image a negative."""
    pairs = images[:, y]
    own = torch.arange(len(y))
    return (F.cross_entropy(pairs, own) + F.cross_entropy(pairs.T, own)) / 2


class TestContrastiveCase(MethodCase):
    method = Contrastive(adversarial=True, duplicates="negatives")
    falls_to = 0.97  # images of one class are each other's negatives: the loss stays above zero

    def reductions(self):
        def ours(model, x, x_adv, y):
            return written_out(model(x_adv), y)

        return [Reduction("it is the symmetric cross-entropy itself", self.method, ours)]


class TestContrastiveCleanCase(TestContrastiveCase):
    method = Contrastive(adversarial=False, duplicates="negatives")
    attacks_images = False

    def reductions(self):
        def ours(model, x, x_adv, y):
            return written_out(model(x), y)

        return [Reduction("it is the symmetric cross-entropy on clean images", self.method, ours)]


class TestContrastiveMaskedCase(TestContrastiveCase):
    method = Contrastive(adversarial=True, duplicates="masked")
    falls_to = 0.95

    def reductions(self):
        def one_of_each(model, x, x_adv, y):
            # Without a negative that shares its class, an image is contrasted with the texts of the others.
            images, total = model(x_adv), 0.0
            for i in range(len(y)):
                kept = [j for j in range(len(y)) if j == i or y[j] != y[i]]
                text = F.cross_entropy(images[i, y[kept]][None], torch.tensor([kept.index(i)]))
                image = F.cross_entropy(images[kept, y[i]][None], torch.tensor([kept.index(i)]))
                total = total + (text + image) / 2
            return total / len(y)

        return [Reduction("pair by pair, images of the same class left out", self.method, one_of_each)]


def test_loss_by_hand():
    # Logits of two images on two classes: (ln 3, 0) with label 0 and (0, 0) with label 1.
    # Rows: image 1 finds its text with 3/4, image 2 with 1/2. Columns: text 0 finds image 1 with 3/4, text 1 image 2
    # with 1/2. So (ln 4/3 + ln 2) / 2 both ways.
    loss = Contrastive(adversarial=False, duplicates="negatives").loss(
        Logits(), logits([LN3, 0.0], [0.0, 0.0]), logits([9.0, 9.0], [9.0, 9.0]), torch.tensor([0, 1])
    )
    assert {name: term.item() for name, term in loss.terms.items()} == {
        "contrast": pytest.approx((math.log(4 / 3) + LN2) / 2, abs=1e-15)
    }


def test_rows_and_columns_by_hand():
    # Logits (ln 3, 0) and (0, 0), both of label order (0, 1): rows give 3/4 and 1/2; columns e^ln3/(e^ln3 + 1) = 3/4
    # and 1/2. With (ln 3, ln 2) and (0, 0): rows 3/5, 1/2; columns 3/4, 1/3.
    images = torch.tensor([[LN3, LN2], [0.0, 0.0]], dtype=torch.float64)
    each = contrast(images, torch.tensor([0, 1]), duplicates="negatives")
    assert each.tolist() == pytest.approx([(math.log(5 / 3) + math.log(4 / 3)) / 2, (LN2 + math.log(3)) / 2], abs=1e-15)


def test_duplicates_by_hand():
    # Three images, labels (0, 0, 1), all logits 0. As negatives: 1/3 each way. Masked: images 1 and 2 have one rival.
    images, y = torch.zeros(3, 2, dtype=torch.float64), torch.tensor([0, 0, 1])
    assert contrast(images, y, duplicates="negatives").tolist() == pytest.approx([LN3] * 3, abs=1e-15)
    assert contrast(images, y, duplicates="masked").tolist() == pytest.approx([LN2, LN2, LN3], abs=1e-15)


def test_masked_duplicates_can_be_learnt_to_zero_and_negatives_cannot():
    y = torch.tensor([0, 0, 1])
    sure = 100 * F.one_hot(y, 2).double()
    assert contrast(sure, y, duplicates="masked").max().item() == pytest.approx(0.0, abs=1e-12)
    assert contrast(sure, y, duplicates="negatives")[:2].tolist() == pytest.approx([LN2, LN2], abs=1e-12)


def test_a_batch_of_one_class_has_finite_gradients():
    images = torch.zeros(3, 2, dtype=torch.float64, requires_grad=True)
    contrast(images, torch.tensor([1, 1, 1]), duplicates="masked").mean().backward()
    assert images.grad.tolist() == [[0.0, 0.0]] * 3


def test_pre_training_reaches_image_tower_text_tower_and_scale():
    model = toy_clip().train()
    x, y = torch.rand(5, 1, 8, 8, generator=seeded(), dtype=torch.float64), torch.arange(5)
    Contrastive(adversarial=False, duplicates="masked").loss(model, x, x, y).total.backward()
    unread = {name for name, parameter in model.named_parameters() if not parameter.grad.any()}
    assert unread == set()


def test_adversarial_images_maximise_the_cross_entropy_over_all_prompts(tiny_model, random_batch):
    x, y = random_batch(6)
    model = tiny_model(lived=True)
    adversarial = Contrastive(adversarial=True, duplicates="negatives").attack(
        model, x, y, budget=BUDGET, generator=seeded(4)
    )
    assert torch.equal(adversarial, maximise_cross_entropy(model, x, y, budget=BUDGET, generator=seeded(4)))


def test_an_unknown_word_is_an_error():
    with pytest.raises(ConfigError, match="duplicates"):
        Contrastive(adversarial=True, duplicates="ignored")
