"""The evaluated model: made of several checkpoints, or moved to other classes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from robustft.evaluate.target import evaluated_model
from robustft.models.checkpoint import save_checkpoint
from robustft.models.classifier import build_classifier


def biases(models, *, order):
    """A derivation: the first model, which lists the biases of all."""
    assert len(models) == len(order)
    first = models[0]
    first.biases = [model.head.bias[0].item() for model in models]
    return first


@pytest.mark.parametrize("count", [2, 3, 11])
def test_a_derivation_gets_the_models_in_the_order_of_their_numbers(count, numbered):
    """Sorted as texts, the tenth would come before the second."""
    derivation = {"implementation": f"{__name__}:biases", "parameters": {"order": [0] * count}}
    paths = dict(sorted(numbered(count).items()))
    model, classes = evaluated_model({"derivation": derivation}, {"data": Path("-"), **paths}, prompts=None)
    assert model.biases == [float(n) for n in range(1, count + 1)]
    assert classes == 5


class Reading(torch.nn.Linear):
    """A head that reads texts: the logit of a text is a learned direction's, times the number of its letters."""

    transfers = True

    def __init__(self, in_features, *, classes, prompts):
        super().__init__(in_features, 1)
        self.lengths = torch.tensor([float(len(text)) for text in prompts])
        self.scale = torch.nn.Parameter(torch.ones(()))

    def forward(self, features):
        return self.scale * super().forward(features) * self.lengths

    def retargeted(self, reader):
        """Keep the own scale, and take the weights of the reader."""
        head = Reading(self.in_features, classes=0, prompts=[])
        head.load_state_dict({**reader.state_dict(), "scale": self.scale.detach()})
        head.lengths = reader.lengths
        return head


def test_on_other_classes_the_original_reads_the_texts_and_the_run_keeps_its_backbone_and_scale(
    tmp_path, tiny_backbone
):
    backbone = {**tiny_backbone, "head": {"implementation": f"{__name__}:Reading"}}
    paths = {"checkpoint": tmp_path / "run", "texts": tmp_path / "original"}
    models = []
    for seed, path in enumerate(paths.values()):
        torch.manual_seed(seed)
        model = build_classifier(backbone, shape=[1, 8, 8], classes=2, prompts=["ab", "c"])
        model.head.scale.data.fill_(10.0 + seed)
        about = {"backbone": backbone, "shape": [1, 8, 8], "classes": 2, "prompts": ["ab", "c"]}
        save_checkpoint(path, model, about=about)
        models.append(model.eval())
    run, original = models
    moved, classes = evaluated_model({"derivation": None}, paths, prompts=["x", "yy", "zzzz"])
    x = torch.rand(4, 1, 8, 8)
    with torch.no_grad():
        direction = run.features(x) @ original.head.weight.T + original.head.bias
        torch.testing.assert_close(moved.eval()(x), 10.0 * direction * torch.tensor([1.0, 2.0, 4.0]))
    assert classes == 3
    own, classes = evaluated_model({"derivation": None}, paths, prompts=None)
    assert classes == 2
    with torch.no_grad():
        assert torch.equal(own.eval()(x), run(x))
