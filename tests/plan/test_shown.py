"""A table or figure shows one evaluation of each attack, and says of which split, norm and eps."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from robustft.errors import ConfigError
from robustft.plan.shown import planned_cells, refuse_overlaps
from robustft.plan.step import Evaluation
from tests import toy_config
from tests.toy_config import paper

SELECT = {"attacks": ["clean", "fgsm"], "split": "validation", "shard_images": 10, "parts": 1}
TABLE = {"title": "T", "experiment": "main", "columns": ["clean", "fgsm"], "caption": "C"}
BOTH = ["select", "robustness"]
CLAIM = {**toy_config.files()["papers/toy/paper"]["claims"][0], "evaluation": "robustness"}


def two(table: dict | None = None, **select) -> dict:
    """A paper whose runs are attacked by two evaluations."""
    tables = {"tables": {"main": table}} if table else {}
    return paper(
        claims=[CLAIM], evaluations={"select": {**SELECT, **select}}, experiment={"evaluations": BOTH}, **tables
    )


def test_a_table_of_two_evaluations_says_which_one_it_shows(planned):
    """96 validation and 64 test images were once one row of "160 test images"."""
    with pytest.raises(ConfigError, match="several evaluations measure the column 'clean'") as error:
        planned(paper=two())
    assert "select (validation), robustness (test)" in str(error.value)
    assert "evaluations: [select]" in str(error.value)
    for name, split in (("select", "validation"), ("robustness", "test")):
        step = planned(paper=two({**TABLE, "evaluations": [name]})).step("table", "toy/main")
        assert {(one["evaluation"], one["split"]) for one in step.spec["shown"].values()} == {(name, split)}


def test_two_evaluations_of_one_split_are_a_planning_error_too(planned):
    """They share images, which was once an error after all training."""
    with pytest.raises(ConfigError, match="several evaluations measure"):
        planned(paper=two(split="test"))


def test_columns_of_two_splits_are_in_one_table_only_if_it_names_both(planned):
    pgd2 = {**TABLE, "columns": ["clean", "pgd2"]}
    with pytest.raises(ConfigError, match="its columns are of several splits"):
        planned(paper=two(pgd2, attacks=["pgd2"]))
    step = planned(paper=two({**pgd2, "evaluations": BOTH}, attacks=["pgd2"])).step("table", "toy/main")
    assert [step.spec["shown"][column]["split"] for column in ("clean", "pgd2")] == ["test", "validation"]


def test_a_figure_of_two_evaluations_says_which_one_it_shows(planned):
    figure = {"title": "F", "experiment": "main", "caption": "C", "methods": ["at"], "columns": ["clean"]}
    figure["kind"] = "robustft.report.figures.twins_diagnostics:draw"
    both = two({**TABLE, "evaluations": ["robustness"]})
    with pytest.raises(ConfigError, match="the figure 'f': several evaluations measure"):
        planned(paper={**both, "figures": {"f": figure}})
    named = {**figure, "evaluations": ["select"], "ledgers": True}
    step = planned(paper={**both, "figures": {"f": named}}).step("figure", "toy/f")
    assert step.spec["shown"]["clean"] == {"evaluation": "select", "split": "validation"}
    assert {one["evaluation"] for one in step.spec["ledgers"]} == {"select"}


def test_a_claim_that_names_no_evaluation_is_about_test_images_and_about_one_evaluation_of_them(planned):
    """Their images were counted together, validation and test images as one sample."""
    both = two({**TABLE, "evaluations": ["robustness"]})
    claim = {key: part for key, part in CLAIM.items() if key != "evaluation"}
    assert planned(paper={**both, "claims": [claim]}).step("verdicts", "toy").spec["claims"] == [claim]
    assert planned(paper=both).step("verdicts", "toy").spec["claims"] == [CLAIM]


def test_a_misspelt_evaluation_of_a_table_is_an_error_that_offers_the_right_one(planned):
    with pytest.raises(ConfigError, match="unknown evaluation 'robustnes'") as error:
        planned(paper=two({**TABLE, "evaluations": ["robustnes"]}))
    assert "did you mean 'robustness'" in str(error.value)


def test_norm_eps_and_steps_are_those_that_the_attack_runs_with(planned):
    attacks = {"pgd2": {"threat": {"norm": "l2", "eps": "1/2"}}}
    tables = {"main": {**TABLE, "columns": ["clean", "fgsm", "pgd2"]}}
    evaluations = {"robustness": {"attacks": ["clean", "fgsm", "pgd2"], "threat": {"eps": "3/255"}}}
    changes = {"attacks": {"attacks": attacks}, "paper": {"tables": tables, "evaluations": evaluations}}
    found = planned(**changes, scale={"attacks": {"fgsm": {"steps": 3}}}).step("table", "toy/main").spec["shown"]
    measured = {"evaluation": "robustness", "split": "test"}
    assert found == {
        "clean": measured,
        "fgsm": {**measured, "norm": "linf", "eps": "3/255", "steps": 3},
        "pgd2": {**measured, "norm": "l2", "eps": "1/2", "steps": 2},
    }


def test_a_figure_with_a_column_that_a_scale_does_not_measure_is_left_out(planned):
    figure = {"title": "F", "experiment": "main", "caption": "C", "methods": ["at"], "columns": ["clean", "pgd2"]}
    figure["kind"] = "robustft.report.figures.twins_diagnostics:draw"
    assert planned(paper={"figures": {"f": figure}}).of_kind("figure") == []


def test_an_attack_named_twice_is_refused_while_planning(planned):
    """Each image would be in the ledger twice."""
    with pytest.raises(ConfigError, match="'attacks' has 'clean' twice"):
        planned(paper={"evaluations": {"robustness": {"attacks": ["clean", "fgsm", "clean"]}}})


def part(id: str, first: int, last: int, **changes) -> Evaluation:
    run = SimpleNamespace(id="toy/main/high/at/seed0")
    step = SimpleNamespace(id=f"{run.id}/{id}", spec={"images": [first, last]})
    return Evaluation(**{"run": run, "name": "e", "dataset": "d", "attacks": ("clean",), "step": step, **changes})


def test_overlapping_parts_are_refused_while_planning():
    with pytest.raises(ConfigError, match="attacks images twice with 'clean'") as error:
        refuse_overlaps([part("a", 0, 10), part("b", 9, 20)], where="paper.yaml")
    assert "images 9 to 9 of d in toy/main/high/at/seed0/a and toy/main/high/at/seed0/b" in str(error.value)


@pytest.mark.parametrize("other", [{}, {"name": "f"}, {"dataset": "e"}, {"attacks": ("fgsm",)}])
def test_parts_that_share_no_image_or_are_of_another_cell_are_no_overlap(other):
    first = 10 if other == {} else 0
    refuse_overlaps([part("a", 0, 10), part("b", first, 20, **other)], where="paper.yaml")


def test_a_planned_caption_says_images_and_seeds_of_what_is_shown_alone(planned):
    parts = {"more": {**SELECT, "attacks": ["pgd2"], "split": "test", "parts": 2, "seeds": [1]}}
    tables = {"main": {**TABLE, "columns": ["clean", "pgd2"]}}
    both = paper(evaluations=parts, experiment={"evaluations": ["robustness", "more"]}, tables=tables)
    plan = planned(paper=both)
    step = plan.step("table", "toy/main")
    cells = planned_cells(step.spec["shown"], plan.evaluations, ["at"])
    measured = {"dataset": "high", "split": "test"}
    assert [{key: cell[key] for key in ("attack", "evaluation", "images", "seeds")} for cell in cells] == [
        {"attack": "clean", "evaluation": "robustness", "images": 20, "seeds": [0, 1]},
        {"attack": "pgd2", "evaluation": "more", "images": 20, "seeds": [1]},
    ]
    assert all(measured.items() <= cell.items() for cell in cells)
