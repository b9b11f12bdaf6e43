"""Scale `paper` is the papers' experiments: their settings, their data, their test sets, nothing less."""

from __future__ import annotations

import re
from collections import defaultdict
from itertools import pairwise
from typing import Any

import pytest

from robustft.config.load import Config
from robustft.files import ROOT
from robustft.plan import Plan

PARTLY = {"pmg_aft/grid": "autoattack_1000", "hyperat/learning_rate": "selection"}
"""Experiments with an evaluation that is not on a whole test set."""

ONE_SEED = {("pmg_aft", "main", "autoattack"), ("pmg_aft", "grid", "autoattack_1000")}
"""Evaluations under AutoAttack of one seed only, for their cost: no published value is judged by them."""


@pytest.fixture(scope="module")
def plan() -> Plan:
    """The papers: published checkpoints as they are have no seeds, and no settings of ours."""
    names = {path.parent.name for path in (ROOT / "config" / "papers").glob("*/paper.yaml")} - {"references"}
    return Plan(Config(scale="paper", papers=sorted(names)))


def trained(plan: Plan) -> list[Any]:
    return plan.of_kind("train")


def test_a_value_with_a_basis_names_its_source(plan):
    for name, document in plan.config.papers.items():
        assert document.bases, f"{name} says of no value where it comes from"
        for path, tag in document.bases.items():
            assert tag["source"], f"{name}: {path} is {tag['basis']} by no source"


def test_no_experiment_of_a_papers_file_is_left_out_at_its_own_scale(plan):
    run = {(run.paper, run.experiment) for run in plan.runs}
    listed = {(name, e) for name, document in plan.config.papers.items() for e in document.values["experiments"]}
    assert run == listed
    for name, document in plan.config.papers.items():
        for experiment, values in document.values["experiments"].items():
            found = {(r.dataset, r.method, r.seed) for r in plan.runs if (r.paper, r.experiment) == (name, experiment)}
            wanted = {(d, m, s) for d in values["datasets"] for m in values["methods"] for s in values["seeds"]}
            assert found == wanted


def test_nothing_stands_in_for_a_papers_data_or_network(plan):
    scale = plan.config.scale
    assert not scale["stand_ins"]["datasets"]
    assert not scale["stand_ins"]["backbones"]
    assert scale["stand_ins"]["pretraining"] == {"clip": "openai_clip_vit_b32"}
    for step in (*plan.of_kind("train"), *plan.of_kind("attack")):
        name = step.spec["dataset"] if step.kind == "attack" else step.spec["dataset"]["name"]
        source = plan.config.sources[plan.config.datasets[name]["source"]]
        assert not source.get("lossy", False), f"{step.key} is on a lossy copy"


def test_no_step_has_data_without_files_of_their_publishers(plan):
    for step in plan.of_kind("data"):
        makers = [plan.producer(path) for path in step.inputs.values()]
        assert makers, f"{step.key} reads no file"
        assert {maker.kind for maker in makers if maker} <= {"download", "data"}
    for step in (*plan.of_kind("train"), *plan.of_kind("attack")):
        maker = plan.producer(step.inputs["data"])
        assert maker is not None
        assert maker.kind == "data"


def test_every_training_has_all_that_it_needs(plan):
    for step in trained(plan):
        spec, recipe = step.spec, step.spec["recipe"]
        splits = spec["dataset"]["splits"]
        assert spec["split"] in splits, step.id
        if recipe["schedule"] == "steps":
            assert recipe["epochs"] > max(recipe["milestones"]), step.id
        assert spec["dataset"].get("augmentation") is not None or spec["dataset"]["name"] == "tiny_imagenet", step.id
        if recipe["selection"] == "best_validation":
            assert "validation" in splits, step.id
        if (spec["auxiliary"] or {}).get("name"):
            assert spec["auxiliary"]["shape"] == spec["dataset"]["shape"], f"{step.id}: both are one batch"


def test_pretrained_weights_are_of_the_network_that_starts_from_them(plan):
    checked = 0
    for step in trained(plan):
        path = step.inputs.get("initial")
        maker = plan.producer(path) if path else None
        if maker is None:
            continue
        checked += 1
        assert maker.spec["backbone"]["name"] == step.spec["backbone"]["name"], step.id
        size = step.spec["backbone"]["parameters"].get("image_size")
        if size is not None and "clip" not in step.spec["backbone"]["name"]:
            assert step.spec["dataset"]["shape"][1:] == ([size, size] if isinstance(size, int) else size), step.id
    assert checked > 500


def test_test_sets_are_attacked_whole_and_only_once(plan):
    for run_id, ranges in covered(plan).items():
        key, label, split, size = run_id
        covered_images = sorted(ranges)
        assert covered_images[0][0] == 0
        assert all(one[1] == two[0] for one, two in pairwise(covered_images)), run_id
        experiment = "/".join(key.split("/")[:2])
        if PARTLY.get(experiment) != label:
            assert split == "test", run_id
            assert covered_images[-1][1] == size, f"{run_id} is on a part of the test set"


def covered(plan: Plan) -> dict[tuple[str, str, str, int], list[list[int]]]:
    """Image ranges by (run, evaluation, split, size of the split), for each data set and attack list."""
    found: dict[tuple[str, str, str, int], list[list[int]]] = defaultdict(list)
    for evaluation in plan.evaluations:
        spec = evaluation.step.spec
        size = plan.config.datasets[evaluation.dataset]["splits"][spec["split"]]
        key = f"{evaluation.run.id}@{evaluation.dataset}"
        found[key, evaluation.name, spec["split"], size].append(spec["images"])
    return found


def test_every_row_has_three_seeds_but_the_controls_and_the_search(plan):
    seeds = defaultdict(set)
    for run in plan.runs:
        seeds[run.paper, run.experiment, run.dataset, run.method].add(run.seed)
    for (paper, experiment, _, method), found in seeds.items():
        single = experiment.endswith("control") or experiment == "learning_rate"
        assert found == ({0} if single else {0, 1, 2}), (paper, experiment, method)


def test_autoattack_is_judged_over_three_seeds_but_where_the_page_says_otherwise(plan):
    seeds = defaultdict(set)
    for evaluation in plan.evaluations:
        run = evaluation.run
        once = (run.paper, run.experiment, evaluation.name) in ONE_SEED or run.experiment.endswith("control")
        if "autoattack" in evaluation.attacks and not once:
            seeds[run.paper, run.experiment, evaluation.dataset, run.method].add(run.seed)
    assert seeds
    assert set(map(len, seeds.values())) == {3}


def test_the_learning_rate_is_searched_on_validation_images_only(plan):
    splits = {e.step.spec["split"] for e in plan.paper_evaluations("hyperat", "learning_rate")}
    assert splits == {"validation"}


def test_every_control_is_measured_on_the_data_of_its_experiments(plan):
    measured = {(e.run.paper, e.run.experiment, e.dataset) for e in plan.evaluations}
    for paper, document in plan.config.papers.items():
        for name, experiment in document.values["experiments"].items():
            if "control" in experiment:
                for dataset in experiment["datasets"]:
                    assert (paper, experiment["control"], dataset) in measured, (paper, name, dataset)


def test_every_column_of_a_table_is_measured(plan):
    told = {"epochs_to_best", "trained_parameters"}
    for step in plan.of_kind("table"):
        table, paper = step.spec["table"], step.spec["paper"]
        attacks = {a for e in plan.paper_evaluations(paper, table["experiment"]) for a in e.attacks}
        assert step.spec["rows"], step.id
        assert set(table.get("columns", [table.get("metric")])) <= attacks | told, step.id


def test_every_reading_that_is_said_to_be_run_is_run(plan):
    """A row, experiment, evaluation, attack, data set or pre-training that the page names is in the plan."""
    page = (ROOT / "docs" / "disagreements.md").read_text(encoding="utf-8")
    sections = {part.partition("\n")[0].lower().replace("-", "_"): part for part in page.split("\n## ")}
    for paper in plan.config.papers:
        known = {step.id.split("/")[1] for step in trained(plan) if step.id.startswith("pretraining/")}
        known |= {step.spec["dataset"]["name"] for step in trained(plan)}
        for run in (run for run in plan.runs if run.paper == paper):
            known |= {run.experiment, run.method}
        for evaluation in plan.paper_evaluations(paper):
            known |= {evaluation.name, *evaluation.attacks}
        rows = [line.split(" | ") for line in sections[paper].splitlines() if line.startswith("| ")][2:]
        assert rows, paper
        for row in rows:
            assert len(row) == 5, row
            assert set(re.findall(r"`([a-z0-9_]+)`", row[3])) <= known, row
            assert bool(re.search("`", row[3])) != (row[3] == "none"), row
