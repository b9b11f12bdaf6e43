"""Readers of published layouts: every weight arrives in its place, and nothing is left out that has no name."""

from __future__ import annotations

import pytest
import torch

from robustft.errors import IntegrityError
from robustft.models.checkpoint import load_strict
from robustft.models.classifier import build_classifier
from robustft.models.pretrained import checkpoint_formats as readers
from robustft.models.pretrained.vit_formats import vit

from . import published as files
from .published import CIFAR, CLIP_TINY, HE, RESNET, VIT, Stranger, assert_equal, lived, saved

scripted = pytest.mark.filterwarnings("ignore:.torch.jit:FutureWarning", "ignore:.torch.jit:DeprecationWarning")


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize("key", ["model", "state_dict"])
def test_a_robust_resnet_arrives_whole_without_running_what_lies_beside_it(tmp_path, zipped, key):
    model, made = lived(RESNET), tmp_path / "made"
    content = files.robust_imagenet(model)
    content = {key: content.pop("model"), **content, "args": Stranger(made)}
    tensors = readers.robust_imagenet(saved(content, tmp_path / "f", _use_new_zipfile_serialization=zipped))
    assert not made.exists()
    assert_equal(tensors, model, without=())  # the normalisation is in the file too
    fresh = build_classifier(RESNET, shape=[3, 16, 16], classes=5)
    load_strict(fresh, tensors, where=None)
    x = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    assert torch.equal(fresh.eval()(x), model(x))


def test_a_copy_for_attacks_that_differs_from_the_network_is_an_error(tmp_path):
    content = files.robust_imagenet(lived(RESNET))
    name = "module.attacker.model.conv1.weight"
    content["model"][name] = content["model"][name] + 1
    with pytest.raises(IntegrityError, match=r"(?s)copy of the network for attacks.*model\.conv1\.weight"):
        readers.robust_imagenet(saved(content, tmp_path / "f"))
    content["model"] = {k: v for k, v in content["model"].items() if ".attacker." not in k}
    assert "head.weight" in readers.robust_imagenet(saved(content, tmp_path / "g"))  # without a copy there is no doubt


def test_a_key_of_no_known_part_is_named(tmp_path):
    content = files.robust_imagenet(lived(RESNET))
    content["model"]["module.extra.weight"] = torch.ones(1)
    with pytest.raises(IntegrityError, match=r"unexpected: \['extra\.weight'\]"):
        readers.robust_imagenet(saved(content, tmp_path / "f"))


def test_a_missing_weight_is_named_when_the_model_is_loaded(tmp_path):
    content = files.robust_imagenet(lived(RESNET))
    for prefix in ("module.model", "module.attacker.model"):
        del content["model"][f"{prefix}.layer3.0.bn1.running_var"]
    tensors = readers.robust_imagenet(saved(content, tmp_path / "f"))
    with pytest.raises(IntegrityError, match=r"missing: \['backbone\.layer3\.0\.bn1\.running_var'\]"):
        load_strict(build_classifier(RESNET, shape=[3, 16, 16], classes=5), tensors, where=None)


@pytest.mark.parametrize("content", [{"epoch": 3}, [1], {"model": {"a": 3}}, {"model": {}}, {0: torch.ones(1)}])
def test_a_file_without_a_state_is_an_integrity_error(tmp_path, content):
    for read in (readers.robust_imagenet, vit, readers.cifar_resnet, readers.he_resnet):
        with pytest.raises(IntegrityError, match="no state dict"):
            read(saved(content, tmp_path / "f"))


def test_a_hostile_file_of_a_layout_that_needs_no_strangers_is_refused(tmp_path):
    made = tmp_path / "made"
    state = {**files.timm_vit(lived(VIT)), "extra": Stranger(made)}
    for read in (vit, readers.cifar_resnet):
        with pytest.raises(IntegrityError, match="cannot be read safely"):
            read(saved(state, tmp_path / "f"))
    with pytest.raises(IntegrityError, match="no state dict"):  # inert, but in the place of a tensor
        readers.robust_imagenet(saved({"model": {"module.model.conv1.weight": Stranger(made)}}, tmp_path / "g"))
    assert not made.exists()


# -- the ResNet of AutoAttack's example ----------------------------------------------------------------------------


def test_a_cifar_resnet_arrives_with_its_blocks_in_order(tmp_path):
    model = lived(CIFAR)
    assert_equal(readers.cifar_resnet(saved(files.cifar_resnet(model), tmp_path / "f")), model)


def test_blocks_are_counted_as_numbers_and_not_as_text(tmp_path):
    state = {f"layer1.{n}.conv1.weight": torch.tensor(float(n)) for n in (10, 9, 2, 0)}
    tensors = readers.cifar_resnet(saved(state, tmp_path / "f"))
    assert {k: v.item() for k, v in tensors.items()} == {
        f"backbone.stages.{place}.conv1.weight": n for place, n in enumerate((0, 2, 9, 10))
    }


def test_a_resnet_of_he_et_al_arrives_from_inside_data_parallel(tmp_path):
    model = lived(HE)
    state = files.cifar_resnet(model, ("layer1.0", "layer2.0", "layer3.0"))
    content = {"state_dict": {f"module.{name}": tensor for name, tensor in state.items()}, "best_prec1": 91.78}
    assert_equal(readers.he_resnet(saved(content, tmp_path / "f")), model)
    counts = [name for name in content["state_dict"] if name.endswith("num_batches_tracked")]
    for name in counts:
        del content["state_dict"][name]  # as an old torch saved it
    tensors = readers.he_resnet(saved(content, tmp_path / "g"))
    assert [name for name, tensor in tensors.items() if name.endswith("tracked") and tensor != 0] == []
    load_strict(lived(HE), tensors, where=None, parts=["backbone", "head"])


def test_a_cifar_resnet_with_another_key_is_an_error(tmp_path):
    state = {**files.cifar_resnet(lived(CIFAR)), "bn2.weight": torch.ones(2)}
    with pytest.raises(IntegrityError, match=r"unexpected: \['bn2\.weight'\]"):
        readers.cifar_resnet(saved(state, tmp_path / "f"))


# -- CLIP ----------------------------------------------------------------------------------------------------------


@scripted
def test_openais_clip_arrives_and_answers_as_open_clip_does(tmp_path):
    theirs = files.tiny_clip()
    tensors = readers.openai_clip(files.openai_clip(theirs, tmp_path / "f.pt"))
    ours = build_classifier(CLIP_TINY, shape=[3, 8, 8], classes=2, prompts=["a zero", "a one"]).eval()
    load_strict(ours, tensors, where=None, parts=["backbone", "head"])
    assert ours.backbone.tower.conv1.weight.dtype == torch.float32
    with torch.no_grad():
        for parameter in theirs.parameters():  # the file holds matrices in half precision
            if parameter.ndim > 1:
                parameter.copy_(parameter.half().float())
        for name, parameter in theirs.named_parameters():
            if "embedding" in name:
                parameter.copy_(dict(files.tiny_clip().named_parameters())[name])
        x = torch.rand(3, 3, 8, 8, generator=torch.Generator().manual_seed(0))
        expected, _ = theirs.get_logits((x - 0.3) / 0.4, ours.head.tokens)
        torch.testing.assert_close(ours(x), expected, rtol=1e-5, atol=1e-5)


@scripted
def test_of_openais_archive_only_sizes_and_masks_are_left_out(tmp_path):
    theirs = files.tiny_clip()
    state = theirs.state_dict()
    extras = {name: torch.ones(1) for name in ("vocab_size", "transformer.resblocks.0.attn_mask")}
    torch.jit.script(files._Scripted({**state, **extras, "surplus": torch.ones(1)})).save(str(tmp_path / "f.pt"))
    tensors = readers.openai_clip(tmp_path / "f.pt")
    assert len(tensors) == len(state) + 1
    model = build_classifier(CLIP_TINY, shape=[3, 8, 8], classes=1, prompts=["a"])
    with pytest.raises(IntegrityError, match=r"unexpected: \['head\.tower\.surplus'\]"):
        load_strict(model, tensors, where=None, parts=["backbone", "head"])
