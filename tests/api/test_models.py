"""A checkpoint becomes a model that is ready to be attacked; anything else is refused by name."""

import pytest
import torch

import robustft
from robustft.models.checkpoint import save_checkpoint


def test_a_checkpoint_is_a_model_in_evaluation_mode_on_the_cpu(tmp_path, tiny_model, tiny_backbone, random_batch):
    saved, (x, _) = tiny_model(lived=True).eval(), random_batch(3)
    about = {"backbone": tiny_backbone, "shape": [1, 8, 8], "classes": 5}
    save_checkpoint(tmp_path / "checkpoint.safetensors", saved, about=about)
    for path in (tmp_path / "checkpoint.safetensors", str(tmp_path / "checkpoint.safetensors")):
        model = robustft.load(path)
        assert not any(module.training for module in model.modules())
        assert {parameter.device.type for parameter in model.parameters()} == {"cpu"}
        assert torch.equal(model(x), saved(x))


@pytest.mark.parametrize(("content", "message"), [(None, "there is no such checkpoint"), (b"other", "cannot be read")])
def test_what_is_no_checkpoint_is_refused_by_name(content, message, tmp_path):
    path = tmp_path / "other.safetensors"
    if content:
        path.write_bytes(content)
    with pytest.raises(robustft.RobustftError, match=message) as error:
        robustft.load(path)
    assert str(path) in str(error.value)
