"""The `numbers` step: every accuracy of a paper, counted from its ledgers, with its sanity alarms."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.context import Context
from pipeline.errors import IntegrityError
from pipeline.evaluate.ledger import Outcome, read_checks, read_ledger
from pipeline.files import sha256_file, write_json
from pipeline.report.alarms import Judged, judge
from pipeline.report.statistics import mean, sample_sd, wilson


def numbers(spec: dict[str, Any], context: Context) -> None:
    """Write numbers.json, and of its means a nested form without lists for `dvc metrics`."""
    found = compute(spec, context.inputs)
    write_json(context.outputs["numbers"], found)
    write_json(context.outputs["metrics"], metrics(found))


def joined(parts: list[Outcome]) -> Outcome:
    """Join the outcomes of one attack over the parts of an evaluation. An image in two parts is an error."""
    first = parts[0]
    arrays = {
        name: np.concatenate([getattr(part, name) for part in parts])
        for name in ("image", "label", "prediction", "distance", "broken_by")
    }
    if len(np.unique(arrays["image"])) != len(arrays["image"]):
        raise IntegrityError(f"an image is in two parts of the evaluation under {first.attack}")
    return Outcome(attack=first.attack, **arrays)


def _runs(members: list[dict[str, Any]]) -> dict[tuple[str, str, str, int], list[dict[str, Any]]]:
    grouped: dict[tuple[str, str, str, int], list[dict[str, Any]]] = defaultdict(list)
    for member in members:
        grouped[member["experiment"], member["dataset"], member["method"], member["seed"]].append(member)
    return grouped


def _judged(members: list[dict[str, Any]], ledgers: dict[str, Path]) -> dict[str, Judged]:
    """Return one run's outcomes by attack, with the checks and ledgers behind them."""
    outcomes: dict[str, list[Outcome]] = defaultdict(list)
    checks: dict[str, list[dict[str, float]]] = defaultdict(list)
    sources: dict[str, list[str]] = defaultdict(list)
    for member in members:
        path = ledgers[member["ledger"]]
        found, stored = read_ledger(path), read_checks(path)
        for attack in member["attacks"]:
            if attack not in found:
                raise IntegrityError(f"the ledger has no rows for {attack}", where=path)
            outcomes[attack].append(found[attack])
            checks[attack] += [stored.get("model", {}), stored.get(attack, {})]
            sources[attack].append(member["ledger"])
    return {attack: Judged(joined(parts), checks[attack], sources[attack]) for attack, parts in outcomes.items()}


def compute(spec: dict[str, Any], ledgers: dict[str, Path]) -> dict[str, Any]:
    """Return the content of numbers.json.

    `measurements` has one entry for each run and attack: images, correct, accuracy (their quotient), Wilson's 95 %
    interval, ledgers with their SHA-256, and alarms. `cells` has the mean and sample standard deviation over seeds.
    """
    runs = {key: _judged(members, ledgers) for key, members in _runs(spec["members"]).items()}
    controls: dict[tuple[str, str], dict[str, Judged]] = {}
    for experiment, control in spec["controls"].items():
        for (name, dataset, _, _), found in runs.items():
            if name == control:
                controls[experiment, dataset] = found
    hashes = {role: sha256_file(path) for role, path in ledgers.items()}
    measurements = []
    for (experiment, dataset, method, seed), found in runs.items():
        control = controls.get((experiment, dataset))
        for attack, judged in found.items():
            correct, images = int(judged.outcome.correct.sum()), len(judged.outcome.image)
            measurements.append(
                {
                    "id": f"{experiment}/{dataset}/{method}/seed{seed}/{attack}",
                    "experiment": experiment,
                    "dataset": dataset,
                    "method": method,
                    "seed": seed,
                    "attack": attack,
                    "images": images,
                    "correct": correct,
                    "accuracy": correct / images,
                    "interval": list(wilson(correct, images)),
                    "ledgers": [{"step": step, "sha256": hashes[step]} for step in judged.sources],
                    "checks": judge(attack, found, control),
                }
            )
    return {
        "scale": spec["scale"],
        "paper": spec["paper"],
        "reproduces": spec["reproduces"],
        "measurements": measurements,
        "cells": _cells(measurements),
    }


def metrics(found: dict[str, Any]) -> dict[str, Any]:
    """Return the mean accuracies as {experiment: {data set: {method: {attack: mean}}}}."""
    nested: dict[str, Any] = {}
    for cell in found["cells"]:
        branch = nested
        for part in ("experiment", "dataset", "method"):
            branch = branch.setdefault(cell[part], {})
        branch[cell["attack"]] = cell["mean"]
    return nested


def _cells(measurements: list[dict[str, Any]]) -> list[dict[str, Any]]:
    grouped: dict[tuple[str, ...], list[dict[str, Any]]] = defaultdict(list)
    for measurement in measurements:
        key = tuple(measurement[part] for part in ("experiment", "dataset", "method", "attack"))
        grouped[key].append(measurement)
    cells = []
    for (experiment, dataset, method, attack), group in grouped.items():
        values = [measurement["accuracy"] for measurement in group]
        cells.append(
            {
                "experiment": experiment,
                "dataset": dataset,
                "method": method,
                "attack": attack,
                "seeds": [measurement["seed"] for measurement in group],
                "images": group[0]["images"],
                "mean": mean(values),
                "sd": sample_sd(values),
                "alarms": sorted({c["check"] for m in group for c in m["checks"] if not c["ok"]}),
            }
        )
    return cells
