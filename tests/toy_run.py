"""Runs for the tests of provenance and exports: a whole small one in one process, and one of made-up records.

The small one has what a run can have: two seeds, a transfer evaluation, a run that continues another one, a derived
model, values of training in a table, and claims of each kind.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
import torch

from robustft.config.load import Config
from robustft.files import read_json, sha256_file, write_json
from robustft.plan import Plan
from robustft.provenance import audit as auditing
from robustft.provenance.lineage import Lineage
from robustft.provenance.record import Record, file_entry
from robustft.provenance.run import run_step, work_of
from robustft.runtime.context import Context
from tests import toy_config
from tests.toy_config import method, part


def averaged(models):
    """A derivation: the mean of some models' weights."""
    states, first = [model.state_dict() for model in models], models[0]
    first.load_state_dict({name: sum(state[name] for state in states) / len(states) for name in states[0]})
    return first


PAPER = {
    "methods": {
        "merged": method(title="Merged", **{"from": ["at", "partial"]}, derivation=part("tests.toy_run:averaged")),
        "continued": method(toy_config.STANDARD, title="Continued", **{"from": ["at"]}),
    },
    "experiments": {
        "main": {"methods": ["at", "partial", "merged", "continued"], "evaluations": ["robustness", "transfer"]}
    },
    "evaluations": {
        "transfer": {
            "attacks": ["pgd2"],
            "split": "test",
            "shard_images": 20,
            "parts": 1,
            "datasets": ["high", "low"],
        },
    },
    "tables": {
        "main": {"columns": ["clean", "fgsm", "epochs_to_best", "trained_parameters"]},
        "across": {"title": "T", "experiment": "main", "across": "datasets", "metric": "pgd2", "caption": "C"},
    },
    "claims": [
        {
            "id": "gap",
            "statement": "AT loses clean accuracy under attack",
            "kind": "ordering",
            "experiment": "main",
            "left": "at",
            "right": "at",
            "metric": "clean",
            "left_metric": "clean",
            "right_metric": "fgsm",
            "source": "S",
            "confidence": "direct",
        },
        {
            "id": "quick",
            "statement": "AT needs fewer epochs",
            "kind": "ordering",
            "experiment": "main",
            "left": "at",
            "right": "partial",
            "metric": "epochs_to_best",
            "source": "S",
            "confidence": "direct",
        },
        {
            "id": "published",
            "statement": "AT keeps 50 % under FGSM",
            "kind": "value",
            "experiment": "main",
            "dataset": "high",
            "method": "at",
            "metric": "fgsm",
            "value": 50.25,
            "decimals": 2,
            "margin": 1,
            "source": "Table 9, <b>bold</b> & </script><script>alert(1)</script>",
            "confidence": "direct",
        },
    ],
    "margins": {"1 points": "a toy's"},
}


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Plan]:
    """A folder in which every step of a small plan has run, and the plan."""
    threads, deterministic = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    folder, before = tmp_path_factory.mktemp("run"), Path.cwd()
    plan = Plan(toy_config.write(folder / "config", paper=PAPER))
    os.chdir(folder)
    try:
        for step in plan.steps.values():
            run_step(step, log=lambda line: None)
    finally:
        os.chdir(before)
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(deterministic)
    return folder, plan


@pytest.fixture
def finished(run_folder: tuple[Path, Plan], monkeypatch: pytest.MonkeyPatch) -> Plan:
    """The plan, with the folder of its results as the current one; read only.

    The README shows the tables of another run, so it is left out of audits.
    """
    monkeypatch.chdir(run_folder[0])
    monkeypatch.setattr(auditing, "readme_findings", lambda counts: [])
    return run_folder[1]


@pytest.fixture
def copied(finished: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Plan:
    """The plan, with a copy of the results as the current folder, to be changed."""
    shutil.copytree("results", tmp_path / "copy" / "results")
    monkeypatch.chdir(tmp_path / "copy")
    return finished


@pytest.fixture
def tampered(copied: Plan) -> Plan:
    """The copy, after one byte was added to a history."""
    path = Path(copied.step("train", "toy/main/high/at/seed0").outputs["history"])
    path.write_bytes(path.read_bytes() + b"\n")
    return copied


def edit(path: str, old: str, new: str) -> None:
    """Replace a text of a file once."""
    text = Path(path).read_text(encoding="utf-8")
    assert old in text, f"{old!r} is not in {path}"
    Path(path).write_text(text.replace(old, new, 1), encoding="utf-8")


def reforged(plan: Plan) -> None:
    """Rewrite every record, and make again what is counted, so that all hashes fit the files as they are now."""
    changed: set[str] = set()
    for step in plan.steps.values():
        values = read_json(step.record)
        if step.kind in COUNTED and changed & {*step.inputs.values(), *step.upstream.values()}:
            paths = ({role: Path(path) for role, path in files.items()} for files in (step.inputs, step.outputs))
            work_of(step)(step.spec, Context(*paths, Path("scratch"), step.settings, log=lambda _: None))
        before = json.dumps(values, sort_keys=True)
        values["outputs"] = {role: file_entry(path) for role, path in step.outputs.items()}
        values["inputs"] = {role: file_entry(path) for role, path in step.inputs.items()}
        values["circumstances"]["vouchers"] = {
            role: {"record": record, "sha256": sha256_file(record)} for role, record in step.upstream.items()
        }
        if json.dumps(values, sort_keys=True) != before:
            changed |= {step.record, *step.outputs.values()}
            write_json(step.record, values)


COUNTED = ("numbers", "verdicts", "table", "deviations", "manifest")
"""The steps that only count what others measured."""


def findings(plan: Plan) -> list[str]:
    """Return the findings of an audit as texts."""
    return [str(finding) for finding in auditing.audit(plan).findings]


SHA = "ab" * 32
"""Every hash of the made-up records."""


class MadeUp(Lineage):
    """A lineage whose records and hashes are made up: nothing of the papers' own scale has run here."""

    def record(self, step):
        def entry(path):
            return {"path": path, "bytes": 1, "sha256": SHA}

        values = {
            "step": {"kind": step.kind, "id": step.id, "spec": step.spec, "spec_sha256": SHA},
            "inputs": {role: entry(path) for role, path in step.inputs.items()},
            "outputs": {role: entry(path) for role, path in step.outputs.items()},
            "source": {"files": {}, "sha256": SHA},
            "environment": {
                "git": {"commit": "c", "clean": True},
                "image": {"name": "train", "base": "cuda"},
                "lock": {"path": "envs/run.txt", "sha256": SHA},
                "packages": {"torch": "2"},
                "python": "3.11",
            },
            "circumstances": {"seconds": 1.0, "processor": "P", "machine": "M", "ended": "E", "came_from": "a mirror"},
        }
        return Record(step.record, SHA, values)

    def hash_all(self, paths):
        self._hashes |= dict.fromkeys(paths, SHA)


@pytest.fixture(scope="session")
def paper_scale() -> MadeUp:
    """Two papers at their own scale, with the downloads, published weights and licences that small scales lack."""
    return MadeUp(Plan(Config(scale="paper", papers=["twins", "pmg_aft"])))
