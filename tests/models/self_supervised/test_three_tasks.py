"""One network for three self-supervised tasks: its size, its names, and that each task sees its own input."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from robustft.attacks.objectives import cross_entropy
from robustft.models.classifier import Classifier, build_classifier
from robustft.models.self_supervised.pretext import permutations
from robustft.models.self_supervised.three_tasks import EnsembleHeads

from .test_pretext import TABLE, TINY
from .test_selfie import FULL, SMALL


def three_tasks() -> Classifier:
    torch.manual_seed(0)
    return EnsembleHeads(**SMALL, table=TABLE).prepare(build_classifier(TINY, shape=[1, 8, 8], classes=5)).eval()


def test_the_parameters_are_those_of_the_released_network_and_the_stem_it_forgot():
    # Fact sheet, section 2: 38,530,659 and Selfie's head; the released trunk lacks the stem's batch norm (B3), 2 x 64.
    backbone = {
        "implementation": "robustft.models.backbones.resnet_v2:ResNetV2",
        "parameters": {"width": 64, "blocks": [3, 4, 6, 3], "block": "bottleneck"},
        "normalisation": {"mean": [0.0] * 3, "std": [1.0] * 3},
    }
    with torch.device("meta"):
        model = EnsembleHeads(**FULL, table=TABLE).prepare(build_classifier(backbone, shape=[3, 32, 32], classes=10))
    assert sum(p.numel() for p in model.parameters()) == 38_530_659 + 2 * 64 + 109_207_552


def test_the_trunk_has_the_name_and_shape_that_fine_tuning_loads():
    # In the released code the names differ, so that nothing loads (B3).
    ours = {name: value.shape for name, value in three_tasks().state_dict().items() if ".trunk." in name}
    plain = build_classifier(TINY, shape=[1, 8, 8], classes=5).state_dict()
    assert ours == {name: value.shape for name, value in plain.items() if name.startswith("backbone.trunk.")}


def test_each_task_sees_its_own_input_and_logits_are_padded():
    model, x = three_tasks(), torch.rand(3, 3, 1, 8, 8)
    logits = model(x)
    assert logits.shape == (3, 31, 6)  # four cells, one permutation, one angle
    choices = logits.isfinite().sum(dim=1)
    assert choices.tolist() == [[4, 4, 4, 4, 31, 4]] * 3
    for task, columns in enumerate([[0, 1, 2, 3], [4], [5]]):
        other = x.clone()
        other[:, task] = torch.rand(3, 1, 8, 8)
        changed = (model(other) != logits).any(dim=1).any(dim=0).nonzero().flatten().tolist()
        assert changed == columns


def test_padding_changes_neither_loss_nor_gradient():
    model, x = three_tasks().double(), torch.rand(2, 3, 1, 8, 8, dtype=torch.float64)
    patches, _, rotated = model.backbone(model.normalise(x))
    y = torch.tensor([[0, 1, 2, 3, 30, 3], [0, 1, 2, 3, 0, 1]])
    angle = model.head.rotation(rotated)
    torch.testing.assert_close(cross_entropy(model(x), y)[:, 5], F.cross_entropy(angle, y[:, 5], reduction="none"))
    torch.testing.assert_close(
        cross_entropy(model(x), y)[:, :4],
        F.cross_entropy(model.head.selfie(patches), y[:, :4], reduction="none"),
    )
    (gradient,) = torch.autograd.grad(cross_entropy(model(x.requires_grad_()), y).sum(), x)
    assert gradient.isfinite().all()
    assert gradient.flatten(2).abs().amax(dim=2).min() > 0


def test_jigsaw_and_rotation_have_a_fourth_stage_each():
    model = three_tasks()
    jigsaw, rotation = (dict(stage.named_parameters()) for stage in (model.backbone.jigsaw, model.backbone.rotation))
    assert jigsaw.keys() == rotation.keys()
    assert all(jigsaw[name].data_ptr() != rotation[name].data_ptr() for name in jigsaw)
    assert not torch.equal(jigsaw["0.convolutions.0.weight"], rotation["0.convolutions.0.weight"])  # drawn again
    assert torch.equal(model.head.jigsaw.permutations, permutations(TABLE))
