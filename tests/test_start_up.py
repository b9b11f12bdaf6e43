"""What starting a step imports: each of these packages costs a process up to a second and a half."""

import json
import subprocess
import sys

import numpy as np
import pytest

from robustft.config.load import Config
from robustft.evaluate.ledger import Outcome, write_ledger
from robustft.files import ROOT
from robustft.plan import Plan
from robustft.provenance.job import job_path, write_jobs

TORCH = {"torch", "torch._dynamo", "torchvision", "timm", "transformers", "open_clip", "peft", "pyautoattack"}
PLANNER = {
    "yaml",
    "jsonschema",
    "msgspec",
    "robustft.config",
    "robustft.plan.plan",
    "robustft.cost",
}
HEAVY = sorted(TORCH | PLANNER | {"pandas", "matplotlib", "seaborn", "scipy", "scipy.stats", "sklearn", "pyarrow"})
STEP = """
import json, sys
from robustft.cli.parser import CommandLine
from robustft.cli import steps
from robustft.provenance import run
kind, job, names = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])

def starts(step, *, log):
    run.work_of(step)

run.run_step = starts
arguments = CommandLine().parse(["job", job])
assert arguments.run(arguments) == 0
if kind == "train":
    import torch
    from robustft.provenance.job import read_job
    from robustft.train.optim import build_optimizer
    model = torch.nn.Linear(1, 1)
    optimizer = build_optimizer(model, read_job(job).spec["recipe"], fused=False)
    optimizer.zero_grad(set_to_none=True)
    model(torch.ones(1, 1)).sum().backward()
    optimizer.step()
    optimizer.load_state_dict(optimizer.state_dict())
print(json.dumps([module for module in names if module in sys.modules]))
"""
"""A job up to where its work begins: it reads its job file and imports what its step names."""
LEDGER = """
import json, sys
from pathlib import Path
from robustft.evaluate.ledger import read_checks, read_ledger
assert list(read_ledger(Path(sys.argv[1]))) == ["clean"] and read_checks(Path(sys.argv[1])) == {"model": {"seen": 1}}
print(json.dumps([module for module in json.loads(sys.argv[2]) if module in sys.modules]))
"""


def imported(code: str, *arguments: str) -> set[str]:
    """Run code in a process of its own and return which of the heavy modules it imported."""
    command = [sys.executable, "-c", code, *arguments, json.dumps(HEAVY)]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return set(json.loads(said.stdout.splitlines()[-1]))


@pytest.fixture(scope="module")
def plan():
    return Plan(Config(scale="demo"))


@pytest.fixture
def started(plan, tmp_path, monkeypatch):
    """Start the job of a step and return which of the heavy modules it imports."""
    monkeypatch.chdir(tmp_path)

    def start(kind: str, name: str) -> set[str]:
        step = plan.step(kind, name)
        write_jobs([step], "demo")
        return imported(STEP, kind, str(job_path(step, "demo").resolve()))

    return start


def training(plan: Plan, family: str) -> str:
    """Name a training step of a family of networks, of the digits' own data set."""
    return next(s.id for s in plan.of_kind("train") if f".{family}:" in s.spec["backbone"]["implementation"])


@pytest.mark.parametrize(
    ("family", "allowed"),
    [
        ("resnet", {"torch"}),
        # All of timm comes with any part of it, and torchvision, torch's compiler and yaml with timm.
        ("vit", {"torch", "torch._dynamo", "torchvision", "timm", "yaml"}),
        ("clip", {"torch", "torch._dynamo", "torchvision", "open_clip", "yaml"}),
    ],
)
def test_a_training_step_imports_no_more_than_its_network_needs(plan, started, family, allowed):
    assert started("train", training(plan, family)) == allowed


def test_an_attack_on_a_resnet_imports_torch_and_arrow_alone(plan, started):
    step = next(e.step for e in plan.evaluations if e.run.paper == "twins")
    assert started("attack", step.id) == {"torch", "pyarrow"}


@pytest.mark.parametrize(
    ("kind", "name", "allowed"),
    [
        ("data", "digits", set()),
        ("numbers", "twins", {"pyarrow"}),
        ("verdicts", "twins", {"pyarrow"}),
        ("table", "twins/main", set()),
        ("figure", "twins/diagnostics", {"pyarrow", "pandas", "matplotlib"}),
        ("manifest", "twins", set()),
    ],
)
def test_a_step_without_a_network_imports_neither_torch_nor_the_planner(started, kind, name, allowed):
    assert started(kind, name) == allowed


def test_reading_a_ledger_imports_no_pandas(tmp_path):
    """It did, half a second in each of numbers, verdicts and audit, through what `pq.read_table` reads folders with."""
    path, one = tmp_path / "one.parquet", np.zeros(1, np.int32)
    outcome = Outcome("clean", image=one, label=one, prediction=one, distance=one, broken_by=np.array([""], object))
    write_ledger(path, [outcome.table()], checks={"model": {"seen": 1}})
    assert imported(LEDGER, str(path)) == {"pyarrow"}


def test_a_quantile_of_students_t_does_not_import_all_of_scipy_stats():
    code = (
        "import json, sys\nfrom robustft.report.statistics import two_sided_t\nassert two_sided_t(2, 0.05) > 4.3\n"
        "print(json.dumps([module for module in json.loads(sys.argv[1]) if module in sys.modules]))"
    )
    assert imported(code) == {"scipy"}


def test_the_collector_stays_out_of_a_steps_imports_and_is_on_again_when_it_works(plan):
    code = (
        "import gc, json, sys\nfrom robustft.plan import Plan\nfrom robustft.config.load import Config\n"
        "from robustft.provenance.run import work_of\nstep = Plan(Config(scale='demo')).step('table', 'twins/main')\n"
        "before = gc.get_freeze_count()\nwork_of(step)\nfrozen = gc.get_freeze_count()\n"
        "kept = [object() for _ in range(9)]\n"
        "work_of(step)\nprint(json.dumps([gc.isenabled(), before == 0 < frozen, gc.get_freeze_count() <= frozen]))"
    )
    said = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert json.loads(said.stdout) == [True, True, True]
