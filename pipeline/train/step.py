"""The `train` step: from a specification to a checkpoint and a history."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import torch

from pipeline.data.imagefile import load_split
from pipeline.files import atomic_path
from pipeline.methods.protocol import build_method
from pipeline.models.checkpoint import load_strict, read_checkpoint, save_checkpoint
from pipeline.models.classifier import Classifier, build_classifier
from pipeline.step import Context
from pipeline.train.batches import Images
from pipeline.train.device import describe, device_for
from pipeline.train.distributed import World
from pipeline.train.loop import Trainer
from pipeline.train.randomness import counter_seed


def initial_model(spec: dict[str, Any], initial: Path | None) -> Classifier:
    """Build the model with weights drawn from the seed; with `initial`, all but the head come from that checkpoint."""
    torch.manual_seed(counter_seed(spec["seed"], "weights"))
    dataset = spec["dataset"]
    model = build_classifier(spec["backbone"], shape=dataset["shape"], classes=len(dataset["classes"]))
    if initial is not None:
        tensors, _ = read_checkpoint(initial)
        load_strict(model, tensors, where=initial, without_head=True)
    return model


def train(spec: dict[str, Any], context: Context) -> None:
    """Train one run and write its checkpoint (what the method exports for test time) and its history."""
    with device_for(spec["device"], threads=spec["threads"], say=context.say) as device:
        context.facts.update(describe(device))
        world = World.join(device)
        data, name = context.inputs["data"], spec["dataset"]["name"]
        splits = {
            split: Images.of(load_split(data, dataset=name, split=split), device)
            for split in ("train", "validation", "test")
        }
        model = initial_model(spec, context.inputs.get("initial")).to(device)
        method = build_method(spec["method"])
        trainer = Trainer(spec, method=method, model=model, splits=splits, context=context, world=world)
        history = trainer.run()
        if world.rank == 0:
            about = {
                "backbone": spec["backbone"],
                "shape": spec["dataset"]["shape"],
                "classes": len(spec["dataset"]["classes"]),
                "dataset": name,
                "method": spec["method"],
                "seed": spec["seed"],
                "scale": spec["scale"],
            }
            save_checkpoint(context.outputs["checkpoint"], method.export(trainer.model), about=about)
            write_history(context.outputs["history"], history)
        world.leave()


def write_history(path: Path, rows: list[dict[str, float]]) -> None:
    """Write one line an epoch; a value that was not measured in an epoch is empty."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    with atomic_path(path) as part, open(part, "w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, columns, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
