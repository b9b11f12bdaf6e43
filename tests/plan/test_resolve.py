"""Layers, stand-ins and names: what a run is at one scale."""

import pytest
import yaml

from robustft.config import Config
from robustft.errors import ConfigError
from robustft.plan import Plan
from tests import toy_config
from tests.plan.toy_plan import ids, trained
from tests.toy_config import paper, part, pretraining


def test_a_pretraining_of_a_paper_may_be_laid_over_and_stood_in_for_by_the_scale(planned):
    own = pretraining(dataset="imagenet", recipe={"epochs": 90})
    plan = planned(
        paper=paper(pretraining={"robust": own}, experiment={"pretraining": "robust"}),
        scale={"pretraining": {"robust": {"recipe": {"epochs": 3}}}, "stand_ins": {"datasets": {"imagenet": "low"}}},
    )
    spec = plan.step("train", "pretraining/robust").spec
    assert (spec["recipe"]["epochs"], spec["recipe"]["batch_size"], spec["dataset"]["name"]) == (3, 8, "low")
    plan = planned(
        paper=paper(pretraining={"robust": own}, experiment={"pretraining": "robust"}),
        scale={"stand_ins": {"pretraining": {"robust": "low_standard"}}},
    )
    assert [id for id in ids(plan, "train") if id.startswith("pretraining/")] == ["pretraining/low_standard"]


def test_the_scale_may_override_one_methods_recipe_parameters_and_tuning(planned):
    tuned = {"title": "M", "color": "#000000", "implementation": toy_config.AT, "parameters": {"weight": 2.0}}
    tuned["tuning"] = part("robustft.models.tunings.protocol:Partial", frozen=["backbone.stem"])
    override = {
        "recipe": {"lr": 0.5},
        "parameters": {"weight": 3.0},
        "tuning": {"parameters": {"frozen": ["head"]}},
    }
    plan = planned(
        paper=paper(methods={"tuned": tuned}, experiment={"methods": ["at", "tuned"]}, tables={}, claims=[]),
        scale={"papers": {"toy": {"overrides": {"tuned": override}, "recipe": {"epochs": 1}}}},
    )
    spec = trained(plan, "tuned").spec
    assert spec["method"]["parameters"] == {"weight": 3.0}
    assert spec["method"]["tuning"] == part("robustft.models.tunings.protocol:Partial", frozen=["head"])
    assert (spec["recipe"]["lr"], spec["recipe"]["epochs"]) == (0.5, 1)
    assert trained(plan, "at").spec["recipe"]["lr"] == 0.05
    assert trained(plan, "at").spec["method"] == {
        "name": "at",
        "implementation": toy_config.AT,
        "parameters": {},
        "tuning": None,
    }


def test_the_scale_may_override_one_experiments_budget_and_seeds(planned):
    own = {"recipe": {"epochs": 5}, "training_attack": {"steps": 3}, "monitor": {"images": 2}, "seeds": [1]}
    scale = {"papers": {"toy": {"recipe": {"epochs": 4, "lr": 0.25}, "experiments": {"main": own}}}}
    plan = planned(scale=scale)
    assert [run.seed for run in plan.runs] == [1, 1]
    spec = trained(plan, "at", seed=1).spec
    assert (spec["recipe"]["epochs"], spec["recipe"]["lr"]) == (5, 0.25)
    assert (spec["training_attack"]["steps"], spec["monitor"]["images"]) == (3, 2)


def test_a_method_that_needs_an_auxiliary_data_set_without_a_stand_in_is_an_error_of_the_plan(planned):
    change = {"methods": {"at": {"uses_auxiliary": True}}}
    datasets = {"datasets": {"imagenet": {**toy_config.VIEW, "title": "I", "classes": [0, 1]}}}
    with pytest.raises(ConfigError, match="'at' needs an auxiliary data set"):
        planned(paper=paper(experiment={"auxiliary": "imagenet"}), methods=change, datasets=datasets)


def test_one_name_for_weights_and_a_pretraining_is_an_error(published):
    scale = {"pretraining": {"robust": pretraining()}, "stand_ins": {"datasets": {"pictures": "pictures"}}}
    with pytest.raises(ConfigError, match="'robust' is both published weights and a pre-training"):
        published(scale=scale)


def test_a_paper_may_call_its_own_pretraining_what_weights_are_not_called(published):
    with pytest.raises(ConfigError, match="unknown pretraining 'robusty'"):
        published(paper=paper(experiment={"pretraining": "robusty"}))


def test_a_list_of_data_sets_of_an_evaluation_says_which_have_no_stand_in(planned):
    plan = planned(paper=paper(evaluations={"robustness": {"datasets": ["high", "nowhere"]}}))
    assert plan.left_out == ["toy/evaluation robustness: in part: its data set nowhere has no stand-in"]


def test_settings_of_a_scale_for_a_paper_that_is_not_there_are_an_error(planned):
    """`twin:` for `twins:` was taken, and the paper ran with the budget of everything else."""
    with pytest.raises(ConfigError, match=r"unknown paper 'toyz'[\s\S]*small.yaml, line \d+[\s\S]*did you mean 'toy'"):
        planned(scale={"papers": {"toyz": {"left_out": ["main"]}}})


def test_an_experiment_may_set_values_of_a_method_and_the_scale_after_it(planned):
    change = paper(experiment={"overrides": {"at": {"recipe": {"lr": 0.5, "epochs": 7}}}})
    recipes = [run.step.spec["recipe"] for run in planned(paper=change).runs if run.method == "at"]
    assert {(recipe["lr"], recipe["epochs"]) for recipe in recipes} == {(0.5, 7)}
    scale = {"papers": {"toy": {"overrides": {"at": {"recipe": {"epochs": 1}}}}}}
    recipes = [run.step.spec["recipe"] for run in planned(paper=change, scale=scale).runs if run.method == "at"]
    assert {(recipe["lr"], recipe["epochs"]) for recipe in recipes} == {(0.5, 1)}


@pytest.mark.parametrize("methods", [["given"], ["given", "at"]])
def test_an_experiment_that_trains_nothing_needs_no_budget_and_one_that_trains_does(tmp_path, methods):
    given = {"title": "G", "color": "#000000", "from": ["initial"]}
    shown = {"methods": {"given": given}, "tables": {}, "claims": []}
    toy_config.write(tmp_path, paper=paper(**shown, experiment={"methods": methods}))
    path = tmp_path / "papers" / "toy" / "paper.yaml"
    values = yaml.safe_load(path.read_text())
    for key in ("recipe", "training_attack", "monitor", "diagnostics"):
        del values["experiments"]["main"][key]
    path.write_text(yaml.safe_dump(values))
    config = Config(folder=tmp_path)
    if methods == ["given"]:
        assert not any(run.trained for run in Plan(config).runs)
        return
    with pytest.raises(ConfigError, match="the key 'recipe' is missing, and the method 'at' trains"):
        Plan(config)


def test_a_subset_of_images_is_an_option_of_the_scale(planned):
    whole, part_of_it = planned(), planned(scale={"subset": {"images": 3}})
    assert {step.spec["images"][1] for step in part_of_it.of_kind("attack")} == {3}
    assert "subset" not in whole.step("verdicts", "toy").spec
    assert part_of_it.step("verdicts", "toy").spec["subset"] is True


def test_a_scale_may_leave_out_an_evaluation(planned):
    plan = planned(scale={"papers": {"toy": {"left_out": ["robustness"]}}})
    assert plan.runs
    assert not plan.evaluations
    assert plan.left_out == ["toy/evaluation robustness: the scale leaves it out"]
    with pytest.raises(ConfigError, match=r"(?s)unknown experiment 'robustnes'.*did you mean 'robustness'"):
        planned(scale={"papers": {"toy": {"left_out": ["robustnes"]}}})
