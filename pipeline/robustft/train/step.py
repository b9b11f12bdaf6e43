"""The `train` step: from a specification to a checkpoint and a history."""

from __future__ import annotations

import csv
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from robustft.data.batches import Images, in_order
from robustft.data.imagefile import class_texts, load_split
from robustft.data.splits import class_labels
from robustft.errors import ConfigError
from robustft.files import atomic_path, read_json, write_json
from robustft.methods.protocol import Method, PretrainingContext, Tuned, at_test, build_method
from robustft.models.checkpoint import load_classifier, load_strict, read_checkpoint, save_checkpoint
from robustft.models.classifier import Classifier, build_classifier, derived
from robustft.parallel.group import World, launch
from robustft.runtime.context import Context
from robustft.runtime.device import describe, devices_for, peak, set_up
from robustft.runtime.randomness import counter_seed
from robustft.train.diagnostics import loss_along
from robustft.train.loop import Trainer
from robustft.train.tracking import tracker_of

WATCHED = ("validation", "test")
"""Splits that are watched besides the one that is trained on, where the data set has them."""


def initial_model(spec: dict[str, Any], inputs: dict[str, Path]) -> Classifier:
    """Build the model with weights drawn from the seed, and lay over it what the run starts from.

    From a pre-training: the named parts of its checkpoint; without names all but the head, and the head too if it is
    of a kind that transfers (a text tower). From other runs: what the derivation makes of their models.
    """
    torch.manual_seed(counter_seed(spec["seed"], "weights"))
    dataset, initial = spec["dataset"], spec["initial"]
    if initial is not None and initial["from"]:
        return derived([load_classifier(inputs[role])[0] for role in initial["from"]], initial["derivation"])
    model = build_classifier(
        spec["backbone"], shape=dataset["shape"], classes=len(class_labels(dataset)), prompts=dataset["prompts"]
    )
    if initial is not None:
        tensors, _ = read_checkpoint(inputs["initial"])
        transfers = getattr(model.head, "transfers", False)
        tops = {name.split(".")[0] for name in (*model.state_dict(), *tensors)}
        parts = initial["parts"] or ((), sorted(tops - {"head"}))[not transfers]
        load_strict(model, tensors, where=inputs["initial"], parts=parts)
    return model


def start_of(
    spec: dict[str, Any], inputs: dict[str, Path], method: Method, target: Images, auxiliary: Images | None
) -> PretrainingContext:
    """Return what the method may look at before training begins."""
    source = None
    if method.uses_source:
        if "initial" not in inputs:
            raise ConfigError(
                f"the method '{spec['method']['name']}' needs a pre-trained model", expected="a pretraining, not none"
            )
        source = load_classifier(inputs["initial"])[0].to(target.labels.device).requires_grad_(False).eval()
    return PretrainingContext(
        source, partial(in_order, target), partial(in_order, auxiliary) if auxiliary else partial(iter, ())
    )


def train(spec: dict[str, Any], context: Context) -> None:
    """Train one run and write its checkpoint (what the method exports for test time) and its history."""
    processes, launcher = spec["processes"], context.launcher
    count = launcher.local_world_size(processes)
    with devices_for(spec["device"], count=count, threads=spec["threads"], log=context.log) as devices:
        context.facts.update(describe(devices[0]), processes=processes)
        if processes == 1:
            train_on(devices[0], spec, context, world=World())
            context.facts.update(peak(devices[0]))
            return
        facts = context.scratch / "facts.json"
        launch(count, _member, devices, spec, replace(context, log=print), facts, launcher=launcher)
        if launcher.rank == 0:
            context.facts.update(read_json(facts), starts=launcher.count)


def _member(local: int, devices: list[torch.device], spec: dict[str, Any], context: Context, facts: Path) -> None:
    """Train as one of several processes; the first one speaks and writes."""
    device = devices[local]
    set_up(device, threads=spec["threads"])
    world = World.join(device)
    train_on(device, spec, context if world.rank == 0 else replace(context, log=_silent), world=world)
    if world.rank == 0:
        write_json(facts, {**context.facts, **peak(device)})
    world.leave()


def _silent(_: str) -> None:
    """Say nothing."""


def train_on(device: torch.device, spec: dict[str, Any], context: Context, *, world: World) -> None:
    """Train one run on one device, alone or as a member of a group; the first member writes the outputs."""
    data, name = context.inputs["data"], spec["dataset"]["name"]
    roles = {"train": spec["split"], **{role: role for role in WATCHED if role in spec["dataset"]["splits"]}}
    stored = {role: load_split(data, dataset=name, split=split) for role, split in roles.items()}
    splits = {role: Images.of(split, device) for role, split in stored.items()}
    texts = class_texts(spec["dataset"]["prompts"], stored["train"])
    spec = {**spec, "dataset": {**spec["dataset"], "prompts": texts}}
    auxiliary = None
    if spec["auxiliary"] is not None:
        split = load_split(context.inputs["auxiliary"], dataset=spec["auxiliary"]["name"], split="train")
        auxiliary = Images.of(split, device)
    model = initial_model(spec, context.inputs).to(device)
    method = build_method(spec["method"])
    start = start_of(spec, context.inputs, method, splits["train"], auxiliary)
    tracker = tracker_of(context)

    def on_epoch(rows: list[dict[str, float]]) -> None:
        write_history(context.outputs["history"], rows)  # whole at any time, and longer after each epoch
        tracker(rows[-1])

    trainer = Trainer(
        spec,
        method=method,
        model=model,
        splits=splits,
        context=context,
        world=world,
        start=start,
        auxiliary=auxiliary,
        on_epoch=on_epoch,
    )
    history = trainer.run()
    if world.rank:
        return
    about = {
        "backbone": spec["backbone"],
        "shape": spec["dataset"]["shape"],
        "classes": len(class_labels(spec["dataset"])),
        "prompts": texts,
        "tuning": spec["method"]["tuning"] if isinstance(method, Tuned) and method.tuning.attached else None,
        "dataset": name,
        "method": spec["method"],
        "seed": spec["seed"],
        "scale": spec["scale"],
    }
    with at_test(method, trainer.model) as tested:
        if along := spec["diagnostics"].get("loss_along"):
            losses = loss_along(tested, splits["test"], along, threat=spec["threat"], seed=spec["seed"])
            history[-1].update(losses)
        save_checkpoint(context.outputs["checkpoint"], tested, about=about)
    write_history(context.outputs["history"], history)


def write_history(path: Path, rows: list[dict[str, float]]) -> None:
    """Write one line an epoch; a value that was not measured in an epoch is empty."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    with atomic_path(path) as part, open(part, "w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, columns, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
