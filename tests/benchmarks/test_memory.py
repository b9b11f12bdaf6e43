from __future__ import annotations

import subprocess
import sys
import types
from pathlib import Path

import pytest

from benchmarks import memory
from benchmarks.memory_cases import CASES, Case
from robustft.files import ROOT, write_json

SCRIPT = """
import sys, types
from pathlib import Path
from benchmarks import memory
from benchmarks.memory_cases import Case

def step(spec, context):
    block = bytearray(spec["mb"] << 20)
    block[::4096] = b"x" * len(block[::4096])  # a page counts when it is written

held = bytearray(150 << 20)
held[::4096] = b"x" * len(held[::4096])
sys.modules["made_step"] = module = types.ModuleType("made_step")
module.step = step
print(memory.work(Case("made", None, "made_step:step", (), 1, (1, 1)), Path(sys.argv[1]))["peak"])
"""


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="the system tells no peak")
@pytest.mark.parametrize("mb", [0, 80])
def test_the_peak_is_what_the_step_took_and_not_what_was_held_before(tmp_path, mb):
    write_json(tmp_path / "plan.json", {"spec": {"mb": mb}, "inputs": {}})
    # In a process of its own: what other tests freed would come back to the system meanwhile.
    command = [sys.executable, "-c", SCRIPT, str(tmp_path)]
    result = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True)
    assert mb - 1 < float(result.stdout.split()[-1]) < mb + 20


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="the system tells no peak")
def test_what_a_first_run_keeps_is_not_counted(monkeypatch, tmp_path):
    kept = {}

    def step(spec, context):
        if "libraries" not in kept:
            kept["libraries"] = bytearray(100 << 20)
            kept["libraries"][::4096] = b"x" * len(kept["libraries"][::4096])

    monkeypatch.setitem(sys.modules, "made_step", module := types.ModuleType("made_step"))
    module.step = step
    case = Case("made", lambda folder, images: ({}, {}), "made_step:step", (), 1, (1, 1))
    memory.prepare(case, tmp_path / memory.WARM, 1)
    memory.prepare(case, tmp_path, 2)
    assert memory.work(case, tmp_path)["peak"] < 20
    assert kept


def test_a_row_tells_the_peak_and_its_growth(monkeypatch):
    peaks = {1000: 10.0, 4000: 10.5, 16000: 40.0}
    monkeypatch.setattr(memory, "measured", lambda name, n: {"peak": peaks[n], "mapped": 1.0, "seconds": 2.0})
    found = memory.growth("attack", 1000)
    assert [row.ours.median for row in found] == [10.0, 10.5, 40.0]
    assert [row.note.split("; ")[1] for row in found] == ["1.00 of 1x", "1.05 of 1x", "4.00 of 1x"]
    assert {row.unit for row in found} == {"MB"}


@pytest.mark.usefixtures("torch_settings_restored")
@pytest.mark.parametrize("name", CASES)
def test_every_case_runs_its_step_to_the_end(name, tmp_path):
    case = CASES[name]
    memory.prepare(case, tmp_path / memory.WARM, memory.FEW)
    memory.prepare(case, tmp_path, 80)
    memory.work(case, tmp_path)
    assert all((tmp_path / f"out.{role}").stat().st_size for role in case.outputs)
