from __future__ import annotations

import torch

from robustft.models.classifier import Classifier
from robustft.models.teacher import WithTeacher


def test_the_teacher_is_a_copy_that_never_changes(tiny_model, random_batch):
    x, _ = random_batch(6)
    model = WithTeacher(tiny_model(lived=True).train())
    before = {name: tensor.clone() for name, tensor in model.teacher.state_dict().items()}
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5, weight_decay=0.1)
    for _ in range(3):
        model.train()
        optimizer.zero_grad()
        (model(x).square().sum() + model.teacher(x).square().sum()).backward()
        optimizer.step()
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.teacher.state_dict().items())
    trained = dict(model.alone().named_parameters())
    assert not any(torch.equal(trained[name], before[name]) for name in trained)
    assert all(parameter.grad is None for parameter in model.teacher.parameters())


def test_the_teacher_stays_in_evaluation_mode(tiny_model):
    model = WithTeacher(tiny_model().train())
    assert model.training
    assert model.backbone.training
    for mode in (True, False, True):
        assert not any(module.training for module in model.train(mode).teacher.modules())
        assert model.backbone.training is mode


def test_only_the_model_itself_is_left_at_test_time(tiny_model, random_batch):
    x, _ = random_batch(3)
    plain = tiny_model(lived=True).eval()
    with_teacher = WithTeacher(plain)
    alone = with_teacher.alone()
    assert type(alone) is Classifier
    assert alone.state_dict().keys() == plain.state_dict().keys()
    assert torch.equal(alone(x), plain(x))
    assert len(with_teacher.state_dict()) == 2 * len(plain.state_dict())
