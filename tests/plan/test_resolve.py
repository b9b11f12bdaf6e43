"""Layers, stand-ins and names: what a run is at one scale."""

import pytest

from robustft.errors import ConfigError
from tests import toy_config
from tests.plan.toy_plan import FILES, WEIGHTS, ids, trained
from tests.toy_config import paper, part, pretraining


def test_a_paper_may_have_stand_ins_of_its_own_in_the_place_of_the_shared_ones(planned):
    shared, own = {"cifar10": "high", "spared": "low"}, {"cifar10": "named"}
    change = paper(experiment={"datasets": ["cifar10", "spared"]})
    scale = {"stand_ins": {"datasets": shared}}
    assert {run.dataset for run in planned(paper=change, scale=scale).runs} == {"high", "low"}
    scale["papers"] = {"toy": {"stand_ins": {"datasets": own}}}
    assert {run.dataset for run in planned(paper=change, scale=scale).runs} == {"named"}


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


def test_a_data_set_with_names_gives_a_text_for_each_class(planned):
    plan = planned(paper=paper(experiment={"datasets": ["named", "high"]}))
    assert trained(plan, "at", dataset="named").spec["dataset"]["prompts"] == ["the digit five", "the digit six"]
    assert trained(plan, "at").spec["dataset"]["prompts"] is None


def test_a_data_set_that_two_names_stand_for_is_evaluated_once(planned):
    plan = planned(
        paper=paper(
            evaluations={"robustness": {"datasets": ["flowers", "cars", "nowhere"]}},
        ),
        scale={"stand_ins": {"datasets": {"flowers": "named", "cars": "named"}}},
    )
    assert [e.dataset for e in plan.evaluations] == ["named"] * 4


def test_an_attack_may_have_a_threat_of_its_own_and_the_scale_another(planned):
    attacks = {"attacks": {"pgd2": {"threat": {"norm": "l2", "eps": "1/2"}}}}
    both = {"evaluations": {"robustness": {"attacks": ["fgsm", "pgd2"]}}}
    found = {a["name"]: a for a in planned(attacks=attacks, paper=both).evaluations[0].step.spec["attacks"]}
    assert found["pgd2"]["threat"] == {"norm": "l2", "eps": "1/2"}
    assert "threat" not in found["fgsm"]
    scale = {"attacks": {"pgd2": {"threat": {"eps": "2"}, "steps": 7}}}
    found = {
        a["name"]: a for a in planned(attacks=attacks, paper=both, scale=scale).evaluations[0].step.spec["attacks"]
    }
    assert found["pgd2"]["threat"] == {"norm": "l2", "eps": "2"}
    assert found["pgd2"]["steps"] == 7


def test_one_name_for_weights_and_a_pretraining_is_an_error(published):
    scale = {"pretraining": {"robust": pretraining()}, "stand_ins": {"datasets": {"pictures": "pictures"}}}
    with pytest.raises(ConfigError, match="'robust' is both published weights and a pre-training"):
        published(scale=scale)


def test_a_paper_may_call_its_own_pretraining_what_weights_are_not_called(published):
    with pytest.raises(ConfigError, match="unknown pretraining 'robusty'"):
        published(paper=paper(experiment={"pretraining": "robusty"}))


def test_at_the_papers_own_scale_everything_stands_for_itself(planned):
    plan = planned(
        paper=paper(experiment={"datasets": ["spared"], "backbone": "tiny"}),
        scale={"reproduces": True, "stand_ins": {"datasets": {"spared": "spared"}}},
    )
    assert {run.dataset for run in plan.runs} == {"spared"}


def second(**changes):
    """A change of the paper: a second experiment, the first one with some values replaced."""
    return {"experiments": {"second": {**toy_config.files()["papers/toy/paper"]["experiments"]["main"], **changes}}}


def test_a_scale_may_leave_an_experiment_out(planned):
    plan = planned(paper=second(), scale={"papers": {"toy": {"left_out": ["main"]}}})
    assert {run.experiment for run in plan.runs} == {"second"}
    assert plan.left_out == ["toy/main: the scale leaves it out"]
    with pytest.raises(ConfigError, match="unknown experiment 'mian'"):
        planned(scale={"papers": {"toy": {"left_out": ["mian"]}}})


@pytest.mark.parametrize(
    ("experiment", "reason"),
    [
        ({"backbone": "huge"}, "its backbone huge has no stand-in"),
        ({"pretraining": "robust"}, "its pre-training robust has no stand-in"),
        ({"datasets": ["flowers", "cars"]}, "its data sets flowers, cars have no stand-in"),
    ],
)
def test_without_a_stand_in_an_experiment_is_left_out_and_the_plan_says_why(planned, experiment, reason):
    """A scale without one stand-in planned 0 runs of 0, with exit status 0 and not a word."""
    changes = {
        "backbones": {"backbones": {"huge": toy_config.files()["backbones"]["backbones"]["tiny"]}},
        "weights": WEIGHTS,
        "datasets": {
            "files": {"archive": FILES["archive"]},
            "datasets": {name: {**toy_config.VIEW, "title": name, "classes": [1, 2]} for name in ("flowers", "cars")},
        },
    }
    assert planned(paper=second(**experiment), **changes).left_out == [f"toy/second: {reason}"]
    with pytest.raises(ConfigError, match=r"no run of toy is planned at scale 'small'") as raised:
        planned(paper=paper(experiment=experiment), **changes)
    assert f"toy/main: {reason}" in str(raised.value)


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
