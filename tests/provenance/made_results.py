"""Results folders that are made up, for the tests of what reads them."""

from __future__ import annotations

import math
from pathlib import Path

from robustft.files import digest_of, sha256_file, write_json
from robustft.report.numbers import CELL

AT = ("main", "cars", "robustness", "test", "cars", False, "at", "pgd10")
EPOCHS = ("main", "cars", None, None, "cars", False, "at", "epochs")


def cell(key, values, *, images=100, unit="share"):
    mean = sum(values) / len(values)
    sd = math.sqrt(sum((v - mean) ** 2 for v in values) / (len(values) - 1)) if len(values) > 1 else None
    return {**dict(zip(CELL, key, strict=True)), "mean": mean, "sd": sd, "seeds": list(range(len(values))),
            "images": images, "unit": unit}  # fmt: skip


def numbers(*cells, ledger="0" * 64):
    measurements = [
        {**{part: one[part] for part in CELL}, "seed": seed, "accuracy": one["mean"], "images": one["images"],
         "ledgers": [{"step": "x", "sha256": ledger}]}
        for one in cells for seed in one["seeds"] if one["unit"] == "share"
    ]  # fmt: skip
    return {"scale": "demo", "measurements": measurements, "trainings": [], "cells": list(cells)}


def folder(path: Path, *cells, verdict="holds", output=b"checkpoint", processor="P", ledger="0" * 64) -> Path:
    """A results folder with one paper, and one step with its record."""
    write_json(path / "toy" / "numbers.json", numbers(*cells, ledger=ledger))
    write_json(path / "toy" / "verdicts.json", {"verdicts": [{"id": "better", "verdict": verdict}]})
    file = path / "toy" / "checkpoint.safetensors"
    file.write_bytes(output)
    spec, source = {"seed": 0}, {"a.py": "1" * 64}
    entry = {"path": "results/demo/toy/checkpoint.safetensors", "sha256": sha256_file(file), "bytes": len(output)}
    write_json(
        path / "toy" / "checkpoint.record.json",
        {
            "schema": "robustft-record-1",
            "step": {"kind": "train", "id": "toy", "spec": spec, "spec_sha256": digest_of(spec)},
            "inputs": {},
            "outputs": {"checkpoint": entry},
            "source": {"files": source, "sha256": digest_of(source)},
            "environment": {"git": {}, "image": None, "lock": {}, "packages": {"torch": "2"}, "python": "3"},
            "circumstances": {"vouchers": {}, "seconds": 1, "attempt": 1, "started": "", "ended": "",
                              "processor": processor, "machine": "x86_64", "host": str(path)},
        },
    )  # fmt: skip
    return path
