"""Numbers, verdicts, tables and figures of what a scale runs."""

import pytest

from robustft.config.load import Config
from robustft.plan import Plan
from tests import toy_config
from tests.plan.toy_plan import ALL


def test_the_numbers_know_of_each_runs_histories(planned):
    plan = planned(paper=ALL)
    step = plan.step("numbers", "toy")
    told = {(t["method"], t["seed"]): (t["histories"], t["trained"]) for t in step.spec["trainings"]}
    assert told["at", 1] == (["toy/main/high/at/seed1"], True)
    assert told["merged", 1] == (["toy/main/high/at/seed1", "toy/main/high/partial/seed1"], False)
    assert ("zero_shot", 0) not in told  # nothing was trained for it here
    for histories, _ in told.values():
        assert all(step.inputs[name].endswith("/history.csv") for name in histories)


def test_a_table_may_show_some_rows_and_only_those_that_were_run(planned):
    tables = {"some": {"title": "T", "experiment": "main", "columns": ["clean"], "caption": "C", "rows": ["partial"]}}
    assert planned(paper={"tables": tables}).step("table", "toy/some").spec["rows"] == ["partial"]
    plan = planned(paper={"tables": tables}, scale={"papers": {"toy": {"methods": ["at"]}}})
    assert plan.step("table", "toy/some").spec["rows"] == []
    assert plan.step("table", "toy/main").spec["rows"] == ["at"]


def test_a_figure_reads_the_numbers_the_histories_of_trained_runs_and_ledgers_if_it_asks(planned):
    figure = {"title": "F", "experiment": "main", "caption": "C", "methods": ["at", "zero_shot"]}
    figure["kind"] = "robustft.report.figures.twins_diagnostics:draw"
    plan = planned(
        paper={**ALL, "figures": {"plain": figure, "deep": {**figure, "columns": ["clean"], "ledgers": True}}}
    )
    plain, deep = plan.step("figure", "toy/plain"), plan.step("figure", "toy/deep")
    runs = {"toy/main/high/at/seed0", "toy/main/high/at/seed1"}
    assert set(plain.inputs) == {"numbers", *runs}
    assert {member["history"] for member in plain.spec["members"]} == runs
    shown = [e.step.id for e in plan.evaluations if e.run.method in ("at", "zero_shot")]
    assert set(deep.inputs) == {"numbers", *runs, *shown}
    assert [member["ledger"] for member in deep.spec["ledgers"]] == shown
    assert plain.spec["ledgers"] == []


def test_a_claims_data_set_may_be_stood_in_for(planned):
    claim = {"id": "c", "statement": "s", "kind": "ordering", "experiment": "main", "left": "at", "right": "partial"}
    claim |= {"metric": "clean", "source": "S", "confidence": "direct", "dataset": "cifar10"}
    plan = planned(paper={"claims": [claim]}, scale={"stand_ins": {"datasets": {"cifar10": "high"}}})
    assert [claim["dataset"] for claim in plan.step("verdicts", "toy").spec["claims"]] == ["high"]


def test_an_experiment_without_a_stand_in_for_its_backbone_is_left_out_with_its_tables_and_figures(planned):
    other = {"huge": toy_config.files()["backbones"]["backbones"]["tiny"]}
    main = toy_config.files()["papers/toy/paper"]["experiments"]["main"]
    tables = {"big": {"title": "T", "experiment": "big", "columns": ["clean"], "caption": "C"}}
    change = {"experiments": {"big": {**main, "backbone": "huge"}}, "tables": tables}
    plan = planned(backbones={"backbones": other}, paper=change)
    assert {run.experiment for run in plan.runs} == {"main"}
    assert [step.id for step in plan.of_kind("table")] == ["toy/main"]
    assert plan.of_kind("figure") == []
    assert len(plan.of_kind("verdicts")) == 1  # its claims are there, as not run


def test_a_table_shows_the_columns_that_a_scale_measures(planned):
    """A scale with fewer attacks once left the table a column without a title, and the report failed."""
    columns = {"main": {"columns": ["clean", "pgd2", "fgsm"]}}
    (table,) = planned(paper={"tables": columns}).of_kind("table")
    assert table.spec["table"]["columns"] == ["clean", "fgsm"]
    assert {"clean", "fgsm"} <= set(table.spec["attacks"])


def test_a_table_none_of_whose_columns_was_measured_is_left_out(planned):
    names = [step.id for step in planned().of_kind("table")]
    assert names
    columns = {"main": {"columns": ["pgd2"]}}
    assert planned(paper={"tables": columns}).of_kind("table") == []


def test_a_papers_manifest_lists_the_record_of_every_step_but_its_own(planned):
    plan = planned(paper=ALL)
    step = plan.step("manifest", "toy")
    assert set(step.spec["records"]) == {one.record for one in plan.steps.values()} - {step.record}
    assert step.record == "results/small/toy/manifest.record.json"


@pytest.mark.parametrize("scale", ["smoke", "small_cpu"])
def test_every_record_of_a_scale_is_in_a_manifest(scale):
    plan = Plan(Config(scale=scale))
    listed = {record for step in plan.of_kind("manifest") for record in step.spec["records"]}
    assert listed == {step.record for step in plan.steps.values() if step.kind != "manifest"}
    assert [step.id for step in plan.of_kind("manifest")] == list(plan.config.papers)
