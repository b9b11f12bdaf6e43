from __future__ import annotations

import pytest
import torch
from torch import nn

from robustft.data.batches import Images
from robustft.methods.protocol import Method
from robustft.methods.standard import Standard
from robustft.train.monitor import Monitor

FGSM = {"objective": "cross_entropy", "steps": 1, "step_over_eps": "1", "start": "none"}
THREAT = {"norm": "linf", "eps": "1/10"}


class Threshold(nn.Module):
    """One pixel v -> logits (1/2 - v, v - 1/2): white is class 1. An attack moves v by eps to the wrong side."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[int] = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls.append(len(x))
        v = x.flatten(1)
        return torch.cat([0.5 - v, v - 0.5], dim=1)


def greys(values: list[int], labels: list[int]) -> Images:
    """Images of one pixel, in hundredths."""
    return Images(torch.tensor(values, dtype=torch.uint8).view(-1, 1, 1, 1), torch.tensor(labels), 100)


SPLITS = {
    # Far on the right side; near it (falls at eps 0.1), near it; on the wrong side.
    "validation": greys([10, 45, 55, 90, 80], [0, 0, 1, 1, 0]),
    "test": greys([45, 90], [0, 1]),
}


def monitor(
    *,
    images: int = 100,
    attack: dict | None = None,
    splits: dict[str, Images] | None = None,
    method: Method | None = None,
    seed: int = 0,
) -> Monitor:
    spec = {"attack": attack or FGSM, "images": images, "every_epochs": 1}
    return Monitor(spec, threat=THREAT, splits=splits or SPLITS, seed=seed, method=method)


def test_clean_and_robust_accuracy_by_hand():
    # validation: 10, 45, 55, 90 right and 80 wrong: 4/5. Attacked: 45 -> 55 and 55 -> 45 fall: 2/5.
    # test: both right; 45 falls: 1/2.
    assert monitor().measure(Threshold()) == {
        "clean_validation": 4 / 5,
        "robust_validation": 2 / 5,
        "clean_test": 1.0,
        "robust_test": 1 / 2,
    }


def test_only_the_first_images_of_each_split_are_watched():
    # Of 10, 45, 55 all are right and only 10 holds; the test split has fewer than three.
    found = monitor(images=3).measure(Threshold())
    assert found["clean_validation"] == 1.0
    assert found["robust_validation"] == 1 / 3
    assert found["robust_test"] == 1 / 2


@pytest.mark.parametrize("batch_size", [1, 2, 3, 100])
def test_the_size_of_the_batches_does_not_matter(batch_size):
    model = Threshold()
    assert monitor().measure(model, batch_size=batch_size) == monitor().measure(Threshold())
    assert max(model.calls) <= batch_size


def test_the_configured_objective_is_attacked():
    # One step of the margin falls where one of cross-entropy does; an unknown name is an error, not a default.
    assert monitor(attack={**FGSM, "objective": "margin"}).measure(Threshold())["robust_validation"] == 2 / 5
    with pytest.raises(KeyError):
        monitor(attack={**FGSM, "objective": "entropy"}).measure(Threshold())


def test_watching_leaves_no_trace_on_the_model(tiny_model):
    model = tiny_model(lived=True).train()
    model.backbone.stages[0].eval()
    modes = [module.training for module in model.modules()]
    state = {name: value.clone() for name, value in model.state_dict().items()}
    pixels = torch.randint(0, 17, (6, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    monitor(splits={"test": Images(pixels, torch.arange(6) % 5, 16)}).measure(model)
    assert [module.training for module in model.modules()] == modes
    assert all(torch.equal(state[name], value) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_measuring_twice_gives_the_same_also_with_a_random_start(tiny_model):
    pixels = torch.randint(0, 17, (40, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    watch = monitor(attack={**FGSM, "start": "uniform"}, splits={"test": Images(pixels, torch.arange(40) % 5, 16)})
    model = tiny_model(lived=True)
    first = watch.measure(model)
    torch.rand(3)
    assert watch.measure(model) == first


class Inverting(Standard):
    """A pretext: all images are inverted, and the target is the other class."""

    def pretext(self, x, y, *, generator):
        return 1 - x, 1 - y


def test_a_methods_pretext_is_watched_in_the_place_of_the_labels():
    # Inverted images with inverted labels are as right or wrong, and as near to the edge, as the plain ones.
    assert monitor(method=Inverting()).measure(Threshold()) == monitor().measure(Threshold())

    class Lying(Standard):
        def pretext(self, x, y, *, generator):
            return x, 1 - y

    found = monitor(method=Lying()).measure(Threshold())
    assert (found["clean_validation"], found["clean_test"]) == (1 / 5, 0.0)


class Guessing(Standard):
    """A pretext whose targets are drawn."""

    def pretext(self, x, y, *, generator):
        return x, torch.randint(0, 2, y.shape, generator=generator)


def test_what_a_pretext_draws_is_drawn_once_and_is_a_function_of_the_seed():
    many = {"test": greys(list(range(0, 100, 2)), [0] * 50)}

    def targets(seed: int) -> list[int]:
        torch.rand(3)  # the global generator does not count
        return monitor(method=Guessing(), splits=many, seed=seed)._y.tolist()

    assert targets(0) == targets(0)
    assert targets(0) != targets(1)
    watch = monitor(method=Guessing(), splits=many)
    assert watch.measure(Threshold()) == watch.measure(Threshold())


class ThreeQuestions(nn.Module):
    """One pixel v -> logits (n, 2, 3) of three questions: is it brighter than 1/4, than 1/2, than 3/4?"""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        v = x.flatten(1) - torch.tensor([0.25, 0.5, 0.75])
        return torch.stack([-v, v], dim=1)


class Asking(Standard):
    """A pretext with a target for each question; of an image of class 1 they are those of an image 1/2 darker."""

    def pretext(self, x, y, *, generator):
        return x, (x.flatten(1) - y[:, None] / 2 > torch.tensor([0.25, 0.5, 0.75])).long()


def test_of_several_targets_an_image_counts_by_the_share_that_is_right():
    # .10 is told (0,0,0) and .45 (1,0,0), all right; .55 of class 1 is told (0,0,0) but is (1,1,0): one right of three.
    splits = {"validation": greys([10, 45, 55], [0, 0, 1]), "test": greys([10], [0])}
    found = monitor(method=Asking(), splits=splits).measure(ThreeQuestions())
    assert found["clean_validation"] == pytest.approx((1 + 1 + 1 / 3) / 3)
    assert found["clean_test"] == 1.0
    # All three go up by 0.1, since the slopes 2 sigmoid(.) of the thresholds that are not passed prevail (for .45:
    # -0.8 + 0.95 + 0.7): .20 is still right, .55 is (1,1,0) instead of (1,0,0), .65 is (1,1,0) as before.
    assert found["robust_validation"] == pytest.approx((1 + 2 / 3 + 1 / 3) / 3)
    assert found["robust_test"] == 1.0


class Stepping(Standard):
    """Fails if a step of training begins."""

    def on_step_start(self, model, *, generator):
        raise AssertionError("a step of training began")


def test_no_step_of_training_begins_in_the_monitor():
    assert monitor(method=Stepping()).measure(Threshold()) == monitor().measure(Threshold())
