"""config/backbones.yaml: each entry is the architecture that it says, at no cost (on the meta device)."""

from __future__ import annotations

import pytest
import torch
import yaml
from torch.utils.flop_counter import FlopCounterMode

from robustft.errors import ConfigError
from robustft.files import ROOT
from robustft.models.classifier import Classifier, build_classifier
from robustft.models.text_heads import TextHead
from robustft.models.tunings.lora import FullLora, Lora, SplitQKV
from robustft.models.tunings.prompts import PromptedViT, PromptTuning
from robustft.models.tunings.zero_shot import ZeroShot
from robustft.models.two_wing_batch_norm import TwoWingBatchNorm2d, to_adaptive_wing, to_two_wings
from robustft.speed.optimizations import Optimizations, apply_optimizations

PATH = ROOT / "config" / "backbones.yaml"
BACKBONES = yaml.safe_load(PATH.read_text(encoding="utf-8"))["backbones"]
VITS = [name for name, backbone in BACKBONES.items() if backbone["implementation"].endswith(":ViT")]


def meta(name: str, *, classes: int = 10) -> Classifier:
    """Build a backbone of the configuration with a head, without any values."""
    backbone = {"name": name, **BACKBONES[name]}
    prompts = [f"class {number}" for number in range(classes)] if backbone.get("head") else None
    with torch.device("meta"):
        model = build_classifier(backbone, shape=backbone["shape"], classes=classes, prompts=prompts)
        return ZeroShot().prepare(model) if isinstance(model.head, TextHead) else model


def count(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize("name", BACKBONES)
def test_gflop_and_weights_are_those_of_the_network_and_images_of_the_shape_pass(name):
    model, backbone = meta(name).eval(), BACKBONES[name]
    apply_optimizations(
        model, Optimizations(needed_tokens=False)
    )  # of the published network, whatever way leads to its numbers
    with FlopCounterMode(display=False) as counter:
        logits = model(torch.empty(1, *backbone["shape"], device="meta"))
    assert logits.shape == (1, 10)
    assert backbone["gflop"] == float(f"{counter.get_total_flops() / 1e9:.3g}")
    assert backbone["weights"] == sum(tensor.numel() for tensor in model.state_dict().values())


def test_a_gflop_by_hand():
    # ViT-B on 8 x 8 patches and the class token, multiply-add = 2: 12 D^2 weights in a block for each token, two
    # products of queries, keys and values, the patch embedding; the head of ten classes.
    d, tokens, blocks = 768, 65, 12
    block = 2 * tokens * 12 * d * d + 2 * 2 * tokens * tokens * d
    total = blocks * block + 2 * 64 * (4 * 4 * 3) * d + 2 * d * 10
    assert round(total / 1e9, 1) == BACKBONES["vit_b_patch4"]["gflop"] == 11.2


@pytest.mark.parametrize(
    ("name", "classes", "total"),
    [
        # torchvision's published sizes
        ("resnet50", 1000, 25_557_032),
        ("resnet18", 1000, 11_689_512),
        # fact sheet of Adv-SS-Pretraining, section 2
        ("resnet50v2", 10, 23_516_874),
        # fact sheet of ADAPT, section 7
        ("vit_b_patch4", 10, 85_152_010),
        ("vit_b_patch16", 10, 85_658_890),
        ("vit_b_patch16_224", 10, 85_806_346),
        ("vit_l_patch4", 10, 302_439_434),
        # fact sheet of HyperAT, section 5
        ("vit_b_patch4", 100, 85_221_220),
        ("vit_l_patch16_224", 10, 303_311_882),
        ("deit_small_patch16_224", 10, 21_669_514),
        ("deit_small_patch4", 10, 21_342_346),
        ("deit_tiny_patch4", 10, 5_362_762),
        ("deit_base_patch4", 10, 85_152_010),
        ("deit_base_patch16_224", 10, 85_806_346),
    ],
)
def test_parameters_are_as_many_as_published(name, classes, total):
    assert count(meta(name, classes=classes)) == total


def test_the_resnet_18_of_cifar_has_the_parameters_of_its_file():
    # Stem 3 x 64 x 9; stages of two blocks, the first with a 1x1 shortcut from stage two on; ten classes. Each of the
    # 20 convolutions has a batch norm of two numbers for each channel.
    stages = 4 * 64 * 64 * 9
    norms = 2 * 64 * 5
    for width in (128, 256, 512):
        stages += width * (width // 2) * 9 + 3 * width * width * 9 + width * (width // 2)
        norms += 2 * width * 5
    assert count(meta("resnet18_cifar")) == 3 * 64 * 9 + stages + norms + 5130 == 11_173_962


def test_the_small_vit_of_cifar_is_small():
    # It is there to be trained on two cores: less than a two hundredth of ViT-B's work.
    assert BACKBONES["vit_cifar_small"]["gflop"] < BACKBONES["vit_b_patch4"]["gflop"] / 200
    d, blocks = 96, 4
    by_hand = 3 * 16 * d + d + d + 65 * d + blocks * (8 * d * d + 11 * d) + 2 * d
    assert count(meta("vit_cifar_small").backbone) == by_hand


# -- tunings ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["resnet50", "resnet18"])
def test_the_resnets_of_imagenet_grow_two_wings(name):
    model = meta(name)
    norms = sum(isinstance(module, torch.nn.BatchNorm2d) for module in model.modules())
    assert norms == {"resnet50": 53, "resnet18": 20}[name]
    before = list(model.state_dict())
    wings = to_two_wings(model)
    assert sum(isinstance(module, TwoWingBatchNorm2d) for module in wings.modules()) == norms
    assert list(to_adaptive_wing(wings).state_dict()) == before


@pytest.mark.parametrize("name", VITS)
def test_prompts_fit_every_vision_transformer(name):
    parameters = BACKBONES[name]["parameters"]
    model = PromptTuning(length=3, depth="all", attack="adaptive").prepare(meta(name))
    assert isinstance(model.backbone, PromptedViT)
    assert model.backbone.prompts.numel() == 3 * parameters["width"] * parameters["depth"]
    assert model(torch.empty(2, *BACKBONES[name]["shape"], device="meta")).shape == (2, 10)


def test_prompts_of_vit_l_are_as_many_as_the_fact_sheet_says():
    # ADAPT, section 7: 25 prompts in each block, with the head 624,650 in all.
    model = PromptTuning(length=25, depth="all", attack="adaptive", train_patch_embedding=False)
    trained = [p for p in model.prepare(meta("vit_l_patch4")).parameters() if p.requires_grad]
    assert sum(parameter.numel() for parameter in trained) == 614_400 + 10_250 == 624_650


@pytest.mark.parametrize("tuning", [Lora, FullLora])
@pytest.mark.parametrize("name", ["deit_tiny_patch4", "vit_cifar_small"])
def test_lora_fits_vision_transformers_of_other_sizes(name, tuning):
    width, depth = (BACKBONES[name]["parameters"][key] for key in ("width", "depth"))
    ratio = BACKBONES[name]["parameters"].get("mlp_ratio", 4.0)
    with torch.device("meta"):
        model = tuning(rank=8).prepare(meta(name))
    trained = {n: p for n, p in model.named_parameters() if p.requires_grad and not n.startswith("head.")}
    low_rank = sum(p.numel() for n, p in trained.items() if ".norm." not in n)
    # A site of `inputs` and `outputs` takes rank (inputs + outputs): q, k, v and proj 2 D, fc1 and fc2 (1 + ratio) D.
    assert low_rank == depth * 8 * width * (4 * 2 + 2 * (1 + ratio))
    assert any(isinstance(module, SplitQKV) for module in model.modules())
    assert model(torch.empty(2, *BACKBONES[name]["shape"], device="meta")).shape == (2, 10)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"gflops": 8.17}, "unknown key 'gflops'.*did you mean 'gflop'"),
        ({"shape": None}, "the key 'shape' is missing"),
        ({"weights": 0.5}, "weights: 0.5 is not a valid value"),
        ({"normalisation": {"std": [0]}}, r"normalisation\.std\.0: 0 is not a valid value"),
        ({"head": {"parameters": {}}}, "head: the key 'implementation' is missing"),
    ],
)
def test_a_wrong_entry_is_an_error(change, message, document):
    with pytest.raises(ConfigError, match=f"(?s){message}"):
        document("backbones", {"backbones": {"tiny": change}})
