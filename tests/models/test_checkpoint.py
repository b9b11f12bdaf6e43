from __future__ import annotations

import pytest
import torch
from safetensors.torch import save_file

from pipeline.errors import IntegrityError
from pipeline.models.checkpoint import load_classifier, load_strict, read_checkpoint, save_checkpoint


@pytest.fixture
def about(tiny_backbone):
    return {"backbone": tiny_backbone, "shape": [1, 8, 8], "classes": 5, "seed": 3, "note": "ε = 1/5"}


@pytest.fixture
def saved(tmp_path, tiny_model, about):
    """A model whose every tensor differs from a fresh one, and its checkpoint."""
    model = tiny_model(seed=7, lived=True)
    path = tmp_path / "checkpoint.safetensors"
    save_checkpoint(path, model, about=about)
    return model, path


def assert_equal_weights(one, other):
    assert list(one.state_dict()) == list(other.state_dict())
    for name, value in one.state_dict().items():
        assert torch.equal(value, other.state_dict()[name]), name


def test_round_trip(saved, about, random_batch):
    model, path = saved
    loaded, told = load_classifier(path)
    assert told == about
    assert_equal_weights(loaded, model)
    x, _ = random_batch(4)
    assert torch.equal(loaded.eval()(x), model.eval()(x))


def test_writing_twice_gives_equal_bytes(saved, tmp_path, about):
    model, path = saved
    other = tmp_path / "other.safetensors"
    save_checkpoint(other, model, about=dict(reversed(about.items())))
    assert other.read_bytes() == path.read_bytes()


def test_the_memory_layout_leaves_no_trace(saved, tmp_path, about):
    model, path = saved
    other = tmp_path / "other.safetensors"
    save_checkpoint(other, model.to(memory_format=torch.channels_last), about=about)
    assert other.read_bytes() == path.read_bytes()


def test_a_checkpoint_cut_anywhere_is_an_integrity_error(saved):
    _, path = saved
    data = path.read_bytes()
    for kept in (0, 4, 8, 200, len(data) // 2, len(data) - 1):
        path.write_bytes(data[:kept])
        with pytest.raises(IntegrityError, match="cannot be read") as error:
            read_checkpoint(path)
        assert str(path) in str(error.value)


@pytest.mark.parametrize("metadata", [None, {"format": "pt"}, {"robustft": "{half"}])
def test_a_safetensors_file_of_other_origin_is_an_integrity_error(tmp_path, metadata):
    path = tmp_path / "foreign.safetensors"
    save_file({"weight": torch.zeros(2)}, path, metadata=metadata)
    with pytest.raises(IntegrityError, match="cannot be read"):
        read_checkpoint(path)


def test_a_missing_checkpoint_is_an_integrity_error(tmp_path):
    with pytest.raises(IntegrityError, match="cannot be read"):
        read_checkpoint(tmp_path / "none.safetensors")


def load(model, tensors, path, *, without_head=False):
    load_strict(model, tensors, where=path, without_head=without_head)


@pytest.mark.parametrize("without_head", [False, True])
def test_a_missing_tensor_is_named(saved, tiny_model, without_head):
    _, path = saved
    tensors, _ = read_checkpoint(path)
    del tensors["backbone.stem.1.running_var"]
    with pytest.raises(IntegrityError, match=r"missing: \['backbone\.stem\.1\.running_var'\]"):
        load(tiny_model(), tensors, path, without_head=without_head)


@pytest.mark.parametrize("without_head", [False, True])
def test_an_unexpected_tensor_is_named(saved, tiny_model, without_head):
    _, path = saved
    tensors, _ = read_checkpoint(path)
    tensors["module.fc.weight"] = torch.zeros(2)
    with pytest.raises(IntegrityError, match=r"unexpected: \['module\.fc\.weight'\]"):
        load(tiny_model(), tensors, path, without_head=without_head)


@pytest.mark.parametrize("without_head", [False, True])
def test_a_tensor_of_another_shape_is_named_with_both_shapes(saved, tiny_model, without_head):
    _, path = saved
    tensors, _ = read_checkpoint(path)
    tensors["backbone.stem.0.weight"] = torch.zeros(4, 3, 3, 3)
    with pytest.raises(IntegrityError, match=r"backbone\.stem\.0\.weight \(4, 3, 3, 3\), not \(4, 1, 3, 3\)"):
        load(tiny_model(), tensors, path, without_head=without_head)


def test_nothing_is_loaded_when_something_does_not_fit(saved, tiny_model):
    _, path = saved
    tensors, _ = read_checkpoint(path)
    del tensors["head.bias"]
    model, untouched = tiny_model(seed=1), tiny_model(seed=1)
    with pytest.raises(IntegrityError):
        load(model, tensors, path)
    assert_equal_weights(model, untouched)


def test_pretrained_weights_silently_not_loaded_cannot_happen(saved, tiny_model):
    """The classic defect of fine-tuning code: keys under another prefix, a lax load, and training from noise."""
    _, path = saved
    tensors, _ = read_checkpoint(path)
    renamed = {f"module.{name}": tensor for name, tensor in tensors.items()}
    with pytest.raises(IntegrityError, match="does not fit the model") as error:
        load(tiny_model(), renamed, path, without_head=True)
    assert "module.backbone" in str(error.value)
    assert "missing: ['backbone." in str(error.value)


def test_without_head_every_weight_but_the_heads_arrives(saved, tiny_model):
    pretrained, path = saved
    tensors, _ = read_checkpoint(path)
    fresh = tiny_model(seed=1, classes=9)  # another task, another number of classes
    head = {name: value.clone() for name, value in fresh.state_dict().items() if name.startswith("head.")}
    load(fresh, tensors, path, without_head=True)
    assert set(head) == {"head.weight", "head.bias"}
    for name, value in fresh.state_dict().items():
        expected = head[name] if name in head else pretrained.state_dict()[name]
        assert torch.equal(value, expected), name


def test_with_head_the_head_must_fit(saved, tiny_model):
    _, path = saved
    tensors, _ = read_checkpoint(path)
    with pytest.raises(IntegrityError, match=r"head\.bias \(5,\), not \(9,\)"):
        load(tiny_model(classes=9), tensors, path)
