"""The plan: the right steps, stable identities, and no torch."""

import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.config import Config
from pipeline.cost import attack_passes, critical_path, describe, step_seconds, training_passes
from pipeline.errors import RobustftError
from pipeline.plan import Plan

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def plan() -> Plan:
    return Plan(Config(scale="demo"))


def test_the_demo_holds_the_methods_of_the_paper_for_three_seeds(plan):
    runs = {(run.method, run.seed) for run in plan.runs if run.experiment == "main"}
    methods = {"linear_probe", "at", "at_scaled", "trades", "trades_released", "twins_at", "twins_trades"}
    methods |= {"twins_trades_half_beta", "twins_trades_released"}
    assert runs == {(method, seed) for method in methods for seed in (0, 1, 2)}
    assert [run.method for run in plan.runs if run.experiment == "control"] == ["standard"]


def test_each_step_reads_what_an_earlier_step_writes(plan):
    made: set[str] = set()
    for step in plan.steps.values():
        assert set(step.inputs.values()) <= made, step.key
        assert set(step.upstream) == set(step.inputs)
        made |= set(step.outputs.values())
    paths = [path for step in plan.steps.values() for path in (*step.outputs.values(), step.record)]
    assert len(paths) == len(set(paths)), "two steps write one file"


def test_equal_configuration_gives_equal_digests(plan):
    again = Plan(Config(scale="demo"))
    assert {k: s.digest for k, s in plan.steps.items()} == {k: s.digest for k, s in again.steps.items()}


def test_digests_tell_runs_apart(plan):
    digests = [step.digest for step in plan.steps.values()]
    assert len(digests) == len(set(digests))


def test_how_often_the_state_is_saved_is_no_part_of_a_steps_identity(plan):
    step = plan.step("train", "twins/main/digits_5to9/at/seed0")
    assert "save_every_steps" not in str(step.spec)
    assert step.settings["save_every_steps"] == 40


def test_the_pretraining_is_part_of_a_runs_identity(plan):
    initial = plan.step("train", "pretraining/digits_at")
    assert plan.step("train", "twins/main/digits_5to9/at/seed0").spec["initial"] == initial.digest
    assert plan.step("train", "twins/control/digits_5to9/standard/seed0").spec["initial"] is None


def test_validation_is_never_test(plan):
    for run in plan.runs:
        assert run.step.spec["recipe"]["selection"] in ("last", "best_validation")


def test_parts_cover_the_images_once(tmp_path):
    import shutil

    folder = Path(shutil.copytree(ROOT / "config", tmp_path / "config"))
    scale = folder / "scales" / "demo.yaml"
    scale.write_text(scale.read_text().replace("shard_images: 128}", "shard_images: 50, parts: 3}"))
    plan = Plan(Config(scale="demo", folder=folder))
    steps = [e.step for e in plan.evaluations if e.run.step.id == "twins/main/digits_5to9/at/seed0"]
    assert [step.spec["images"] for step in steps] == [[0, 42], [42, 85], [85, 128]]
    assert [step.id.rsplit("/")[-1] for step in steps] == [f"robustness.{part}of3" for part in (1, 2, 3)]


def test_an_unknown_step_offers_the_nearest(plan):
    with pytest.raises(RobustftError, match="did you mean 'twins/main'"):
        plan.step("table", "twins/mian")


def test_cost_of_a_run_by_hand(plan):
    # 160 images x 24 epochs x (10 attack passes + 1.5) + 3 splits x 64 images x 24 checks x (10 + 1)
    spec = plan.step("train", "twins/main/digits_5to9/at/seed0").spec
    assert training_passes(spec) == 160 * 24 * 11.5 + 3 * 64 * 24 * 11


def test_cost_of_an_evaluation_by_hand(plan):
    spec = plan.evaluations[0].step.spec
    gradient = 128 * (1 + 2 + 11 + 21 + 21)
    autoattack = 128 * 0.6 * (100 + 4 * 100 + 4 * 170 + 5000 / 3)
    assert attack_passes(spec, classes=5) == pytest.approx(gradient + autoattack)


def test_the_longest_chain_is_pretraining_run_attack_and_report(plan):
    run = plan.step("train", "twins/main/digits_5to9/at/seed0")
    chain = step_seconds(plan, plan.step("train", "pretraining/digits_at")) + step_seconds(plan, run)
    chain += step_seconds(plan, plan.evaluations[0].step) + 4.0  # data, numbers, one of the report's steps, seal
    assert critical_path(plan) == pytest.approx(chain)


def test_the_printed_plan_counts_what_there_is(plan):
    text = describe(plan, details=True)
    assert "28 runs, 168 measurements" in text
    assert "twins/main/digits_5to9/twins_at/seed2/robustness.1of1" in text
    assert "no stand-in at this scale for caltech256, cifar100, cub200, stanford_dogs" in text


def test_planning_auditing_and_reporting_never_import_torch():
    modules = [
        *("pipeline.plan", "pipeline.cost", "pipeline.cli", "pipeline.provenance.audit", "pipeline.provenance.explain"),
        *("pipeline.provenance.run", "pipeline.report.numbers", "pipeline.report.tables", "pipeline.report.verdicts"),
        *("pipeline.report.figures.step", "pipeline.report.figures.twins_diagnostics", "pipeline.data.step"),
    ]
    code = (
        f"import sys, importlib\nfor m in {modules!r}:\n    importlib.import_module(m)\nprint('torch' in sys.modules)"
    )
    said = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "False"
