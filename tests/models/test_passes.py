from __future__ import annotations

import pytest
import torch
from torch import nn

from robustft.methods.adv_ss_pretraining import Jigsaw, Rotation, Selfie
from robustft.methods.mart import Mart
from robustft.methods.trades import Trades
from robustft.methods.twins import TwinsTrades
from robustft.models.passes import check_passes, logits_by_pass
from robustft.models.two_wing_batch_norm import to_two_wings

# Two images of two pixels. Means: clean 0.2, adversarial 0.6; of the second half 0.3 and 0.9.
CLEAN = torch.tensor([[0.0, 0.2], [0.2, 0.4]], dtype=torch.float64).view(2, 1, 1, 2)
ADVERSARIAL = torch.tensor([[0.1, 0.5], [0.8, 1.0]], dtype=torch.float64).view(2, 1, 1, 2)

CLEAN_FIRST = 0.9 * 0.1 * 0.2 + 0.1 * 0.6  # 0.078: batch norm keeps 0.9 of the running mean, which starts at 0
ADVERSARIAL_FIRST = 0.9 * 0.1 * 0.6 + 0.1 * 0.2  # 0.074
CLEAN_TWICE = 0.9 * CLEAN_FIRST + 0.1 * 0.2  # 0.0902


class Normed(nn.Module):
    """One batch norm; its pixels are the logits."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(1).double()
        self.passed = 0

    def forward(self, x):
        self.passed += 1
        return self.norm(x).flatten(1)


def trained(method) -> Normed:
    model = Normed()
    method.loss(model, CLEAN, ADVERSARIAL, torch.tensor([0, 1]))
    return model


@pytest.mark.parametrize(
    ("method", "mean"),
    [
        (Trades(beta=6.0, attack_loss="kl"), CLEAN_TWICE),  # Zhang et al.'s code
        (Trades(beta=6.0, attack_loss="cross_entropy", passes=["adversarial", "clean"]), ADVERSARIAL_FIRST),  # TWINS'
        (Mart(beta=6.0), CLEAN_FIRST),
        (Rotation(clean=0.5, adversarial=0.5), ADVERSARIAL_FIRST),
        (Jigsaw(clean=0.5, adversarial=0.5, table={}, identity=0.1), ADVERSARIAL_FIRST),
        (Selfie(clean=0.5, adversarial=0.5, targets=1), CLEAN_FIRST),
        (Selfie(clean=1.0, adversarial=0.0, targets=1), 0.1 * 0.2),  # what has no weight does not pass
    ],
)
def test_running_statistics_follow_the_released_order_of_the_passes(method, mean):
    """Every objective passed clean, then adversarial images: other running means after one step."""
    assert trained(method).norm.running_mean.item() == pytest.approx(mean, abs=1e-16)


def test_the_adaptive_wing_of_twins_sees_adversarial_then_clean_images():
    method = TwinsTrades(lambda_frozen=1.0, lambda_adaptive=1.0, beta=6.0, attack_loss="kl", kl_over="wing")
    model = to_two_wings(Normed())
    method.loss(model, CLEAN, ADVERSARIAL, torch.tensor([0, 1]))
    assert model.norm.adaptive.running_mean.item() == pytest.approx(0.9 * 0.1 * 0.9 + 0.1 * 0.3, abs=1e-16)
    assert model.norm.frozen.running_mean.item() == 0.0


def test_the_order_changes_no_loss_and_no_gradient():
    found = []
    for passes in (["clean", "adversarial"], ["adversarial", "clean"], ["clean", "adversarial", "clean"]):
        model = Normed()
        total = (
            Trades(beta=6.0, attack_loss="kl", passes=passes)
            .loss(model, CLEAN, ADVERSARIAL, torch.tensor([0, 1]))
            .total
        )
        total.backward()
        found.append([total.item(), model.norm.weight.grad.item(), model.norm.bias.grad.item()])
    assert found[0] == pytest.approx(found[1], abs=1e-14)
    assert found[0] == pytest.approx(found[2], abs=1e-14)


def test_a_repeated_pass_equals_the_released_two_clean_passes_with_a_gradient():
    # Released: CE of the first clean pass, KL from the second one, both with a gradient.
    method, y = Trades(beta=6.0, attack_loss="kl"), torch.tensor([0, 1])
    ours, theirs = Normed(), Normed()
    method.loss(ours, CLEAN, ADVERSARIAL, y).total.backward()
    first, adversarial, again = theirs(CLEAN), theirs(ADVERSARIAL), theirs(CLEAN)
    kl = nn.functional.kl_div(adversarial.log_softmax(1), again.softmax(1), reduction="batchmean")
    (nn.functional.cross_entropy(first, y) + 6 * kl).backward()
    for one, other in zip(ours.norm.parameters(), theirs.norm.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad, rtol=0, atol=1e-12)
    for one, other in zip(ours.norm.buffers(), theirs.norm.buffers(), strict=True):
        assert torch.equal(one, other)


def test_a_network_without_running_statistics_is_spared_the_repeated_pass():
    passes = ["clean", "adversarial", "clean"]
    model = Normed()
    logits_by_pass(model, passes, x=CLEAN, x_adv=ADVERSARIAL)
    assert model.passed == 3
    model.eval()
    logits_by_pass(model, passes, x=CLEAN, x_adv=ADVERSARIAL)
    assert model.passed == 3 + 2


@pytest.mark.parametrize("passes", [["clean"], [], ["clean", "adversarial", "noisy"]])
def test_passes_that_leave_images_out_are_refused(passes):
    with pytest.raises(ValueError, match="'clean' and 'adversarial', and no other"):
        check_passes(passes)
