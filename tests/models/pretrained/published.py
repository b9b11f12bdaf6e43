"""Files in the layouts in which pre-trained weights are published, of tiny networks, made for tests."""

from __future__ import annotations

import os
from collections import OrderedDict
from pathlib import Path

import numpy as np
import torch
from open_clip.model import CLIP, CLIPTextCfg, CLIPVisionCfg
from torch import Tensor, nn

from robustft.models.classifier import Classifier, build_classifier

MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
RESNET = {
    "name": "tiny_resnet",
    "implementation": "robustft.models.backbones.imagenet_resnet:ImageNetResNet",
    "parameters": {"blocks": [1, 1, 1, 1], "block": "basic"},
    "normalisation": {"mean": MEAN, "std": STD},
}
CIFAR = {
    "name": "tiny_cifar",
    "implementation": "robustft.models.backbones.resnet:ResNet",
    "parameters": {"width": 4, "blocks": [2, 1]},
    "normalisation": {"mean": [0.0] * 3, "std": [1.0] * 3},
}
HE = {
    "name": "tiny_he",
    "implementation": "robustft.models.backbones.he_resnet:HeResNet",
    "parameters": {"blocks": 1},
    "normalisation": {"mean": MEAN, "std": STD},
}
VIT = {
    "name": "tiny_vit",
    "implementation": "robustft.models.backbones.vit:ViT",
    "parameters": {"image_size": 16, "patch_size": 4, "width": 8, "depth": 2, "heads": 2},
    "head": {"implementation": "robustft.models.backbones.vit:Head"},
    "normalisation": {"mean": [0.5] * 3, "std": [0.5] * 3},
}
CLIP_TINY = {
    "name": "tiny_clip",
    "implementation": "robustft.models.backbones.clip:ImageTower",
    "parameters": {
        **{"image_size": 8, "patch_size": 4, "width": 8, "layers": 1, "heads": 2, "mlp_ratio": 2.0, "embed_dim": 6},
        "quick_gelu": True,
    },
    "head": {
        "implementation": "robustft.models.text_heads:TextHead",
        "parameters": {"width": 8, "layers": 1, "heads": 2, "mlp_ratio": 2.0, "context_length": 8, "quick_gelu": True},
    },
    "normalisation": {"mean": [0.3] * 3, "std": [0.4] * 3},
}


def lived(backbone: dict, *, classes: int = 5, size: int = 16) -> Classifier:
    """Build a classifier of colour images, every tensor of it unlike a fresh one's."""
    torch.manual_seed(0)
    model = build_classifier(backbone, shape=[3, size, size], classes=classes, prompts=None)
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if tensor.is_floating_point() and not name.startswith("normalise."):
                tensor.uniform_(0.5, 1.5) if name.endswith("running_var") else tensor.normal_(0, 0.3)
    return model.eval()


def robust_imagenet(model: Classifier) -> dict[str, object]:
    """Lay a ResNet out as the `robustness` library saves it inside DataParallel."""
    inner = {f"model.{name}": tensor for name, tensor in model.backbone.state_dict().items()}
    inner |= {f"model.fc.{name}": tensor for name, tensor in model.head.state_dict().items()}
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (MEAN, STD))
    state = OrderedDict({f"module.{name}": tensor for name, tensor in inner.items()})
    state |= {"module.normalizer.new_mean": mean, "module.normalizer.new_std": std}
    state |= {f"module.attacker.{name}": tensor for name, tensor in inner.items()}
    state |= {"module.attacker.normalize.new_mean": mean, "module.attacker.normalize.new_std": std}
    return {"model": state, "optimizer": {"state": {0: {"momentum_buffer": torch.ones(3)}}}, "epoch": 90}


def cifar_resnet(
    model: Classifier, blocks: tuple[str, ...] = ("layer1.0", "layer1.1", "layer2.0")
) -> dict[str, Tensor]:
    """Name a ResNet as AutoAttack's example does; by default `model` has stages of 2 and 1 blocks."""
    old = {"backbone.stem.0": "conv1", "backbone.stem.1": "bn1", "head": "linear"}
    old |= {f"backbone.stages.{number}": block for number, block in enumerate(blocks)}
    state = OrderedDict()
    for name, tensor in model.state_dict().items():
        for ours, theirs in old.items():
            if name.startswith(f"{ours}."):
                state[theirs + name.removeprefix(ours)] = tensor
    return state


def timm_vit(model: Classifier) -> dict[str, Tensor]:
    """Name a vision transformer as timm does."""
    return OrderedDict(
        (name.removeprefix("backbone."), t) for name, t in model.state_dict().items() if name[:4] != "norm"
    )


def flax_vit(model: Classifier) -> dict[str, np.ndarray]:
    """Lay a vision transformer out as Google's repository does: its names, inputs before outputs, heads apart."""
    state = {name: tensor.numpy() for name, tensor in timm_vit(model).items()}
    heads, arrays = model.backbone.blocks[0].attn.num_heads, {}
    arrays["cls"], arrays["Transformer/posembed_input/pos_embedding"] = state["cls_token"], state["pos_embed"]
    arrays["embedding/kernel"] = state["patch_embed.proj.weight"].transpose(2, 3, 1, 0)
    arrays["embedding/bias"] = state["patch_embed.proj.bias"]
    arrays["head/kernel"], arrays["head/bias"] = state["head.weight"].T, state["head.bias"]
    for flax, ours in (("scale", "weight"), ("bias", "bias")):
        arrays[f"Transformer/encoder_norm/{flax}"] = state[f"norm.{ours}"]
    for n in range(len(model.backbone.blocks)):
        block, ours = f"Transformer/encoderblock_{n}", f"blocks.{n}"
        width = state["cls_token"].shape[-1]
        for number, part in enumerate(("query", "key", "value")):
            rows = slice(number * width, (number + 1) * width)
            name = f"{block}/MultiHeadDotProductAttention_1/{part}"
            arrays[f"{name}/kernel"] = state[f"{ours}.attn.qkv.weight"][rows].T.reshape(width, heads, -1)
            arrays[f"{name}/bias"] = state[f"{ours}.attn.qkv.bias"][rows].reshape(heads, -1)
        name = f"{block}/MultiHeadDotProductAttention_1/out"
        arrays[f"{name}/kernel"] = state[f"{ours}.attn.proj.weight"].T.reshape(heads, -1, width)
        arrays[f"{name}/bias"] = state[f"{ours}.attn.proj.bias"]
        for flax, norm in (("LayerNorm_0", "norm1"), ("LayerNorm_2", "norm2")):
            arrays[f"{block}/{flax}/scale"] = state[f"{ours}.{norm}.weight"]
            arrays[f"{block}/{flax}/bias"] = state[f"{ours}.{norm}.bias"]
        for flax, layer in (("Dense_0", "fc1"), ("Dense_1", "fc2")):
            arrays[f"{block}/MlpBlock_3/{flax}/kernel"] = state[f"{ours}.mlp.{layer}.weight"].T
            arrays[f"{block}/MlpBlock_3/{flax}/bias"] = state[f"{ours}.mlp.{layer}.bias"]
    return arrays


class _Scripted(nn.Module):
    """A tree of modules with some tensors at the leaves, which TorchScript can save."""

    def __init__(self, state: dict[str, Tensor]) -> None:
        super().__init__()
        children: dict[str, dict[str, Tensor]] = {}
        for name, tensor in state.items():
            head, _, rest = name.partition(".")
            if rest:
                children.setdefault(head, {})[rest] = tensor
            elif tensor.is_floating_point():
                self.register_parameter(head, nn.Parameter(tensor))
            else:
                self.register_buffer(head, tensor)
        for name, part in children.items():
            self.add_module(name, _Scripted(part))

    def forward(self, x: Tensor) -> Tensor:
        return x


def tiny_clip() -> CLIP:
    """Return open_clip's own model in the size of CLIP_TINY."""
    torch.manual_seed(0)
    vision = CLIPVisionCfg(image_size=8, patch_size=4, width=8, layers=1, head_width=4, mlp_ratio=2.0)
    text = CLIPTextCfg(context_length=8, width=8, layers=1, heads=2, mlp_ratio=2.0)
    return CLIP(6, vision, text, quick_gelu=True).eval()


def openai_clip(model: CLIP, path: Path) -> Path:
    """Save a CLIP as OpenAI does: a TorchScript archive, matrices in float16, sizes among the tensors."""
    state = {
        name: tensor.half() if tensor.ndim > 1 and "embedding" not in name else tensor
        for name, tensor in model.state_dict().items()
    }
    state |= {"input_resolution": torch.tensor(8), "context_length": torch.tensor(8), "vocab_size": torch.tensor(49408)}
    torch.jit.script(_Scripted(state)).save(str(path))
    return path


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
