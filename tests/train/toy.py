"""A small training problem: noisy grey patterns of five classes, and the specification to train on them.

Imported by the tests beside it and, as a plain module, by the processes that `test_distributed.py` starts.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import torch
from torch import nn

from robustft.data.batches import Images
from robustft.methods.protocol import Method, PretrainingContext
from robustft.models.classifier import Classifier, build_classifier
from robustft.parallel.group import World
from robustft.runtime.context import Context
from robustft.train.loop import Trainer

CPU = torch.device("cpu")

BACKBONE = {
    "name": "tiny",
    "implementation": "robustft.models.backbones.resnet:ResNet",
    "parameters": {"width": 4, "blocks": [1, 1]},
    "normalisation": {"mean": [0.3], "std": [0.4]},
}

SPEC: dict[str, Any] = {
    "seed": 0,
    "method": {"name": "toy", "implementation": "-", "parameters": {}, "tuning": None},
    "backbone": BACKBONE,
    "split": "train",
    "initial": None,
    "auxiliary": None,
    "dataset": {
        "name": "toy",
        "shape": [1, 8, 8],
        "classes": [0, 1, 2, 3, 4],
        "splits": {"train": 20, "validation": 8, "test": 8},
        "augmentation": {"pad": 1, "flip": True},
        "prompts": None,
    },
    "threat": {"norm": "linf", "eps": "1/20"},
    "training_attack": {"steps": 2, "step_over_eps": "1/2"},
    "optimizations": {},
    "fused_optimizer": True,
    "recipe": {
        "epochs": 2,
        "batch_size": 4,
        "optimizer": "sgd",
        "lr": 0.05,
        "momentum": 0.9,
        "nesterov": False,
        "weight_decay": 0.01,
        "schedule": "steps",
        "milestones": [1],
        "gamma": 0.1,
        "precision": "float32",
        "selection": "last",
    },
    "monitor": {
        "attack": {"objective": "cross_entropy", "steps": 2, "step_over_eps": "1/2", "start": "uniform"},
        "every_epochs": 1,
        "images": 8,
    },
    "diagnostics": {"steps_per_epoch": 1},
}


def spec(*, recipe: dict[str, Any] | None = None, **parts: Any) -> dict[str, Any]:
    """The specification above with some parts replaced, of the recipe only the values given."""
    result = {**copy.deepcopy(SPEC), **parts}
    result["recipe"].update(recipe or {})
    return result


def images(n: int, *, seed: int) -> Images:
    """`n` images with pixels 0..16."""
    patterns = torch.rand(5, 1, 8, 8, generator=torch.Generator().manual_seed(1234))
    y = torch.arange(n) % 5
    noise = 0.15 * torch.randn(n, 1, 8, 8, generator=torch.Generator().manual_seed(seed))
    pixels = (16 * (patterns[y] + noise)).round().clamp(0, 16).to(torch.uint8)
    return Images(pixels, y, 16)


def splits(*, train: int = 11) -> dict[str, Images]:
    """Eleven images in batches of four: three steps an epoch, the last one smaller and odd."""
    return {"train": images(train, seed=1), "validation": images(8, seed=2), "test": images(9, seed=3)}


def network(*, seed: int = 5, dropout: bool = False, batch_norm: bool = True) -> Classifier:
    """A fresh network, if wished with dropout before the head or without batch norm."""
    torch.manual_seed(seed)
    made = build_classifier(BACKBONE, shape=[1, 8, 8], classes=5)
    if dropout:
        made.head = nn.Sequential(nn.Dropout(0.5), made.head)
    return made if batch_norm else _without_batch_norm(made)


def _without_batch_norm(module: Any) -> Any:
    for name, child in module.named_children():
        setattr(module, name, nn.Identity() if isinstance(child, nn.BatchNorm2d) else _without_batch_norm(child))
    return module


def context(scratch: Path, *, every: int = 1) -> Context:
    """A context that stores the resume state every so many steps and says nothing."""
    return Context(inputs={}, outputs={}, scratch=scratch, settings={"save_every_steps": every}, log=lambda line: None)


def trainer(
    method: Method,
    scratch: Path,
    *,
    spec: dict[str, Any] = SPEC,
    model: Classifier | None = None,
    every: int = 1,
    train: int = 11,
    world: World | None = None,
    auxiliary: Images | None = None,
    start: PretrainingContext | None = None,
) -> Trainer:
    """A trainer as a fresh process would make it."""
    return Trainer(
        spec,
        method=method,
        model=model or network(),
        splits=splits(train=train),
        context=context(scratch, every=every),
        world=world,
        auxiliary=auxiliary,
        start=start,
    )


def content(module: nn.Module) -> dict[str, bytes]:
    """Every tensor of a model as bytes: equal means equal to the last bit, signs of zero among it."""
    return {name: value.contiguous().numpy().tobytes() for name, value in module.state_dict().items()}
