"""Compare what the cost model predicts with what finished steps took, by their records.

    python benchmarks/observed.py results --scale demo

Reads every record of the training and attack steps of a scale, predicts the seconds of each from its specification
alone, and stores observed over predicted in benchmarks/observed/: in all, and for each method and kind of attack.
The first step of each process is left out: it imports torch, which is no part of a step's own work.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from robustft.config.load import load_document
from robustft.cost.machines import Machine, machine_for
from robustft.cost.passes import ONE_MODEL, class_count
from robustft.files import ROOT, read_json, write_json


def records(folder: Path, scale: str) -> dict[str, dict[str, Any]]:
    """Return the records of a scale and of the data by `kind:id`."""
    paths = [*(folder / "data").glob("*.record.json"), *(folder / scale).glob("**/*.record.json")]
    return {f"{record['step']['kind']}:{record['step']['id']}": record for record in map(read_json, sorted(paths))}


def networks(record: dict[str, Any], by_output: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the specifications of the networks that an image passes in an attack: one of a merge, all of an ensemble.

    `by_output` has the record of the step that wrote each file.
    """
    paths = [entry["path"] for role, entry in record["inputs"].items() if role.startswith("checkpoint")]
    specs = [by_output[path]["step"]["spec"] for path in paths]
    derivation = record["step"]["spec"]["derivation"] or {}
    return specs[:1] if derivation.get("implementation") in ONE_MODEL else specs


def group(spec: dict[str, Any], kind: str) -> str:
    """Return the name of a step's group: its method, or the costliest kind of attack of its evaluation."""
    if kind == "train":
        return f"train {spec['method']['implementation'].removeprefix('robustft.methods.')}"
    algorithms = {attack["algorithm"] for attack in spec["attacks"]}
    return (
        "attack autoattack"
        if "autoattack" in algorithms
        else f"attack {'gradient' if algorithms - {'none'} else 'none'}"
    )


def compared(
    steps: dict[str, dict[str, Any]], machine: Machine, backbones: dict[str, Any]
) -> Iterator[tuple[str, float, float]]:
    """Yield for each training and attack step its group, the seconds predicted and those observed."""
    by_output = {entry["path"]: record for record in steps.values() for entry in record["outputs"].values()}
    pids: set[tuple[str, int]] = set()
    for record in sorted(steps.values(), key=lambda record: record["circumstances"]["started"]):
        process = (record["circumstances"]["host"], record["circumstances"]["pid"])
        if process not in pids:
            pids.add(process)
            continue
        spec, kind = record["step"]["spec"], record["step"]["kind"]
        if kind == "train":
            predicted = machine.training_s(spec, backbones) / spec["processes"]
        elif kind == "attack":
            data = by_output[record["inputs"]["data"]["path"]]["step"]["spec"]
            classes, shape = data["datasets"][spec["dataset"]]["classes"], data["source"]["shape"]
            specs = networks(record, by_output)
            predicted = machine.attack_s(spec, specs, backbones, classes=class_count(classes), shape=shape)
        else:
            continue
        yield group(spec, kind), predicted, record["circumstances"]["seconds"]


def summary(pairs: list[tuple[float, float]]) -> dict[str, Any]:
    """Return sums and the quartiles of observed over predicted."""
    ratios = [observed / predicted for predicted, observed in pairs]
    quartiles = statistics.quantiles(ratios, n=4) if len(ratios) > 1 else ratios * 3
    return {
        "steps": len(pairs),
        "predicted_s": round(sum(predicted for predicted, _ in pairs), 1),
        "observed_s": round(sum(observed for _, observed in pairs), 1),
        "ratio_quartiles": [round(value, 2) for value in quartiles],
        "ratio_range": [round(min(ratios), 2), round(max(ratios), 2)],
    }


def main() -> None:
    """Compare, store and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("results", type=Path, help="the folder `results` of a finished run")
    parser.add_argument("--scale", default="demo")
    parser.add_argument("--machine", help="a machine of benchmarks/ (default: as the run's device)")
    parser.add_argument("--folder", type=Path, default=ROOT / "benchmarks" / "observed", help="where the file goes")
    arguments = parser.parse_args()
    steps = records(arguments.results, arguments.scale)
    trained = next(record for record in steps.values() if record["step"]["kind"] == "train")
    machine = machine_for(trained["step"]["spec"]["device"], name=arguments.machine)
    backbones = load_document(ROOT / "config" / "backbones.yaml", "backbones").values["backbones"]
    groups: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for name, predicted, observed in compared(steps, machine, backbones):
        for key in (name, name.split()[0], "all"):
            groups[key].append((predicted, observed))
    result = {
        "schema": "robustft-observed-1",
        "scale": arguments.scale,
        "machine": machine.name,
        "processor": trained["circumstances"]["processor"],
        "date": max(record["circumstances"]["ended"] for record in steps.values())[:10],
        "commit": trained["environment"]["git"]["commit"],
        "groups": {name: summary(pairs) for name, pairs in sorted(groups.items())},
    }
    path = arguments.folder / f"{machine.name}_{arguments.scale}.json"
    write_json(path, result)
    for name, part in result["groups"].items():
        low, middle, high = part["ratio_quartiles"]
        sys.stdout.write(
            f"{name:<50} {part['steps']:>4} steps  observed/predicted {middle:.2f} ({low:.2f} to {high:.2f})\n"
        )
    sys.stdout.write(f"written: {path}\n")


if __name__ == "__main__":
    main()
