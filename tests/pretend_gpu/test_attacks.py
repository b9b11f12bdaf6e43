"""Every kind of attack on the pretend GPU, from a checkpoint to a ledger: the outcomes are those of the CPU.

AutoAttack takes most of a minute: it is marked `hpc`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from robustft.config.load import load_document
from robustft.data.imagefile import save
from robustft.evaluate.ledger import read_ledger
from robustft.evaluate.step import attack
from robustft.files import ROOT
from robustft.models.checkpoint import save_checkpoint
from robustft.models.classifier import build_classifier
from robustft.runtime.context import Context
from tests.pretend_gpu.device import pretend_gpu

CONFIG = ROOT / "config"
BACKBONES = load_document(CONFIG / "backbones.yaml", "backbones").values["backbones"]
ATTACKS = load_document(CONFIG / "attacks.yaml", "attacks").values["attacks"]
CLASSES, IMAGES = 5, 8
TARGETS = {"prompts": "vit_digits_patch4", "pmg_aft": "clip_scenes"}
"""The backbone of an attack that is made on a part of a model."""


def cut(attack: dict[str, Any]) -> dict[str, Any]:
    """Return an attack with few steps and queries."""
    parameters = {**attack.get("parameters", {})}
    parameters |= {key: least for key, least in (("steps", 2), ("queries", 20)) if key in parameters}
    few = {"steps": min(attack["steps"], 2)} if "steps" in attack else {}
    queries = {"square_queries": 10} if attack["algorithm"] == "autoattack" else {}
    return {**attack, **few, **queries, **({"parameters": parameters} if parameters else {})}


def kinds() -> dict[str, dict[str, Any]]:
    """Return an attack of each kind by name: those of one kind differ in numbers alone."""
    found: dict[tuple[Any, ...], tuple[str, dict[str, Any]]] = {}
    for name, entry in ATTACKS.items():
        keys = ("algorithm", "implementation", "objective", "start", "target")
        norm = (entry.get("threat") or {}).get("norm")
        found.setdefault((*(entry.get(key) for key in keys), norm), (name, entry))
    return {name: cut({"name": name, **entry}) for name, entry in found.values()}


KINDS = kinds()


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """Return the files of a backbone: a fresh checkpoint, and images that it classifies as they are labelled."""
    made: dict[str, dict[str, Any]] = {}

    def of(name: str) -> dict[str, Any]:
        if name not in made:
            folder, backbone = tmp_path_factory.mktemp(name), {"name": name, **BACKBONES[name]}
            torch.manual_seed(0)
            prompts = [f"thing {n}" for n in range(CLASSES)] if "TextHead" in str(backbone.get("head")) else None
            shape = backbone["shape"]
            model = build_classifier(backbone, shape=shape, classes=CLASSES, prompts=prompts).eval()
            about = {"backbone": backbone, "shape": shape, "classes": CLASSES, "prompts": prompts}
            save_checkpoint(folder / "checkpoint", model, about=about)
            pixels = (torch.rand(IMAGES, *shape) * 255).round().to(torch.uint8)
            with torch.no_grad():
                labels = model(pixels.float() / 255).argmax(1)
            save(
                folder / "data",
                images=pixels.numpy(),
                labels=labels.numpy(),
                splits={"toy/test": np.arange(IMAGES)},
                about={"levels": 255, "datasets": {"toy": {"classes": list(range(CLASSES))}}},
            )
            made[name] = {"checkpoint": folder / "checkpoint", "data": folder / "data"}
        return made[name]

    return of


def measured(inputs: dict[str, Any], entry: dict[str, Any], device: str, folder: Any) -> dict[str, Any]:
    folder.mkdir()
    spec = {
        **{"models": ["-"], "derivation": None, "prompts": None, "dataset": "toy", "split": "test"},
        **{"images": [0, IMAGES], "shard_images": 4, "threat": {"norm": "linf", "eps": "1/20"}, "attacks": [entry]},
        **{"seed": 0, "device": device, "threads": 1, "optimizations": {"channels_last": False}},
    }
    context = Context(inputs, {"ledger": folder / "ledger"}, folder, log=lambda _: None)
    attack(spec, context)
    return read_ledger(folder / "ledger")


@pytest.mark.usefixtures("torch_settings_restored")
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.hpc if name == "autoattack" else ()) for name in KINDS]
)
def test_an_attack_has_the_outcomes_of_the_cpu(name, inputs, tmp_path):
    entry = KINDS[name]
    part_of_a_model = entry.get("target", "").split(":")[0].rpartition(".")[2]
    files = inputs(TARGETS.get(part_of_a_model, "resnet_digits"))
    on_cpu = measured(files, entry, "cpu", tmp_path / "cpu")[name]
    with pretend_gpu() as gpu:
        on_gpu = measured(files, entry, "cuda", tmp_path / "gpu")[name]
        assert gpu.kernels
    assert on_cpu.prediction.tolist() == on_gpu.prediction.tolist()
    # On a GPU `elastic` gathers neighbours: the same up to rounding.
    assert on_gpu.distance == pytest.approx(on_cpu.distance, rel=1e-5, abs=1e-6)
