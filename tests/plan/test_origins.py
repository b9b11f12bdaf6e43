"""Each value of a step has the origin that its layers say."""

from pathlib import Path

import pytest
import yaml

from robustft.plan import origins_of
from tests.toy_config import VIEW, paper

TAGGED = {"epochs": {"value": 60, "basis": "published", "source": "section 4"}, "lr": 0.5}


def of_run(plan, method="at", dataset="high"):
    return origins_of(plan, plan.step("train", f"toy/main/{dataset}/{method}/seed0"))


def test_a_value_of_the_paper_has_its_basis_and_its_source(planned):
    plan = planned(paper=paper(experiment={"recipe": TAGGED}))
    origin = of_run(plan)["recipe.epochs"]
    assert (origin.keys, origin.basis, origin.source) == ("experiments.main.recipe.epochs", "published", "section 4")
    assert origin.file == "config/papers/toy/paper.yaml"
    line = (plan.config.folder.parent / origin.file).read_text().splitlines()[origin.line - 1]
    assert line.strip() == "epochs:"
    assert of_run(plan)["recipe.lr"].basis is None


@pytest.mark.parametrize(
    ("change", "file", "keys"),
    [
        ({}, "paper.yaml", "experiments.main.recipe.lr"),
        ({"scale": {"papers": {"toy": {"recipe": {"lr": 1}}}}}, "small.yaml", "papers.toy.recipe.lr"),
        (
            {"scale": {"papers": {"toy": {"recipe": {"lr": 1}, "experiments": {"main": {"recipe": {"lr": 2}}}}}}},
            "small.yaml",
            "papers.toy.experiments.main.recipe.lr",
        ),
        (
            {
                "scale": {"papers": {"toy": {"recipe": {"lr": 1}}}},
                "methods": {"methods": {"at": {"recipe": {"lr": 3}}}},
            },
            "methods.yaml",
            "methods.at.recipe.lr",
        ),
        (
            {"paper": paper(experiment={"overrides": {"at": {"recipe": {"lr": 4}}}})},
            "paper.yaml",
            "experiments.main.overrides.at.recipe.lr",
        ),
    ],
    ids=["experiment", "scale", "scale of the experiment", "method", "override"],
)
def test_the_layer_that_counts_is_the_origin(change, file, keys, planned):
    origin = of_run(planned(**change))["recipe.lr"]
    assert (Path(origin.file).name, origin.keys) == (file, keys)
    assert origin.line is not None


def test_what_stands_in_is_named_by_the_scale(planned):
    plan = planned(
        paper=paper(experiment={"datasets": ["cifar"]}), scale={"stand_ins": {"datasets": {"cifar": "high"}}}
    )
    origin = of_run(plan)["dataset.name"]
    assert (Path(origin.file).name, origin.keys) == ("small.yaml", "stand_ins.datasets.cifar")


def test_every_value_of_a_specification_has_the_value_that_stands_at_its_origin(planned):
    """Each origin leads back to the value in the step, so no layer is noted that does not count."""
    plan = planned(paper=paper(experiment={"recipe": TAGGED}), datasets={"datasets": {"high": {**VIEW, "title": "H"}}})
    for step in (*plan.of_kind("train"), *plan.of_kind("attack"), *plan.of_kind("data")):
        origins = origins_of(plan, step)
        assert {path.split(".")[0] for path in origins} <= set(step.spec)
        for path, origin in origins.items():
            value, there = step.spec, yaml.safe_load((plan.config.folder.parent / origin.file).read_text())
            for key in path.split("."):
                value = value[int(key)] if isinstance(value, list) else value[key]
            for key in origin.keys.split("."):
                there = there.get(key, {}) if isinstance(there, dict) else there
                there = there["value"] if isinstance(there, dict) and "basis" in there else there
            named = path.endswith("name")
            assert value == there or named or (isinstance(there, list) and value in there), (step.key, path, origin)


def test_what_the_plan_computes_has_no_origin(planned):
    plan = planned()
    assert not {"initial.digests", "dataset.prompts", "scale"} & set(of_run(plan))
    assert not {"models", "images"} & set(origins_of(plan, plan.evaluations[0].step))
