"""One training of each kind that a plan has, cut to a few tiny steps, on any device."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import torch

from robustft.config.load import Config
from robustft.data.batches import Images
from robustft.data.splits import class_labels
from robustft.methods.protocol import PretrainingContext, build_method
from robustft.models.classifier import Classifier, build_classifier, derived
from robustft.models.tunings.protocol import build_tuning
from robustft.plan import Plan
from robustft.runtime.context import Context
from robustft.train.loop import Trainer

Spec = dict[str, Any]
CLASSES_ELSEWHERE = 12
"""Of a source, and of auxiliary data."""


def kinds(scale: str, *, by: str) -> dict[str, Spec]:
    """Return a specification for each combination of backbone, method and tuning of a scale's trainings, by name.

    `by`: "parameters" tells apart what differs in any parameter, "classes" only what differs in its classes.
    """
    found: dict[str, Spec] = {}
    for step in Plan(Config(scale=scale)).of_kind("train"):
        method, tuning = step.spec["method"], step.spec["method"]["tuning"] or {}
        names = [step.spec["backbone"]["name"], method["implementation"].split(":")[1]]
        names += [tuning.get("implementation", ":all").split(":")[1], step.spec["recipe"]["precision"]]
        if by == "parameters":
            names.append(json.dumps([method["parameters"], tuning.get("parameters")], sort_keys=True, default=str))
        found.setdefault(" ".join(names), step.spec)
    return found


def _prompts(backbone: Spec, classes: int) -> list[str] | None:
    return [f"thing {number}" for number in range(classes)] if "TextHead" in str(backbone.get("head")) else None


def _model(spec: Spec, classes: int) -> Classifier:
    torch.manual_seed(0)
    backbone, initial = spec["backbone"], spec["initial"] or {}
    shape, prompts = spec["dataset"]["shape"], _prompts(backbone, classes)
    model = build_classifier(backbone, shape=shape, classes=classes, prompts=prompts)
    if not initial.get("derivation"):
        return model
    defences = list(initial["derivation"]["parameters"]["defences"])
    hyper = {"implementation": "robustft.models.tunings.hypernetwork:HyperLora"}
    tuned = build_tuning({**hyper, "parameters": {"defences": defences, "rank": 4}}).prepare(model)
    return derived([tuned], initial["derivation"])


def _small(spec: Spec, batch: int) -> Spec:
    spec = copy.deepcopy(spec)
    spec["recipe"].update(batch_size=batch)
    spec["training_attack"] = {**spec["training_attack"], "steps": 2}
    spec["monitor"] = {**spec["monitor"], "images": 2, "every_epochs": 1}
    spec["monitor"]["attack"] = {**spec["monitor"]["attack"], "steps": 1}
    spec["diagnostics"] = {"steps_per_epoch": 1}
    if (spec["dataset"].get("augmentation") or {}).get("random_resized_crop"):
        spec["dataset"]["augmentation"] = {"pad": 0, "flip": True}  # of stored pictures, which are not held on a device
    if spec["auxiliary"]:
        spec["auxiliary"] = {"augmentation": {"pad": 0, "flip": True}}
    return spec


class Training:
    """A trainer on random images; `batch` of them make a step and two steps an epoch."""

    def __init__(self, spec: Spec, device: torch.device, folder: Path, *, batch: int) -> None:
        spec = _small(spec, batch)
        shape, classes = spec["dataset"]["shape"], len(class_labels(spec["dataset"]))
        draws = (
            torch.Generator().manual_seed(0) if device.type == "cpu" else torch.Generator(device="cpu").manual_seed(0)
        )

        def random(n: int, classes: int) -> Images:
            pixels = torch.randint(0, 256, (n, *shape), dtype=torch.uint8, generator=draws)
            return Images(pixels.to(device), (torch.arange(n) % classes).to(device), 255)

        images, method = random(2 * batch, classes), build_method(spec["method"])
        auxiliary = random(4 * CLASSES_ELSEWHERE, CLASSES_ELSEWHERE) if method.uses_auxiliary else None
        source = None
        if method.uses_source:
            backbone = spec["backbone"]
            source = build_classifier(
                backbone, shape=shape, classes=CLASSES_ELSEWHERE, prompts=_prompts(backbone, CLASSES_ELSEWHERE)
            )
            source = source.to(device).requires_grad_(False).eval()
        start = PretrainingContext(
            source,
            lambda: iter([images.take(slice(None))]),
            lambda: iter([auxiliary.take(slice(None))] if auxiliary else []),
        )
        self.trainer = Trainer(
            spec,
            method=method,
            model=_model(spec, classes).to(device),
            splits=dict.fromkeys(("train", "validation", "test"), images),
            context=Context({}, {}, folder, log=lambda _: None),
            start=start,
            auxiliary=auxiliary,
        )

    def step(self, position: int) -> None:
        """Make one training step."""
        self.trainer._train_step(0, position)
        self.trainer.train_state.step += 1

    def end(self) -> None:
        """End the epoch and save."""
        self.trainer._log_losses()
        self.trainer._end_epoch(0)
        self.trainer._save()

    def resumed(self, saved: Training) -> None:
        """Go on where another one saved, and check that nothing is lost."""
        self.trainer._resume()
        assert self.trainer.train_state.step == saved.trainer.train_state.step == 2
        for name, tensor in saved.trainer.model.state_dict().items():
            assert torch.equal(self.trainer.model.state_dict()[name].cpu(), tensor.cpu()), name
        self.trainer._train_step(1, 0)
