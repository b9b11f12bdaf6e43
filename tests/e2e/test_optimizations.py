"""Accuracy is not traded for speed: with every optimization on and with none, runs of the demo end equally robust."""

import csv
import math
import statistics
from pathlib import Path

import pytest

from robustft.config.load import Config
from robustft.plan import Plan
from robustft.plan.step import Step
from robustft.provenance.run import run_step

SEEDS = 3
RUNS = {"twins/main/digits_5to9/twins_at": "twins", "hyperat/main/digits_5to9/hyperat": "hyperat"}


def made(plan: Plan, step: Step) -> Path:
    """Run a step after those that it needs, unless its outputs are there; return its record."""
    for path in step.inputs.values():
        if not Path(path).exists():
            made(plan, next(other for other in plan.steps.values() if path in other.outputs.values()))
    return run_step(step, log=lambda _: None)


def accuracies(run: str, paper: str, folder: Path, monkeypatch: pytest.MonkeyPatch, *, optimized: bool) -> list[dict]:
    """Return the last line of the history of each seed, trained from pre-training on in a folder of its own."""
    folder.mkdir()
    monkeypatch.chdir(folder)
    config = Config(scale="demo", papers=[paper], seeds=SEEDS)
    config.optimizations = dict.fromkeys(config.optimizations, optimized)
    plan, rows = Plan(config), []
    for seed in range(SEEDS):
        step = plan.steps[f"train:{run}/seed{seed}"]
        assert set(step.spec["optimizations"].values()) == {optimized}
        made(plan, step)
        with open(step.outputs["history"], encoding="utf-8") as stream:
            rows.append(list(csv.DictReader(stream))[-1])
    return rows


@pytest.mark.parametrize("run", RUNS)
def test_the_fast_and_the_textbook_path_end_equally_robust(run, tmp_path, monkeypatch):
    found = {
        optimized: accuracies(run, RUNS[run], tmp_path / str(optimized), monkeypatch, optimized=optimized)
        for optimized in (True, False)
    }
    images = Config(scale="demo", papers=[RUNS[run]]).scale["papers"][RUNS[run]]["monitor"]["images"]
    for kind in ("clean_test", "robust_test"):
        fast, textbook = ([float(row[kind]) for row in found[optimized]] for optimized in (True, False))
        p = statistics.mean(fast + textbook)
        # Three standard errors of the difference of two means: over seeds, and over the images that were drawn.
        over_seeds = (statistics.variance(fast) + statistics.variance(textbook)) / SEEDS
        over_images = 2 * p * (1 - p) / (images * SEEDS)
        margin = 3 * math.sqrt(over_seeds + over_images)
        assert abs(statistics.mean(fast) - statistics.mean(textbook)) <= margin, (kind, fast, textbook)
        assert statistics.mean(fast) > 0.3, "above the 20 % of guessing, or nothing would be compared"
