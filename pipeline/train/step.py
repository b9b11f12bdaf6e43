"""The `train` step: from a specification to a checkpoint and a history."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from pipeline.context import Context
from pipeline.data.imagefile import load_split
from pipeline.files import atomic_path, read_json, write_json
from pipeline.methods.protocol import build_method
from pipeline.models.checkpoint import load_strict, read_checkpoint, save_checkpoint
from pipeline.models.classifier import Classifier, build_classifier
from pipeline.train.batches import Images
from pipeline.train.device import describe, devices_for, set_up
from pipeline.train.distributed import World, launch
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
    processes = spec["processes"]
    with devices_for(spec["device"], count=processes, threads=spec["threads"], say=context.say) as devices:
        context.facts.update(describe(devices[0]), processes=processes)
        if processes == 1:
            train_on(devices[0], spec, context, world=World())
            return
        facts = context.scratch / "facts.json"
        launch(processes, _member, devices, spec, replace(context, say=print), facts)
        context.facts.update(read_json(facts))


def _member(rank: int, devices: list[torch.device], spec: dict[str, Any], context: Context, facts: Path) -> None:
    """Train as one of several processes; the first one speaks and writes."""
    device = devices[rank]
    set_up(device, threads=spec["threads"])
    world = World.join(device)
    train_on(device, spec, context if rank == 0 else replace(context, say=_silent), world=world)
    if rank == 0:
        write_json(facts, context.facts)
    world.leave()


def _silent(_: str) -> None:
    """Say nothing."""


def train_on(device: torch.device, spec: dict[str, Any], context: Context, *, world: World) -> None:
    """Train one run on one device, alone or as a member of a group; the first member writes the outputs."""
    data, name = context.inputs["data"], spec["dataset"]["name"]
    splits = {
        split: Images.of(load_split(data, dataset=name, split=split), device)
        for split in ("train", "validation", "test")
    }
    model = initial_model(spec, context.inputs.get("initial")).to(device)
    method = build_method(spec["method"])
    trainer = Trainer(spec, method=method, model=model, splits=splits, context=context, world=world)
    history = trainer.run()
    if world.rank:
        return
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


def write_history(path: Path, rows: list[dict[str, float]]) -> None:
    """Write one line an epoch; a value that was not measured in an epoch is empty."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    with atomic_path(path) as part, open(part, "w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, columns, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
