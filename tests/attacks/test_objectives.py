from __future__ import annotations

import math
import re

import pytest
import torch

from robustft.attacks.objectives import OBJECTIVES, boosted_cross_entropy, cross_entropy, kl_divergence, margin
from robustft.files import ROOT


def rows(*values: list[float]) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


LN2, LN3, LN4 = math.log(2), math.log(3), math.log(4)


def test_cross_entropy_by_hand():
    # softmax(ln 3, 0) = (3/4, 1/4); softmax(ln 2, ln 2, 0) = (2/5, 2/5, 1/5).
    two = cross_entropy(rows([LN3, 0.0], [LN3, 0.0]), torch.tensor([0, 1]))
    assert two.tolist() == pytest.approx([math.log(4 / 3), math.log(4)], abs=1e-15)
    three = cross_entropy(rows([LN2, LN2, 0.0]), torch.tensor([2]))
    assert three.tolist() == pytest.approx([math.log(5)], abs=1e-15)


def test_margin_by_hand():
    # Largest wrong minus true: 2 - 5 = -3 (correct), 5 - 2 = 3 (wrong), with the true class last 4 - 4 = 0, and with
    # all logits far below zero -50 + 40 = -10.
    logits = rows([5.0, 2.0, -1.0], [5.0, 2.0, -1.0], [4.0, -7.0, 4.0], [-40.0, -60.0, -50.0])
    assert margin(logits, torch.tensor([0, 1, 2, 0])).tolist() == [-3.0, 3.0, 0.0, -10.0]


def test_margin_is_the_linf_form_of_cw_without_a_floor():
    # A confident wrong answer keeps growing; f_6 with its floor would stop at kappa.
    assert margin(rows([100.0, -100.0]), torch.tensor([1])).item() == 200.0


def test_margin_gradient_touches_only_the_two_logits_compared():
    logits = rows([5.0, 2.0, -1.0]).requires_grad_()
    margin(logits, torch.tensor([0])).sum().backward()
    assert logits.grad.tolist() == [[-1.0, 1.0, 0.0]]


def test_boosted_cross_entropy_by_hand():
    # softmax(ln 4, 0) = (4/5, 1/5): label 1, -ln(1/5) - ln(1 - 4/5) = 2 ln 5; label 0, -ln(4/5) - ln(1 - 1/5).
    two = boosted_cross_entropy(rows([LN4, 0.0], [LN4, 0.0]), torch.tensor([1, 0]))
    assert two.tolist() == pytest.approx([2 * math.log(5), 2 * math.log(5 / 4)], abs=1e-15)
    # softmax(ln 2, ln 2, 0) = (2/5, 2/5, 1/5), label 2: -ln(1/5) - ln(1 - 2/5) = ln(25/3), either rival.
    three = boosted_cross_entropy(rows([LN2, LN2, 0.0]), torch.tensor([2]))
    assert three.tolist() == pytest.approx([math.log(25 / 3)], abs=1e-15)


def test_boosted_cross_entropy_is_finite_where_the_rival_has_all_the_probability():
    # p = (1, e^-2000): -ln p_1 = 2000, and 1 - p_0 = p_1 once more.
    assert boosted_cross_entropy(rows([1000.0, -1000.0]), torch.tensor([1])).item() == pytest.approx(4000.0)


def test_gradient_of_boosted_cross_entropy_by_hand():
    # softmax(ln 3, ln 2, 0) = (1/2, 1/3, 1/6), label 0, rival 1. Of -ln p_0: (-1/2, 1/3, 1/6). Of -ln(p_0 + p_2):
    # p_i - p_i / (2/3) inside the sum, p_i outside: (1/2 - 3/4, 1/3, 1/6 - 1/4).
    logits = rows([LN3, LN2, 0.0]).requires_grad_()
    boosted_cross_entropy(logits, torch.tensor([0])).sum().backward()
    assert logits.grad.flatten().tolist() == pytest.approx([-3 / 4, 2 / 3, 1 / 12], abs=1e-15)


def test_kl_divergence_by_hand_and_in_the_stated_direction():
    # p = softmax(0, 0) = (1/2, 1/2), q = softmax(ln 4, 0) = (4/5, 1/5).
    # KL(p||q) = 1/2 ln(5/8) + 1/2 ln(5/2) = 1/2 ln(25/16) = ln(5/4) = 0.2231...
    # KL(q||p) = 4/5 ln(8/5) + 1/5 ln(2/5) = 0.1927...
    p, q = rows([0.0, 0.0]), rows([LN4, 0.0])
    assert kl_divergence(p, q).item() == pytest.approx(math.log(5 / 4), abs=1e-15)
    backwards = 4 / 5 * math.log(8 / 5) + 1 / 5 * math.log(2 / 5)
    assert kl_divergence(q, p).item() == pytest.approx(backwards, abs=1e-15)


def test_kl_divergence_is_zero_for_equal_logits_and_for_shifted_ones():
    logits = rows([1.0, -2.0, 0.5], [0.0, 0.0, 0.0])
    assert kl_divergence(logits, logits).tolist() == [0.0, 0.0]
    assert kl_divergence(logits, logits + 7).abs().max() < 1e-15


def test_kl_divergence_survives_logits_whose_probabilities_underflow():
    # p = (1, 0) to the last bit, q = (0, 1): the log-probabilities differ by 2000 nats.
    assert kl_divergence(rows([1000.0, -1000.0]), rows([-1000.0, 1000.0])).item() == pytest.approx(2000.0)


def test_gradient_flows_through_both_sides_of_the_kl():
    # With p = (1/2, 1/2), q = (4/5, 1/5), KL = ln(5/4):
    #   d KL / d target_i = p_i (ln(p_i/q_i) - KL): 1/2 (ln(5/8) - ln(5/4)) = -1/2 ln 2, and +1/2 ln 2;
    #   d KL / d logit_i = q_i - p_i: 3/10, -3/10.
    target, logits = rows([0.0, 0.0]).requires_grad_(), rows([LN4, 0.0]).requires_grad_()
    kl_divergence(target, logits).sum().backward()
    assert target.grad.flatten().tolist() == pytest.approx([-LN2 / 2, LN2 / 2], abs=1e-15)
    assert logits.grad.flatten().tolist() == pytest.approx([0.3, -0.3], abs=1e-15)


@pytest.mark.parametrize("objective", [*OBJECTIVES.values(), boosted_cross_entropy, "kl"])
def test_an_image_has_the_same_value_and_gradient_alone_as_in_a_batch(objective):
    draws = torch.Generator().manual_seed(0)
    logits, other = (torch.randn(6, 4, generator=draws, dtype=torch.float64) for _ in range(2))
    y = torch.tensor([0, 1, 2, 3, 0, 1])

    def value(index: slice, leaf: torch.Tensor) -> torch.Tensor:
        return kl_divergence(other[index], leaf[index]) if objective == "kl" else objective(leaf[index], y[index])

    whole = logits.clone().requires_grad_()
    together = value(slice(0, 6), whole)
    assert together.shape == (6,)
    together.sum().backward()
    for i in range(6):
        leaf = logits.clone().requires_grad_()
        alone = value(slice(i, i + 1), leaf)
        alone.sum().backward()
        assert alone.item() == together[i].item()
        assert torch.equal(leaf.grad[i], whole.grad[i])


def test_the_attack_configuration_names_only_known_objectives():
    names = set(re.findall(r"\bobjective: (\w+)", (ROOT / "config" / "attacks.yaml").read_text()))
    assert names
    assert names <= set(OBJECTIVES)
