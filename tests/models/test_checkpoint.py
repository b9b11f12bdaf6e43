from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from robustft.errors import IntegrityError
from robustft.models.checkpoint import load_classifier, load_strict, read_checkpoint, save_checkpoint
from robustft.models.classifier import build_classifier
from robustft.models.tunings.protocol import Full


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
    loaded, description = load_classifier(path)
    assert description == about
    assert_equal_weights(loaded, model)
    assert not any(module.training for module in loaded.modules())
    x, _ = random_batch(4)
    assert torch.equal(loaded(x), model.eval()(x))


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


@pytest.mark.parametrize("read", [read_checkpoint, load_classifier])
def test_a_checkpoint_cut_anywhere_is_an_integrity_error(saved, read):
    _, path = saved
    data = path.read_bytes()
    for size in (0, 4, 8, 200, len(data) // 2, len(data) - 1):
        path.write_bytes(data[:size])
        with pytest.raises(IntegrityError, match="cannot be read") as error:
            read(path)
        assert str(path) in str(error.value)


@pytest.mark.parametrize("metadata", [None, {"format": "pt"}, {"robustft": "{half"}])
def test_a_safetensors_file_of_other_origin_is_an_integrity_error(tmp_path, metadata):
    save_file({"weight": torch.zeros(2)}, tmp_path / "foreign.safetensors", metadata=metadata)
    with pytest.raises(IntegrityError, match="cannot be read"):
        load_classifier(tmp_path / "foreign.safetensors")


@pytest.mark.parametrize("about", [{"backbone": {}, "shape": [1, 8, 8]}, {}])
def test_a_checkpoint_that_does_not_describe_its_model_is_an_integrity_error(tmp_path, tiny_model, about):
    save_checkpoint(tmp_path / "c", tiny_model(), about=about)
    with pytest.raises(IntegrityError, match="does not describe its model"):
        load_classifier(tmp_path / "c")


def test_a_missing_checkpoint_is_an_integrity_error(tmp_path):
    with pytest.raises(IntegrityError, match="is missing"):
        load_classifier(tmp_path / "none.safetensors")


BODY = ("normalise", "backbone")


def load(model, tensors, path, *, parts=()):
    load_strict(model, tensors, where=path, parts=parts)


@pytest.mark.parametrize("parts", [(), BODY])
def test_missing_unexpected_and_misshapen_tensors_are_named(saved, tiny_model, parts):
    _, path = saved
    tensors, _ = read_checkpoint(path)
    del tensors["backbone.stem.1.running_var"]
    tensors["backbone.fc.weight"] = torch.zeros(2)
    tensors["backbone.stem.0.weight"] = torch.zeros(4, 3, 3, 3)
    with pytest.raises(IntegrityError) as error:
        load(tiny_model(), tensors, path, parts=parts)
    assert "missing: ['backbone.stem.1.running_var']" in str(error.value)
    assert "unexpected: ['backbone.fc.weight']" in str(error.value)
    assert "backbone.stem.0.weight (4, 3, 3, 3), not (4, 1, 3, 3)" in str(error.value)


def test_nothing_is_loaded_when_something_does_not_fit(saved, tiny_model):
    _, path = saved
    tensors, _ = read_checkpoint(path)
    del tensors["head.bias"]
    model, untouched = tiny_model(seed=1), tiny_model(seed=1)
    with pytest.raises(IntegrityError):
        load(model, tensors, path)
    assert_equal_weights(model, untouched)


@pytest.mark.parametrize(
    ("parts", "name"), [((), "module.backbone"), (BODY, "missing: ['backbone."), (["module"], "module.backbone")]
)
def test_pretrained_weights_silently_not_loaded_cannot_happen(saved, tiny_model, parts, name):
    """The classic defect of fine-tuning code: keys under another prefix, a lax load, and training from noise."""
    _, path = saved
    tensors, _ = read_checkpoint(path)
    renamed = {f"module.{name}": tensor for name, tensor in tensors.items()}
    model, untouched = tiny_model(seed=1), tiny_model(seed=1)
    with pytest.raises(IntegrityError, match="does not fit the model") as error:
        load(model, renamed, path, parts=parts)
    assert name in str(error.value)
    assert_equal_weights(model, untouched)


@pytest.mark.parametrize("part", ["backbone.trunk", "back", "backbone.stem.0.weigh", "module"])
def test_a_part_that_neither_side_has_is_an_error_and_not_nothing_to_do(saved, tiny_model, part):
    """Pre-trained weights silently not loaded, by another way: a part's name misspelt loads no tensor at all."""
    _, path = saved
    tensors, _ = read_checkpoint(path)
    with pytest.raises(IntegrityError, match=rf"missing: \['{part}'\]"):
        load(tiny_model(), tensors, path, parts=["backbone.stem", part])


@pytest.mark.parametrize(("side", "message"), [("model", "unexpected: "), ("file", "missing: ")])
def test_a_part_that_only_one_side_has_is_an_error(saved, tiny_model, side, message):
    _, path = saved
    tensors, _ = read_checkpoint(path)
    model = tiny_model()
    if side == "model":  # the file has it, the model lacks it
        model.backbone.stem = torch.nn.Identity()
    else:
        tensors = {name: tensor for name, tensor in tensors.items() if not name.startswith("backbone.stem.")}
    with pytest.raises(IntegrityError, match=rf"{message}\['backbone\.stem\."):
        load(model, tensors, path, parts=["backbone.stem"])


def test_of_the_parts_every_weight_arrives_and_of_the_rest_none(saved, tiny_model):
    pretrained, path = saved
    tensors, _ = read_checkpoint(path)
    tensors["another.task"] = torch.zeros(3)  # what is not asked for may be anything
    fresh = tiny_model(seed=1)
    before = {name: value.clone() for name, value in fresh.state_dict().items()}
    load(fresh, tensors, path, parts=["backbone.stem", "backbone.stages.0.conv1.weight"])
    arrived = {name for name, value in fresh.state_dict().items() if not torch.equal(value, before[name])}
    stem = {name for name in before if name.startswith("backbone.stem.")}
    assert arrived == {*stem, "backbone.stages.0.conv1.weight"}
    for name in arrived:
        assert torch.equal(fresh.state_dict()[name], pretrained.state_dict()[name]), name


def test_a_part_is_a_whole_name_and_not_the_beginning_of_one(saved, tiny_model):
    _, path = saved
    tensors, _ = read_checkpoint(path)
    tensors["backbone.stem2.weight"] = torch.zeros(3)
    load(tiny_model(), tensors, path, parts=["backbone.stem"])  # stem2 is not a part of stem


def test_with_the_parts_of_the_body_every_weight_but_the_heads_arrives(saved, tiny_model):
    pretrained, path = saved
    tensors, _ = read_checkpoint(path)
    fresh = tiny_model(seed=1, classes=9)  # another task, another number of classes
    head = {name: value.clone() for name, value in fresh.state_dict().items() if name.startswith("head.")}
    load(fresh, tensors, path, parts=BODY)
    assert set(head) == {"head.weight", "head.bias"}
    for name, value in fresh.state_dict().items():
        expected = head[name] if name in head else pretrained.state_dict()[name]
        assert torch.equal(value, expected), name


def test_with_head_the_head_must_fit(saved, tiny_model):
    _, path = saved
    tensors, _ = read_checkpoint(path)
    with pytest.raises(IntegrityError, match=r"head\.bias \(5,\), not \(9,\)"):
        load(tiny_model(classes=9), tensors, path)


class Attaching(Full):
    """A tuning whose modules stay in the exported model: a scale on the logits."""

    attached = True

    def prepare(self, model):
        model.scale = torch.nn.Parameter(torch.rand(5))
        model.head.register_forward_hook(lambda module, inputs, logits: logits * model.scale)
        return model


ATTACHING = {"implementation": f"{__name__}:Attaching", "parameters": {}}


def test_what_a_tuning_attached_is_attached_again_before_the_weights_are_loaded(
    tmp_path, tiny_model, about, random_batch, monkeypatch
):
    monkeypatch.syspath_prepend(Path(__file__).parents[2])  # where the source text of `Attaching` is looked up
    torch.manual_seed(0)
    model, path = Attaching().prepare(tiny_model(seed=7, lived=True)), tmp_path / "tuned.safetensors"
    save_checkpoint(path, model, about={**about, "tuning": ATTACHING})
    torch.rand(3)  # what prepare draws is not what was saved
    loaded, _ = load_classifier(path)
    assert_equal_weights(loaded, model)
    x, _ = random_batch(4)
    assert torch.equal(loaded(x), model.eval()(x))


def test_a_tuned_checkpoint_that_does_not_say_so_is_refused(tmp_path, tiny_model, about):
    path = tmp_path / "tuned.safetensors"
    save_checkpoint(path, Attaching().prepare(tiny_model()), about=about)
    with pytest.raises(IntegrityError, match=r"unexpected: \['scale'\]"):
        load_classifier(path)


class Reader(torch.nn.Linear):
    """A head with one logit for each text: how many letters the text has, times a learned scale."""

    def __init__(self, in_features, *, classes, prompts):
        super().__init__(in_features, 1)
        assert classes == len(prompts)
        self.lengths = torch.tensor([float(len(text)) for text in prompts])

    def forward(self, x):
        return super().forward(x) * self.lengths


def test_a_head_that_reads_texts_is_built_on_those_it_was_saved_with_or_on_others(tmp_path, tiny_backbone, about):
    backbone = {**tiny_backbone, "head": {"implementation": f"{__name__}:Reader"}}
    model = build_classifier(backbone, shape=[1, 8, 8], classes=2, prompts=["a", "four"])
    save_checkpoint(
        tmp_path / "c", model, about={**about, "backbone": backbone, "classes": 2, "prompts": ["a", "four"]}
    )
    x = torch.rand(3, 1, 8, 8)
    same, other = load_classifier(tmp_path / "c")[0], load_classifier(tmp_path / "c", prompts=["seven77", "a", "b"])[0]
    assert torch.equal(same.eval()(x), model.eval()(x))
    assert other.eval()(x).shape == (3, 3)
    torch.testing.assert_close(other(x)[:, 0], 7 * same(x)[:, 0])
    torch.testing.assert_close(other(x)[:, 1], same(x)[:, 0])
