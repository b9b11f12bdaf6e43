from __future__ import annotations

import pytest
import torch
from torch import nn

from pipeline.train.batches import Images
from pipeline.train.monitor import Monitor

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


def monitor(*, images: int = 100, attack: dict | None = None, splits: dict[str, Images] | None = None) -> Monitor:
    spec = {"attack": attack or FGSM, "images": images, "every_epochs": 1}
    return Monitor(spec, threat=THREAT, splits=splits or SPLITS, seed=0)


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
