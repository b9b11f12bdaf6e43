"""An experiment on one page: data, methods, evaluations, claims, cost and command, as text and as JSON."""

from __future__ import annotations

import json

import pytest

from robustft.plan import Plan
from robustft.provenance import experiment_page
from robustft.provenance.experiment_page import ExperimentPage
from tests import toy_config
from tests.toy_config import method, paper

VALUE = {"kind": "value", "statement": "S", "experiment": "main", "metric": "fgsm", "method": "at", "source": "Table 1"}
VALUE |= {"confidence": "direct", "dataset": "cifar"}
CLAIMS = [
    toy_config.files()["papers/toy/paper"]["claims"][0],
    {**VALUE, "id": "a", "value": 51.5},
    {**VALUE, "id": "b", "value": 48, "method": "partial"},
    {**VALUE, "id": "c", "value": 80, "metric": "clean"},
    {**VALUE, "id": "d", "value": "missing", "confidence": "missing", "source": "Figure 2"},
]
CHANGES = {
    **paper(
        methods={"merged": method(**{"from": ["at"]}), "slow": method(toy_config.AT, recipe={"lr": 0.5})},
        experiment={
            "datasets": ["cifar"],
            "methods": ["at", "partial", "merged", "slow"],
            "recipe": {"epochs": {"value": 60, "basis": "published", "source": "section 4"}},
        },
    ),
    "claims": CLAIMS,
    "margins": {"1 points": "because"},
}


@pytest.fixture(scope="module")
def plan(tmp_path_factory) -> Plan:
    folder = tmp_path_factory.mktemp("page") / "config"
    return Plan(toy_config.write(folder, paper=CHANGES, scale={"stand_ins": {"datasets": {"cifar": "high"}}}))


@pytest.fixture
def page(plan) -> ExperimentPage:
    return ExperimentPage(plan, "toy", "main")


def test_an_experiment_is_a_page(page):
    text = page.text("3 hours")
    for part in ("in the place of cifar", "3 hours", "published: section 4", "AT is more robust", "tables/main.md"):
        assert part in text, part
    lines = {line.split()[0]: line for line in text.splitlines() if line.strip()}
    assert "recipe lr=0.5" in lines["slow"]
    assert "recipe" not in lines["at"]
    assert "Partial(frozen=['backbone.stem'])" in lines["partial"]
    assert "not trained" in lines["merged"]
    assert "up to 20 test images of high" in lines["robustness"]
    assert all(len(line) <= 120 for line in text.splitlines())


def test_the_page_as_json_has_the_same(page):
    values = page.as_json("3 hours")
    assert json.loads(json.dumps(values)) == values
    assert values["shared"]["recipe.epochs"]["basis"] == "published"
    assert list(values["methods"]) == ["at", "partial", "merged", "slow"]
    assert values["claims"] == CLAIMS
    assert values["command"] == page.command


def test_published_values_stand_by_source_and_metric_with_the_papers_own_data(page):
    lines = [line.strip() for line in page.text("").splitlines()]
    place = lines.index("Values of Table 1 (direct):")
    assert lines[place + 1 : place + 3] == ["fgsm on cifar: at 51.5, partial 48", "clean on cifar: at 80"]
    assert "1 values without a number on record: Figure 2" in lines


def test_more_metrics_than_a_page_shows_are_counted(page, monkeypatch):
    monkeypatch.setattr(experiment_page, "METRICS_SHOWN", 1)
    text = page.text("")
    assert "... and 1 more (--json has all)" in text
    assert "clean on cifar" not in text


def test_each_step_is_there_once_and_the_command_makes_the_tables_or_else_the_ledgers(page, plan, tmp_path):
    assert len({step.key for step in page.steps}) == len(page.steps) == 6 + 8
    assert page.command.endswith(f"-- {plan.step('table', 'toy/main').outputs['md']}")
    without = Plan(toy_config.write(tmp_path / "config", paper={"tables": {"main": {"columns": ["pgd2"]}}}))
    assert "robustness.1of1.ledger.parquet" in ExperimentPage(without, "toy", "main").command


def test_an_experiment_that_the_scale_leaves_out_says_so(tmp_path):
    second = {"second": toy_config.files()["papers/toy/paper"]["experiments"]["main"]}
    left_out = {"papers": {"toy": {"left_out": ["main"]}}}
    plan = Plan(toy_config.write(tmp_path / "config", paper={"experiments": second}, scale=left_out))
    page = ExperimentPage(plan, "toy", "main")
    assert page.steps == []
    assert "none: scale small leaves this experiment out" in page.text("")
