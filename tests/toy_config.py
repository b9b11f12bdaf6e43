"""A small configuration of its own: one paper, few images, tiny networks. Tests of the plan and of whole steps use it.

`write` puts it into a folder; a test states what is different by naming the values that it replaces.
"""

from __future__ import annotations

import copy
import shutil
from pathlib import Path
from typing import Any

import yaml

from robustft.config.load import Config, merged
from robustft.files import ROOT

OPTIMIZATIONS = dict.fromkeys(("folded_batch_norm", "channels_last", "needed_tokens", "settled_images"), True)

RECIPE = {
    "epochs": 2,
    "batch_size": 8,
    "optimizer": "sgd",
    "lr": 0.05,
    "momentum": 0.9,
    "nesterov": False,
    "weight_decay": 0.0005,
    "schedule": "constant",
    "milestones": [],
    "gamma": 0.1,
    "precision": "float32",
    "selection": "best_validation",
}

HOW = {
    "recipe": RECIPE,
    "training_attack": {"steps": 1, "step_over_eps": 1},
    "monitor": {"attack": "fgsm", "every_epochs": 1, "images": 8},
    "diagnostics": {"steps_per_epoch": 0},
}
"""How a run is trained."""

SPLITS = {"train": 24, "validation": 10, "test": 20}
VIEW = {"source": "digits", "splits": SPLITS, "split_seed": 0, "augmentation": {"pad": 0, "flip": False}}


def pretraining(**changes: Any) -> dict[str, Any]:
    """A pre-training on the low digits, the entry of a paper's or a scale's file."""
    entry = {
        "title": "T",
        "dataset": "low",
        "backbone": "tiny",
        "method": "standard",
        "seed": 0,
        "threat": {"norm": "linf", "eps": "1/5"},
        **HOW,
    }
    return merged(copy.deepcopy(entry), changes)


def part(implementation: str, **parameters: Any) -> dict[str, Any]:
    """An entry with an implementation and its parameters."""
    return {"implementation": implementation, "parameters": parameters}


AT = "robustft.methods.adversarial_training:AdversarialTraining"
STANDARD = "robustft.methods.standard:Standard"
PARTIAL = "robustft.models.tunings.protocol:Partial"


def method(implementation: str | None = None, **more: Any) -> dict[str, Any]:
    """A method's entry."""
    return {"title": "M", "color": "#000000", **({"implementation": implementation} if implementation else {}), **more}


def files() -> dict[str, Any]:
    """The content of every file, by its path without the ending."""
    digits = yaml.safe_load((ROOT / "config" / "datasets.yaml").read_text(encoding="utf-8"))["sources"]["digits"]
    pgd = {"title": "P", "algorithm": "pgd", "objective": "cross_entropy", "start": "none", "target": "exported_model"}
    return {
        "config": {"scale": "small", "papers": "all", "optimizations": OPTIMIZATIONS},
        "images": yaml.safe_load((ROOT / "config" / "images.yaml").read_text(encoding="utf-8")),
        "datasets": {
            "sources": {"digits": digits, "spare": {**digits, "title": "A source that nothing needs"}},
            "datasets": {
                "low": {**VIEW, "title": "Low digits", "classes": [0, 1, 2]},
                "high": {**VIEW, "title": "High digits", "classes": [7, 8, 9]},
                "named": {
                    **VIEW,
                    "title": "Named digits",
                    "classes": [5, 6],
                    "names": ["five", "six"],
                    "template": "the digit {}",
                },
                "spared": {**VIEW, "title": "Never used", "source": "spare", "classes": [0, 1]},
            },
        },
        "attacks": {
            "attacks": {
                "clean": {"title": "Clean", "algorithm": "none"},
                "fgsm": {**pgd, "title": "FGSM", "steps": 1, "step_over_eps": 1},
                "pgd2": {**pgd, "title": "PGD-2", "steps": 2, "step_over_eps": "1/2"},
            }
        },
        "backbones": {
            "backbones": {
                "tiny": {
                    "title": "Tiny",
                    "implementation": "robustft.models.backbones.resnet:ResNet",
                    "parameters": {"width": 4, "blocks": [1, 1]},
                    "normalisation": {"mean": [0.3], "std": [0.4]},
                    "shape": [1, 8, 8],
                    "gflop": 0.0001,
                    "weights": 1000,
                }
            }
        },
        "methods": {"methods": {"standard": method(STANDARD, title="Standard"), "at": method(AT, title="AT")}},
        "papers/toy/paper": {
            "paper": "toy",
            "title": "T",
            "authors": ["A"],
            "venue": "V",
            "arxiv": "-",
            "code": "-",
            "experiments": {
                "main": {
                    "datasets": ["high"],
                    "backbone": "tiny",
                    "pretraining": "low_standard",
                    "seeds": [0, 1],
                    "methods": ["at", "partial"],
                    "evaluations": ["robustness"],
                    **HOW,
                }
            },
            "threat": {"norm": "linf", "eps": {"value": "1/5", "basis": "released", "source": "a script"}},
            "evaluations": {
                "robustness": {"attacks": ["clean", "fgsm"], "split": "test", "shard_images": 10, "parts": 1}
            },
            "methods": {
                "partial": method(STANDARD, title="Partial", tuning=part(PARTIAL, frozen=["backbone.stem"])),
            },
            "tables": {"main": {"title": "T", "experiment": "main", "columns": ["clean", "fgsm"], "caption": "C"}},
            "figures": {},
            "claims": [
                {
                    "id": "robust",
                    "statement": "AT is more robust",
                    "kind": "ordering",
                    "experiment": "main",
                    "left": "at",
                    "right": "partial",
                    "metric": "fgsm",
                    "source": "S",
                    "confidence": "direct",
                }
            ],
            "deviations": [],
        },
        "scales/small": {
            "scale": "small",
            "about": "For tests.",
            "reproduces": False,
            "device": "cpu",
            "threads": 1,
            "processes": 1,
            "bundle": 1,
            "resources": {stage: {"mem_mb": 1000, "runtime_min": 5} for stage in ("data", "train", "attack", "report")},
            "save_every_steps": 2,
            "stand_ins": {
                "datasets": {name: name for name in ("low", "high", "named", "spared")},
                "backbones": {"tiny": "tiny"},
                "pretraining": {},
            },
            "pretraining": {"low_standard": pretraining()},
            "papers": {},
        },
    }


def write(folder: Path, **changes: dict[str, Any]) -> Config:
    """Write the configuration with some values replaced (paper=, scale=, datasets=, ...) and read it."""
    content = files()
    names = {"paper": "papers/toy/paper", "scale": "scales/small"}
    for key, change in changes.items():
        name = names.get(key, key)
        content[name] = merged(content.get(name, {}), change)
    shutil.rmtree(folder, ignore_errors=True)
    for name, values in content.items():
        path = folder / f"{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(yaml.safe_dump(values, sort_keys=False), encoding="utf-8")
    return Config(folder=folder)


def paper(*, experiment: dict[str, Any] | None = None, **parts: Any) -> dict[str, Any]:
    """A change of the paper, of its one experiment only the values given."""
    return {**parts, **({"experiments": {"main": experiment}} if experiment else {})}
