"""Readers of published layouts: every weight arrives in its place, and nothing is left out that has no name."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import nn

from robustft.errors import IntegrityError
from robustft.models import published as readers
from robustft.models.backbones.vit import ViT
from robustft.models.checkpoint import load_strict
from robustft.models.classifier import build_classifier

from . import published as files
from .published import CIFAR, CLIP_TINY, RESNET, VIT, lived

scripted = pytest.mark.filterwarnings("ignore:.torch.jit:FutureWarning", "ignore:.torch.jit:DeprecationWarning")


def saved(content, path: Path, **options) -> Path:
    torch.save(content, path, **options)
    return path


def assert_equal(tensors, model, *, without=("normalise",)):
    """Every tensor of the model but some parts, and no other, with equal values."""
    expected = {k: v for k, v in model.state_dict().items() if k.split(".")[0] not in without}
    assert set(tensors) == set(expected)
    for name, tensor in expected.items():
        assert torch.equal(tensors[name], tensor), name


class Stranger:
    """What a training library keeps beside the weights; unpickled as usual, it makes a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


# -- robust ResNets of ImageNet ------------------------------------------------------------------------------------


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
    with pytest.raises(IntegrityError, match=r"(?s)copy of the network.*model\.conv1\.weight"):
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
    for read in (readers.robust_imagenet, readers.vit, readers.cifar_resnet):
        with pytest.raises(IntegrityError, match="no state of a network"):
            read(saved(content, tmp_path / "f"))


def test_a_hostile_file_of_a_layout_that_needs_no_strangers_is_refused(tmp_path):
    made = tmp_path / "made"
    state = {**files.timm_vit(lived(VIT)), "extra": Stranger(made)}
    for read in (readers.vit, readers.cifar_resnet):
        with pytest.raises(IntegrityError, match="cannot be read safely"):
            read(saved(state, tmp_path / "f"))
    with pytest.raises(IntegrityError, match="no state of a network"):  # inert, but in the place of a tensor
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


# -- vision transformers -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", ["plain", "deit", "safetensors", "flax"])
def test_a_vision_transformer_arrives_whole_from_each_layout(tmp_path, layout):
    model, path = lived(VIT), tmp_path / "f"
    state = files.timm_vit(model)
    if layout == "flax":
        with path.open("wb") as stream:
            np.savez(stream, **files.flax_vit(model))
        tensors = readers.vit_flax(path)
    elif layout == "safetensors":
        save_file(dict(state), path)
        tensors = readers.vit(path)
    else:
        tensors = readers.vit(saved({"model": state} if layout == "deit" else state, path))
    assert_equal(tensors, model)


def test_flax_arrays_arrive_as_timms_own_conversion_has_them(tmp_path):
    import timm

    torch.manual_seed(0)
    theirs = timm.models.VisionTransformer(img_size=16, patch_size=4, embed_dim=8, depth=2, num_heads=2, num_classes=5)
    with (tmp_path / "f.npz").open("wb") as stream:
        np.savez(stream, **files.flax_vit(lived(VIT)))
    theirs.load_pretrained(str(tmp_path / "f.npz"))
    tensors = readers.vit_flax(tmp_path / "f.npz")
    for name, tensor in theirs.state_dict().items():
        assert torch.equal(tensors[name if name.startswith("head.") else f"backbone.{name}"], tensor), name


def test_what_is_to_be_left_out_is_left_out_and_must_be_there(tmp_path):
    model = lived(VIT)
    state = {**files.timm_vit(model), "pre_logits.fc.weight": torch.ones(8, 8), "pre_logits.fc.bias": torch.ones(8)}
    path = saved(state, tmp_path / "f")
    assert_equal(readers.vit(path, drop=["head", "pre_logits"]), model, without=("normalise", "head"))
    with pytest.raises(IntegrityError, match="no part 'head_dist'"):
        readers.vit(path, drop=["head_dist"])
    with pytest.raises(IntegrityError, match="no part 'hea'"):  # a whole name, not the beginning of one
        readers.vit(path, drop=["hea"])
    kept = readers.vit(path)
    with pytest.raises(IntegrityError, match=r"unexpected: \['backbone\.pre_logits\.fc\.bias'"):
        load_strict(model, kept, where=None, parts=["backbone", "head"])


def test_a_flax_array_of_an_unknown_name_is_named(tmp_path):
    arrays = files.flax_vit(lived(VIT))
    arrays["Transformer/encoderblock_0/Gate/scale"] = np.ones(3, np.float32)
    np.savez(tmp_path / "f.npz", **arrays)
    with pytest.raises(IntegrityError, match=r"unexpected: \['backbone\.Transformer/encoderblock_0/Gate/scale'\]"):
        load_strict(lived(VIT), readers.vit_flax(tmp_path / "f.npz"), where=None, parts=["backbone", "head"])
    del arrays["Transformer/encoderblock_1/MultiHeadDotProductAttention_1/key/bias"]
    np.savez(tmp_path / "f.npz", **arrays)
    with pytest.raises(IntegrityError, match=r"(?s)query, key and value.*blocks\.1\.attn\.qkv\.bias"):
        readers.vit_flax(tmp_path / "f.npz")


def test_arrays_of_objects_are_not_unpickled(tmp_path):
    made = tmp_path / "made"
    np.savez(tmp_path / "f.npz", cls=np.array([Stranger(made)], dtype=object))
    with pytest.raises(IntegrityError, match="cannot be read safely"):
        readers.vit_flax(tmp_path / "f.npz")
    assert not made.exists()


@pytest.mark.parametrize("reader", [readers.vit, readers.vit_flax])
def test_a_cut_file_of_a_vision_transformer_is_an_integrity_error(tmp_path, reader):
    path = tmp_path / "f"
    if reader is readers.vit:
        save_file(dict(files.timm_vit(lived(VIT))), path)
    else:
        with path.open("wb") as stream:
            np.savez(stream, **files.flax_vit(lived(VIT)))
    whole = path.read_bytes()
    for kept in (0, 5, 50, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:kept])
        with pytest.raises(IntegrityError, match="cannot be read safely"):
            reader(path)
    path.unlink()
    with pytest.raises(IntegrityError, match="FileNotFoundError"):
        reader(path)


def test_a_damaged_compressed_array_is_an_integrity_error(tmp_path):
    np.savez_compressed(tmp_path / "f.npz", **files.flax_vit(lived(VIT)))
    whole = bytearray((tmp_path / "f.npz").read_bytes())
    whole[60:90] = bytes(30)
    (tmp_path / "f.npz").write_bytes(whole)
    with pytest.raises(IntegrityError, match="cannot be read safely"):
        readers.vit_flax(tmp_path / "f.npz")


# -- surgery for small images --------------------------------------------------------------------------------------


def test_patches_of_4_on_32_pixels_answer_as_patches_of_16_on_the_image_enlarged_fourfold(tmp_path):
    torch.manual_seed(0)
    large = ViT(channels=3, image_size=128, patch_size=16, width=8, depth=1, heads=2).double().eval()
    tensors = readers.vit(saved(large.state_dict(), tmp_path / "f"), patch_size=4)
    small = ViT(channels=3, image_size=32, patch_size=4, width=8, depth=1, heads=2).double().eval()
    small.load_state_dict({name.removeprefix("backbone."): tensor for name, tensor in tensors.items()})
    x = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    enlarged = F.interpolate(x, scale_factor=4, mode="nearest")
    torch.testing.assert_close(small.patch_embed(x), large.patch_embed(enlarged), rtol=0, atol=1e-12)
    torch.testing.assert_close(small(x), large(enlarged), rtol=0, atol=1e-12)  # the grid is 8 x 8 in both


def test_surgery_by_hand(tmp_path):
    # A kernel of 16 x 16 whose value is 100 times its 4 x 4 tile's row plus the tile's column: each tap of the new
    # one is 16 times that. Positions 0 .. 3 on a 2 x 2 grid, widened to 4 x 4: new centres lie at -0.25 (held at 0),
    # 0.25, 0.75, 1.25 (held at 1) between the old ones; rows weigh 2, columns 1.
    tile = torch.arange(16) // 4
    kernel = (100.0 * tile[:, None] + tile[None, :]).expand(1, 1, 16, 16).clone()
    state = {
        "patch_embed.proj.weight": kernel,
        "pos_embed": torch.tensor([9.0, 0.0, 1.0, 2.0, 3.0]).view(1, 5, 1),
    }
    tensors = readers.vit(saved(state, tmp_path / "f"), patch_size=4, grid=4)
    expected = [[16.0 * (100 * row + column) for column in range(4)] for row in range(4)]
    assert tensors["backbone.patch_embed.proj.weight"].squeeze().tolist() == expected
    steps = (0.0, 0.25, 0.75, 1.0)
    assert tensors["backbone.pos_embed"].flatten().tolist() == [9.0, *[2 * r + c for r in steps for c in steps]]


def test_patches_that_do_not_divide_are_an_integrity_error(tmp_path):
    path = saved(files.timm_vit(lived(VIT)), tmp_path / "f")
    with pytest.raises(IntegrityError, match=r"(?s)cannot be resized.*4 x 4"):
        readers.vit(path, patch_size=3)
    with pytest.raises(IntegrityError, match="cannot be resized"):
        readers.vit(saved({"norm.weight": nn.Parameter(torch.ones(2))}, tmp_path / "g"), grid=8)
