"""A whole small run, shared by the tests of all exports. They read it; what they write goes elsewhere."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from robustft.plan import Plan
from robustft.provenance import audit as auditing
from robustft.provenance.run import run_step
from tests import toy_config
from tests.provenance.test_explain import PAPER

CLAIMS = [
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
    }
]


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Plan]:
    """A folder in which every step of a small plan has run, and the plan."""
    threads, deterministic = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    folder, before = tmp_path_factory.mktemp("run"), Path.cwd()
    paper = {**PAPER, "claims": [*PAPER["claims"], *CLAIMS]}
    plan = Plan(toy_config.write(folder / "config", paper=paper))
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
    """The plan, with its folder as the current one; the README shows another run's tables, so it is not audited."""
    monkeypatch.chdir(run_folder[0])
    monkeypatch.setattr(auditing, "readme_findings", lambda counts: [])
    return run_folder[1]


@pytest.fixture
def tampered(finished: Plan, tmp_path: Path) -> Plan:
    """The plan again, after one byte of a history was changed; mended afterwards."""
    path = Path(finished.step("train", "toy/main/high/at/seed0").outputs["history"])
    content = path.read_bytes()
    path.write_bytes(content + b"\n")
    yield finished
    path.write_bytes(content)
