"""Readers of published vision transformers: every weight arrives in its place, also for smaller patches and grids."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import nn

from robustft.errors import IntegrityError
from robustft.models.backbones.vit import ViT
from robustft.models.checkpoint import load_strict
from robustft.models.pretrained.vit_formats import vit, vit_flax
from tests.models.toy_vit import full_size

from . import published as files
from .published import VIT, Stranger, assert_equal, lived, saved


@pytest.mark.parametrize("layout", ["plain", "deit", "safetensors", "flax"])
def test_a_vision_transformer_arrives_whole_from_each_layout(tmp_path, layout):
    model, path = lived(VIT), tmp_path / "f"
    state = files.timm_vit(model)
    if layout == "flax":
        with path.open("wb") as stream:
            np.savez(stream, **files.flax_vit(model))
        tensors = vit_flax(path)
    elif layout == "safetensors":
        save_file(dict(state), path)
        tensors = vit(path)
    else:
        tensors = vit(saved({"model": state} if layout == "deit" else state, path))
    assert_equal(tensors, model)


def test_flax_arrays_arrive_as_timms_own_conversion_has_them(tmp_path):
    import timm

    torch.manual_seed(0)
    theirs = timm.models.VisionTransformer(img_size=16, patch_size=4, embed_dim=8, depth=2, num_heads=2, num_classes=5)
    with (tmp_path / "f.npz").open("wb") as stream:
        np.savez(stream, **files.flax_vit(lived(VIT)))
    theirs.load_pretrained(str(tmp_path / "f.npz"))
    tensors = vit_flax(tmp_path / "f.npz")
    for name, tensor in theirs.state_dict().items():
        assert torch.equal(tensors[name if name.startswith("head.") else f"backbone.{name}"], tensor), name


def test_what_is_to_be_left_out_is_left_out_and_must_be_there(tmp_path):
    model = lived(VIT)
    state = {**files.timm_vit(model), "pre_logits.fc.weight": torch.ones(8, 8), "pre_logits.fc.bias": torch.ones(8)}
    path = saved(state, tmp_path / "f")
    assert_equal(vit(path, drop=["head", "pre_logits"]), model, without=("normalise", "head"))
    with pytest.raises(IntegrityError, match="no part 'head_dist'"):
        vit(path, drop=["head_dist"])
    with pytest.raises(IntegrityError, match="no part 'hea'"):  # a whole name, not the beginning of one
        vit(path, drop=["hea"])
    kept = vit(path)
    with pytest.raises(IntegrityError, match=r"unexpected: \['backbone\.pre_logits\.fc\.bias'"):
        load_strict(model, kept, where=None, parts=["backbone", "head"])


def test_a_flax_array_of_an_unknown_name_is_named(tmp_path):
    arrays = files.flax_vit(lived(VIT))
    arrays["Transformer/encoderblock_0/Gate/scale"] = np.ones(3, np.float32)
    np.savez(tmp_path / "f.npz", **arrays)
    with pytest.raises(IntegrityError, match=r"unexpected: \['backbone\.Transformer/encoderblock_0/Gate/scale'\]"):
        load_strict(lived(VIT), vit_flax(tmp_path / "f.npz"), where=None, parts=["backbone", "head"])
    del arrays["Transformer/encoderblock_1/MultiHeadDotProductAttention_1/key/bias"]
    np.savez(tmp_path / "f.npz", **arrays)
    with pytest.raises(IntegrityError, match=r"(?s)query, key and value.*blocks\.1\.attn\.qkv\.bias"):
        vit_flax(tmp_path / "f.npz")


def test_arrays_of_objects_are_not_unpickled(tmp_path):
    made = tmp_path / "made"
    np.savez(tmp_path / "f.npz", cls=np.array([Stranger(made)], dtype=object))
    with pytest.raises(IntegrityError, match="cannot be read safely"):
        vit_flax(tmp_path / "f.npz")
    assert not made.exists()


@pytest.mark.parametrize("reader", [vit, vit_flax])
def test_a_cut_file_of_a_vision_transformer_is_an_integrity_error(tmp_path, reader):
    path = tmp_path / "f"
    if reader is vit:
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
        vit_flax(tmp_path / "f.npz")


def test_patches_of_4_on_32_pixels_answer_as_patches_of_16_on_the_image_enlarged_fourfold(tmp_path):
    torch.manual_seed(0)
    large = ViT(channels=3, image_size=128, patch_size=16, width=8, depth=1, heads=2).double().eval()
    tensors = vit(saved(large.state_dict(), tmp_path / "f"), patch_size=4)
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
    tensors = vit(saved(state, tmp_path / "f"), patch_size=4, grid=4)
    expected = [[16.0 * (100 * row + column) for column in range(4)] for row in range(4)]
    assert tensors["backbone.patch_embed.proj.weight"].squeeze().tolist() == expected
    steps = (0.0, 0.25, 0.75, 1.0)
    assert tensors["backbone.pos_embed"].flatten().tolist() == [9.0, *[2 * r + c for r in steps for c in steps]]


def test_patches_that_do_not_divide_are_an_integrity_error(tmp_path):
    path = saved(files.timm_vit(lived(VIT)), tmp_path / "f")
    with pytest.raises(IntegrityError, match=r"(?s)cannot be resized.*4 x 4"):
        vit(path, patch_size=3)
    with pytest.raises(IntegrityError, match="cannot be resized"):
        vit(saved({"norm.weight": nn.Parameter(torch.ones(2))}, tmp_path / "g"), grid=8)


def test_resized_weights_fit_the_network_of_small_images(tmp_path):
    # ViT-B/16 at 224 pixels -> patch 4 at 32 pixels, as ADAPT does for CIFAR; one block, for all are alike.
    path = saved(
        ViT(channels=3, image_size=224, patch_size=16, width=768, depth=1, heads=12).state_dict(), tmp_path / "f"
    )
    small = full_size(width=768, depth=1, heads=12, image=32, patch=4).backbone
    shapes = {f"backbone.{name}": tensor.shape for name, tensor in small.state_dict().items()}
    assert {name: tensor.shape for name, tensor in vit(path, patch_size=4, grid=8).items()} == shapes
