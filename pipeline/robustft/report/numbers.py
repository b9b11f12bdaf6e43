"""The `numbers` step: every accuracy of a paper, counted from its ledgers, with its sanity checks."""

from __future__ import annotations

import csv
from collections import defaultdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from robustft.errors import IntegrityError
from robustft.evaluate.ledger import Outcome, read_checks, read_ledger
from robustft.files import sha256_file, write_json
from robustft.report.sanity_checks import Expected, Judged, judge
from robustft.report.statistics import mean, sample_sd, wilson
from robustft.report.training_metrics import TRAINING_METRICS
from robustft.runtime.context import Context


def numbers(spec: dict[str, Any], context: Context) -> None:
    """Write numbers.json, and its means in a nested form without lists for `dvc metrics`."""
    content = compute(spec, context.inputs)
    write_json(context.outputs["numbers"], content)
    write_json(context.outputs["metrics"], metrics(content))


CELL = ("experiment", "trained_on", "evaluation", "split", "dataset", "transfer_eval", "method", "attack")
"""The parts that identify a cell: images of one split, attacked by one evaluation. A metric of training has neither."""

History = list[dict[str, str]]
"""The lines of a history file."""


def _best_epoch(rows: History) -> int | None:
    """Return the first epoch with the highest robust validation accuracy; None without validation images."""
    validated = [row for row in rows if row.get("robust_validation")]
    if not validated:
        return None
    return int(max(validated, key=lambda row: (float(row["robust_validation"]), -int(row["epoch"])))["epoch"])


def trainings(spec: dict[str, Any], histories: dict[str, Path]) -> list[dict[str, Any]]:
    """Return one entry for each run and metric of `TRAINING_METRICS`, with its value.

    A derived run has no epochs. Its trained parameters are those of all runs that it is derived from.
    """
    entries = []
    for run in spec["trainings"]:
        run_histories = [_history(histories[name]) for name in run["histories"]]
        values = {"trained_parameters": sum(int(rows[-1]["trained_parameters"]) for rows in run_histories)}
        if run["trained"] and (best := _best_epoch(run_histories[0])) is not None:
            values["epochs_to_best"] = best
        identity = {part: run[part] for part in ("experiment", "dataset", "method", "seed")}
        entries += [
            {**identity, "metric": name, "value": value, "unit": TRAINING_METRICS[name].unit}
            for name, value in values.items()
        ]
    return entries


def _history(path: Path) -> History:
    with open(path, newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def joined(parts: list[Outcome]) -> Outcome:
    """Join the outcomes of one attack over the parts of an evaluation. An image in two parts is an IntegrityError."""
    first = parts[0]
    arrays = {
        name: np.concatenate([getattr(part, name) for part in parts])
        for name in ("image", "label", "prediction", "distance", "broken_by")
    }
    if len(np.unique(arrays["image"])) != len(arrays["image"]):
        raise IntegrityError(f"an image is in two parts of the evaluation under {first.attack}")
    return Outcome(attack=first.attack, **arrays)


class Evaluated(NamedTuple):
    """One run's model on the images of one split of one data set, as one evaluation attacks them."""

    experiment: str
    trained_on: str
    evaluation: str
    split: str
    dataset: str
    transfer_eval: bool
    method: str
    seed: int
    threat: tuple[str, str]
    """Norm and eps, unless an attack has its own."""

    @classmethod
    def of(cls, member: dict[str, Any]) -> Evaluated:
        """Return what a ledger is about; a larger evaluation has several ledgers."""
        values = {name: member[name] for name in cls._fields if name != "threat"}
        return cls(**values, threat=(member["threat"]["norm"], str(member["threat"]["eps"])))

    @property
    def images(self) -> Evaluated:
        """The same for every evaluation of these images under this threat: what sanity checks compare."""
        return self._replace(evaluation="")


def _grouped(members: list[dict[str, Any]]) -> dict[Evaluated, list[dict[str, Any]]]:
    grouped: dict[Evaluated, list[dict[str, Any]]] = defaultdict(list)
    for member in members:
        grouped[Evaluated.of(member)].append(member)
    return grouped


def _judged(members: list[dict[str, Any]], ledgers: dict[str, Path]) -> dict[str, Judged]:
    """Return the outcomes of one evaluation by attack, with the checks and ledgers behind them."""
    outcomes: dict[str, list[Outcome]] = defaultdict(list)
    checks: dict[str, list[dict[str, float]]] = defaultdict(list)
    sources: dict[str, list[str]] = defaultdict(list)
    for member in members:
        path = ledgers[member["ledger"]]
        ledger, stored = read_ledger(path), read_checks(path)
        for attack in member["attacks"]:
            if attack not in ledger:
                raise IntegrityError(f"the ledger has no rows for {attack}", where=path)
            outcomes[attack].append(ledger[attack])
            checks[attack] += [stored.get("model", {}), stored.get(attack, {})]
            sources[attack].append(member["ledger"])
    return {attack: Judged(joined(parts), checks[attack], sources[attack]) for attack, parts in outcomes.items()}


def compute(spec: dict[str, Any], files: dict[str, Path]) -> dict[str, Any]:
    """Return the content of numbers.json, from ledgers and histories by role.

    `measurements` has one entry for each run, evaluation, data set and attack: images, correct, accuracy (their
    quotient), Wilson's 95 % interval, ledgers with their SHA-256, and sanity checks. `trainings` has one entry for each
    training and metric of `TRAINING_METRICS`. `cells` has the mean and sample standard deviation over seeds of both.
    """
    measurements, training_values = _measurements(spec, files), trainings(spec, files)
    return {
        "scale": spec["scale"],
        "paper": spec["paper"],
        "reproduces": spec["reproduces"],
        "measurements": measurements,
        "trainings": training_values,
        "cells": _cells(measurements) + _training_cells(training_values),
    }


def _measurements(spec: dict[str, Any], files: dict[str, Path]) -> list[dict[str, Any]]:
    ledgers = {member["ledger"]: files[member["ledger"]] for member in spec["members"]}
    evaluated = {key: _judged(members, ledgers) for key, members in _grouped(spec["members"]).items()}
    # A check compares attacks on the same images, which may be of several evaluations. Their numbers stay apart.
    together: dict[Evaluated, dict[str, Judged]] = defaultdict(dict)
    undefended: dict[tuple[str, str, str], dict[str, Judged]] = defaultdict(dict)
    for key, attacks in evaluated.items():
        together[key.images] = attacks | together[key.images]
        undefended[key.experiment, key.dataset, key.split] |= attacks
    hashes = {role: sha256_file(path) for role, path in ledgers.items()}
    entries = []
    for key, attacks in evaluated.items():
        control = undefended.get((spec["controls"].get(key.experiment), key.dataset, key.split))
        beside = together[key.images] | attacks
        for attack in attacks:
            checks = judge(attack, beside, control, Expected.of(spec["checks"].get(attack)))
            entries.append(_measurement(key, attack, attacks[attack], hashes) | {"checks": checks})
    return entries


def _measurement(key: Evaluated, attack: str, judged: Judged, hashes: dict[str, str]) -> dict[str, Any]:
    """Return the entry of one evaluation and attack, without its sanity checks."""
    correct, images = int(judged.outcome.correct.sum()), len(judged.outcome.image)
    suffix = f"@{key.dataset}" if key.transfer_eval else ""
    run = f"{key.experiment}/{key.trained_on}/{key.method}/seed{key.seed}"
    identity = {part: getattr(key, part) for part in CELL if part != "attack"}
    return {
        "id": f"{run}/{key.evaluation}{suffix}/{attack}",
        **identity,
        "attack": attack,
        "seed": key.seed,
        "images": images,
        "correct": correct,
        "accuracy": correct / images,
        "interval": list(wilson(correct, images)),
        "ledgers": [{"step": step, "sha256": hashes[step]} for step in judged.sources],
    }


def metrics(numbers: dict[str, Any]) -> dict[str, Any]:
    """Return the mean accuracies as {experiment: {evaluation: {data: {method: {attack: mean}}}}}.

    Data is the data set, and before it, if the evaluation lists its own, the one trained on: `TRAINED_ON/DATASET`.
    """
    nested: dict[str, Any] = {}
    for cell in numbers["cells"]:
        if cell["unit"] != "share":
            continue
        branch = nested
        data = f"{cell['trained_on']}/{cell['dataset']}" if cell["transfer_eval"] else cell["dataset"]
        for key in (cell["experiment"], cell["evaluation"], data, cell["method"]):
            branch = branch.setdefault(key, {})
        branch[cell["attack"]] = cell["mean"]
    return nested


def _cells(measurements: list[dict[str, Any]]) -> list[dict[str, Any]]:
    grouped: dict[tuple[str, ...], list[dict[str, Any]]] = defaultdict(list)
    for measurement in measurements:
        key = tuple(measurement[part] for part in CELL)
        grouped[key].append(measurement)
    cells = []
    for key, group in grouped.items():
        values = [measurement["accuracy"] for measurement in group]
        cells.append(
            {
                **dict(zip(CELL, key, strict=True)),
                "seeds": [measurement["seed"] for measurement in group],
                "images": group[0]["images"],
                "unit": "share",
                "mean": mean(values),
                "sd": sample_sd(values),
                "failed_checks": sorted({c["check"] for m in group for c in m["checks"] if not c["ok"]}),
            }
        )
    return cells


def _training_cells(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    grouped: dict[tuple[str, ...], list[dict[str, Any]]] = defaultdict(list)
    for entry in entries:
        grouped[tuple(entry[part] for part in ("experiment", "dataset", "method", "metric"))].append(entry)
    return [
        {
            "experiment": experiment,
            "trained_on": dataset,
            "evaluation": None,
            "split": None,
            "dataset": dataset,
            "transfer_eval": False,
            "method": method,
            "attack": metric,
            "seeds": [entry["seed"] for entry in group],
            "images": 0,
            "unit": group[0]["unit"],
            "mean": mean([entry["value"] for entry in group]),
            "sd": sample_sd([entry["value"] for entry in group]),
            "failed_checks": [],
        }
        for (experiment, dataset, method, metric), group in grouped.items()
    ]
