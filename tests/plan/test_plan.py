"""The plan: the right steps, stable identities, and no torch."""

import subprocess
import sys
from pathlib import Path

import pytest

from robustft.config.load import Config
from robustft.errors import ConfigError, RobustftError
from robustft.plan import Plan
from robustft.plan.step import implementations
from tests import toy_config
from tests.toy_config import method, paper, part, pretraining

ROOT = Path(__file__).resolve().parents[2]
AVERAGE = part("robustft.models.tunings.merging:uniform", defences=["at", "partial"])


@pytest.fixture(scope="module")
def demo() -> Plan:
    return Plan(Config(scale="demo"))


@pytest.fixture(scope="module")
def plan(tmp_path_factory) -> Plan:
    return Plan(toy_config.write(tmp_path_factory.mktemp("plan") / "config"))


@pytest.fixture
def planned(tmp_path):
    """Plan the small configuration with some values replaced."""
    return lambda **changes: Plan(toy_config.write(tmp_path / "config", **changes))


def trained(plan: Plan, method: str, seed: int = 0, dataset: str = "high"):
    """The training step of a run of the small paper."""
    return plan.step("train", f"toy/main/{dataset}/{method}/seed{seed}")


def ids(plan: Plan, kind: str) -> list[str]:
    return [step.id for step in plan.of_kind(kind)]


def test_the_demo_holds_every_method_of_every_paper_unless_the_scale_says_otherwise(demo):
    for name, document in demo.config.papers.items():
        override = demo.config.scale["papers"].get(name, {})
        for experiment, values in document.values["experiments"].items():
            runs = {(run.method, run.seed) for run in demo.runs if (run.paper, run.experiment) == (name, experiment)}
            if not runs:  # left out by name, or for want of a stand-in: never a paper's main experiment
                assert experiment not in ("main", "control")
                continue
            methods = [method for method in values["methods"] if method in override.get("methods", values["methods"])]
            assert {method for method, _ in runs} == set(methods), f"{name}/{experiment}"
            seeds = override.get("experiments", {}).get(experiment, {}).get("seeds", override.get("seeds"))
            wanted = [seed for seed in values["seeds"] if seeds is None or seed in seeds]
            assert {seed for _, seed in runs} == set(wanted), f"{name}/{experiment}"


def test_the_demo_of_twins_compares_at_least_its_methods_and_their_controls(demo):
    runs = {(run.method, run.seed) for run in demo.runs if (run.paper, run.experiment) == ("twins", "main")}
    methods = {"linear_probe", "at", "at_scaled", "trades", "trades_released", "twins_at", "twins_trades"}
    methods |= {"twins_trades_half_beta", "twins_trades_released"}
    assert runs >= {(method, seed) for method in methods for seed in (0, 1, 2)}
    control = [run.method for run in demo.runs if (run.paper, run.experiment) == ("twins", "control")]
    assert control == ["standard"]


@pytest.mark.parametrize("which", ["demo", "plan"])
def test_each_step_reads_what_an_earlier_step_writes(which, request):
    plan = request.getfixturevalue(which)
    made: set[str] = set()
    for step in plan.steps.values():
        assert set(step.inputs.values()) <= made, step.key
        assert set(step.upstream) == set(step.inputs)
        made |= set(step.outputs.values())
    paths = [path for step in plan.steps.values() for path in (*step.outputs.values(), step.record)]
    assert len(paths) == len(set(paths)), "two steps write one file"


def test_equal_configuration_gives_equal_digests(demo):
    again = Plan(Config(scale="demo"))
    assert {k: s.digest for k, s in demo.steps.items()} == {k: s.digest for k, s in again.steps.items()}


@pytest.mark.parametrize("which", ["demo", "plan"])
def test_digests_tell_runs_apart(which, request):
    digests = [step.digest for step in request.getfixturevalue(which).steps.values()]
    assert len(digests) == len(set(digests))


def test_how_often_the_state_is_saved_is_no_part_of_a_steps_identity(plan):
    step = trained(plan, "at")
    assert "save_every_steps" not in str(step.spec)
    assert step.settings["save_every_steps"] == 2


# -- what a run starts from --------------------------------------------------------------------------------------------


def test_the_pretraining_is_part_of_a_runs_identity(planned):
    plan = planned()
    step, source = trained(plan, "at"), plan.step("train", "pretraining/low_standard")
    assert step.spec["initial"] == {"digests": [source.digest], "from": [], "parts": None, "derivation": None}
    assert step.inputs == {
        "data": "results/data/digits.safetensors",
        "initial": "results/small/pretraining/low_standard/checkpoint.safetensors",
    }
    longer = planned(scale={"pretraining": {"low_standard": {"recipe": {"epochs": 3}}}})
    assert trained(longer, "at").digest != step.digest


def test_a_run_from_scratch_starts_from_nothing_and_no_pretraining_is_planned(planned):
    plan = planned(paper=paper(experiment={"pretraining": "none"}))
    assert trained(plan, "at").spec["initial"] is None
    assert list(trained(plan, "at").inputs) == ["data"]
    assert not [id for id in ids(plan, "train") if id.startswith("pretraining/")]


def test_only_the_data_and_pretrainings_that_the_chosen_papers_need_are_planned(planned):
    more = {"unneeded": pretraining(dataset="spared")}
    plan = planned(scale={"pretraining": more})
    assert ids(plan, "data") == ["digits"]  # the source of `spared` is never read
    assert [id for id in ids(plan, "train") if id.startswith("pretraining/")] == ["pretraining/low_standard"]
    plan = planned(scale={"pretraining": more}, paper=paper(experiment={"pretraining": "unneeded"}))
    assert sorted(ids(plan, "data")) == ["digits", "spare"]
    assert [id for id in ids(plan, "train") if id.startswith("pretraining/")] == ["pretraining/unneeded"]


def test_what_one_paper_needs_is_not_planned_for_another(tmp_path):
    import yaml

    toy_config.write(tmp_path / "config")
    toy = yaml.safe_load((tmp_path / "config" / "papers" / "toy.yaml").read_text())
    toy["paper"], toy["experiments"]["main"]["pretraining"] = "second", "none"
    toy["experiments"]["main"]["datasets"] = ["spared"]
    (tmp_path / "config" / "papers" / "second.yaml").write_text(yaml.safe_dump(toy))
    both, one = (Plan(Config(papers=papers, folder=tmp_path / "config")) for papers in (None, "second"))
    assert ids(both, "data") == ["spare", "digits"]
    assert ids(one, "data") == ["spare"]
    assert not [id for id in ids(one, "train") if not id.startswith("second/")]
    assert {key: both.steps[key].digest for key in one.steps if key != "seal:small"} == {
        key: step.digest for key, step in one.steps.items() if key != "seal:small"
    }


def test_a_corrupted_source_is_made_from_the_data_set_that_it_corrupts(planned):
    corrupted = {
        "title": "C",
        "loader": "robustft.data.datasets.corruptions:load",
        "corrupted_from": {"dataset": "spared", "split": "test", "images": 4},
        "corruptions": ["fog", "snow"],
        "draw_seed": 0,
        "licence": "L",
        "shape": [1, 8, 8],
        "levels": 255,
    }
    foggy = {"title": "Fog", "source": "bad", "corruption": "fog", "classes": [0, 1], "splits": {"test": 20}}
    datasets = {"sources": {"bad": corrupted}, "datasets": {"foggy": foggy}}
    assert ids(planned(datasets=datasets), "data") == ["digits"]
    evaluation = {"attacks": ["clean"], "split": "test", "shard_images": 8, "parts": 1, "datasets": ["foggy"]}
    change = paper(evaluations={"fog": evaluation}, experiment={"evaluations": ["fog"]})
    plan = planned(datasets=datasets, paper=change, scale={"stand_ins": {"datasets": {"foggy": "foggy"}}})
    assert ids(plan, "data") == ["digits", "spare", "bad"]  # the clean images come first
    assert plan.step("data", "bad").inputs == {"clean": "results/data/spare.safetensors"}
    assert "pipeline/robustft/data/datasets/corruptions.py" in plan.step("data", "bad").sources()
    assert plan.evaluations[0].step.inputs["data"] == "results/data/bad.safetensors"
    assert plan.evaluations[0].step.spec["images"] == [0, 20]


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


def test_a_method_may_have_a_pretraining_a_recipe_and_parts_of_its_own(planned):
    plan = planned(
        scale={"pretraining": {"low_at": pretraining(method="at")}},
        paper={
            "methods": {
                "partial": {
                    "pretraining": "low_at",
                    "pretrained_parts": ["backbone.stem"],
                    "recipe": {"lr": 1.5, "warmup_steps": 4},
                    "trains_on": "validation",
                }
            }
        },
    )
    other, step = trained(plan, "at").spec, trained(plan, "partial").spec
    source = plan.step("train", "pretraining/low_at")
    assert step["initial"] == {
        "digests": [source.digest],
        "from": [],
        "parts": ["backbone.stem"],
        "derivation": None,
    }
    assert step["recipe"] == {**other["recipe"], "lr": 1.5, "warmup_steps": 4}
    assert (step["split"], other["split"]) == ("validation", "train")
    assert other["initial"]["digests"] == [plan.step("train", "pretraining/low_standard").digest]


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


DERIVED = {
    "merged": method(**{"from": ["at", "partial"]}, derivation=AVERAGE),
    "continued": method(toy_config.STANDARD, **{"from": ["at"]}),
    "zero_shot": method(**{"from": ["initial"]}),
    "averaged": method(toy_config.AT, **{"from": ["partial", "initial"]}, derivation=AVERAGE),
}
ALL = paper(methods=DERIVED, experiment={"methods": ["at", "partial", *DERIVED]})


def test_a_method_with_from_and_no_implementation_is_evaluated_and_not_trained(planned):
    plan = planned(paper=ALL)
    assert not [id for id in ids(plan, "train") if "/merged/" in id or "/zero_shot/" in id]
    for seed in (0, 1):
        (evaluation,) = [e for e in plan.evaluations if (e.run.method, e.run.seed) == ("merged", seed)]
        at, partial = trained(plan, "at", seed), trained(plan, "partial", seed)
        assert evaluation.run.trained is False
        assert evaluation.run.steps == (at, partial)
        assert evaluation.step.spec["models"] == [at.digest, partial.digest]
        assert evaluation.step.spec["derivation"] == AVERAGE
        assert evaluation.step.inputs == {
            "data": "results/data/digits.safetensors",
            "checkpoint1": at.outputs["checkpoint"],
            "checkpoint2": partial.outputs["checkpoint"],
        }
        assert "pipeline/robustft/models/tunings/merging.py" in evaluation.step.sources()


def test_initial_is_the_pretrained_model_itself(planned):
    plan = planned(paper=ALL)
    source = plan.step("train", "pretraining/low_standard")
    for evaluation in (e for e in plan.evaluations if e.run.method == "zero_shot"):
        assert evaluation.step.spec["models"] == [source.digest]
        assert evaluation.step.inputs["checkpoint"] == source.outputs["checkpoint"]


def test_a_method_with_from_and_an_implementation_is_trained_from_those_runs_of_its_seed(planned):
    plan = planned(paper=ALL)
    for seed in (0, 1):
        at, partial = trained(plan, "at", seed), trained(plan, "partial", seed)
        source = plan.step("train", "pretraining/low_standard")
        step = trained(plan, "continued", seed)
        expected = {"digests": [at.digest], "from": ["from_at"], "parts": None, "derivation": None}
        assert step.spec["initial"] == expected
        assert step.inputs["from_at"] == at.outputs["checkpoint"]
        step = trained(plan, "averaged", seed)
        assert step.spec["initial"] == {
            "digests": [partial.digest, source.digest],
            "from": ["from_partial", "initial"],
            "parts": None,
            "derivation": AVERAGE,
        }
        assert step.inputs["initial"] == source.outputs["checkpoint"]
        assert step.inputs["from_partial"] == partial.outputs["checkpoint"]
        assert "pipeline/robustft/models/tunings/protocol.py" in step.sources()


@pytest.mark.parametrize(
    ("methods", "source"),
    [(["at", "partial", "continued"], "nothing"), (["at", "continued", "partial"], "partial"), (["continued"], "at")],
    ids=["unknown", "later", "left out"],
)
def test_from_a_method_that_is_unknown_later_or_left_out_is_an_error(methods, source, planned):
    continued = method(toy_config.STANDARD, **{"from": [source]})
    change = paper(methods={"continued": continued}, experiment={"methods": methods}, tables={}, claims=[])
    with pytest.raises(ConfigError, match=r"(?s)'continued' starts from a run that is not planned before it") as error:
        planned(paper=change)
    assert f"toy/main/high/{source}/seed0" in str(error.value)


# -- data of experiments and evaluations -------------------------------------------------------------------------------


def test_an_auxiliary_data_set_is_an_input_with_its_specification_and_may_be_stood_in_for(planned):
    plan = planned(
        paper=paper(experiment={"auxiliary": "imagenet"}),
        scale={"stand_ins": {"datasets": {"imagenet": "spared"}}},
        methods={"methods": {"at": {"uses_auxiliary": True}}},
    )
    step = trained(plan, "at")
    assert step.inputs["auxiliary"] == "results/data/spare.safetensors"
    assert step.spec["auxiliary"]["name"] == "spared"
    assert step.spec["auxiliary"]["augmentation"] == {"pad": 0, "flip": False}
    other = trained(plan, "partial")  # it does not use it, so it does not wait for it
    assert (other.spec["auxiliary"], "auxiliary" in other.inputs) == (None, False)
    assert trained(planned(), "at").spec["auxiliary"] is None


def test_a_method_that_needs_an_auxiliary_data_set_without_a_stand_in_is_an_error_of_the_plan(planned):
    change = {"methods": {"at": {"uses_auxiliary": True}}}
    datasets = {"datasets": {"imagenet": {**toy_config.VIEW, "title": "I", "classes": [0, 1]}}}
    with pytest.raises(ConfigError, match="'at' needs an auxiliary data set"):
        planned(paper=paper(experiment={"auxiliary": "imagenet"}), methods=change, datasets=datasets)


def test_a_data_set_with_names_gives_a_text_for_each_class(planned):
    plan = planned(paper=paper(experiment={"datasets": ["named", "high"]}))
    assert trained(plan, "at", dataset="named").spec["dataset"]["prompts"] == ["the digit five", "the digit six"]
    assert trained(plan, "at").spec["dataset"]["prompts"] is None


ELSEWHERE = {"attacks": ["clean"], "split": "test", "shard_images": 8, "parts": 1, "datasets": ["named", "low"]}


def test_an_evaluation_may_be_on_data_sets_of_its_own(planned):
    plan = planned(
        paper=paper(evaluations={"zero_shot": ELSEWHERE}, experiment={"evaluations": ["robustness", "zero_shot"]})
    )
    found = {(e.name, e.dataset): e.step for e in plan.evaluations if (e.run.method, e.run.seed) == ("at", 0)}
    assert set(found) == {("robustness", "high"), ("zero_shot", "named"), ("zero_shot", "low")}
    step = found["zero_shot", "named"]
    assert step.id == "toy/main/high/at/seed0/zero_shot-named.1of1"
    assert (step.spec["dataset"], step.spec["prompts"]) == ("named", ["the digit five", "the digit six"])
    # The texts are read by the pre-trained model's tower.
    assert step.inputs["texts"] == plan.step("train", "pretraining/low_standard").outputs["checkpoint"]
    assert found["zero_shot", "low"].spec["prompts"] is None  # it names no classes: the run's own head is judged
    own = found["robustness", "high"]
    assert own.spec["prompts"] is None
    assert "texts" not in own.inputs
    members = plan.step("numbers", "toy").spec["members"]
    assert {(m["evaluation"], m["dataset"]) for m in members} == set(found)
    assert plan.step("table", "toy/main").spec["datasets"] == {
        "high": "High digits",
        "named": "Named digits",
        "low": "Low digits",
    }


def test_from_scratch_the_texts_are_read_by_the_runs_own_model(planned):
    plan = planned(
        paper=paper(
            evaluations={"zero_shot": ELSEWHERE}, experiment={"evaluations": ["zero_shot"], "pretraining": "none"}
        )
    )
    (step,) = [e.step for e in plan.evaluations if (e.run.method, e.run.seed, e.dataset) == ("at", 0, "named")]
    assert step.inputs["texts"] == step.inputs["checkpoint"] == trained(plan, "at").outputs["checkpoint"]


def test_an_evaluation_may_be_of_some_seeds_and_some_methods(planned):
    some = {**ELSEWHERE, "datasets": ["high"], "seeds": [1], "methods": ["partial"]}
    plan = planned(paper=paper(evaluations={"some": some}, experiment={"evaluations": ["robustness", "some"]}))
    assert [(e.run.method, e.run.seed) for e in plan.evaluations if e.name == "some"] == [("partial", 1)]
    assert len([e for e in plan.evaluations if e.name == "robustness"]) == 4


def test_a_data_set_that_two_names_stand_for_is_evaluated_once(planned):
    plan = planned(
        paper=paper(
            evaluations={"zero_shot": {**ELSEWHERE, "datasets": ["flowers", "cars", "nowhere"]}},
            experiment={"evaluations": ["zero_shot"]},
        ),
        scale={"stand_ins": {"datasets": {"flowers": "named", "cars": "named"}}},
    )
    assert [e.dataset for e in plan.evaluations] == ["named"] * 4


def test_an_evaluation_takes_no_more_images_than_there_are(planned):
    plan = planned(paper={"evaluations": {"robustness": {"images": 500}}})
    assert plan.evaluations[0].step.spec["images"] == [0, 20]


def test_parts_cover_the_images_once(planned):
    plan = planned(scale={"papers": {"toy": {"evaluations": {"robustness": {"images": 17, "parts": 3}}}}})
    steps = [e.step for e in plan.evaluations if e.run.step.id == "toy/main/high/at/seed0"]
    assert [step.spec["images"] for step in steps] == [[0, 5], [5, 11], [11, 17]]
    assert [step.id.rsplit("/")[-1] for step in steps] == [f"robustness.{part}of3" for part in (1, 2, 3)]


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


def test_what_is_checked_of_an_attack_is_no_part_of_the_attack(planned):
    checks = {"attacks": {"fgsm": {"checks": {"not_weaker_than": ["clean"]}}}}
    plain, checked = planned(), planned(attacks=checks)
    for one, other in zip(plain.of_kind("attack"), checked.of_kind("attack"), strict=True):
        assert one.digest == other.digest
    assert plain.step("numbers", "toy").digest != checked.step("numbers", "toy").digest
    assert checked.step("numbers", "toy").spec["checks"] == {"fgsm": {"not_weaker_than": ["clean"]}}


# -- sources -----------------------------------------------------------------------------------------------------------


def test_every_implementation_of_a_specification_is_found_however_deep_and_once():
    tree = {
        "implementation": "a:A",
        "parameters": {"defences": [{"implementation": "b:B"}, {"implementation": "c:C", "x": {"target": "d:d"}}]},
        "again": {"implementation": "a:A"},
        "target": "exported_model",
        "attacks": [{"target": "e:e"}, {"implementation": 3}],
        "title": "f:F",
    }
    assert implementations(tree) == ("a:A", "b:B", "c:C", "d:d", "e:e")


def test_a_steps_sources_hold_what_its_specification_names_however_deep(planned):
    inner = {"implementation": "robustft.methods.trades:Trades", "parameters": {"beta": 6.0}}
    hyper = {"defences": {"t": inner}}
    nested = method("robustft.methods.hyperat:HyperAT", parameters=hyper)
    plan = planned(paper=paper(methods={"nested": nested}, experiment={"methods": ["at", "partial", "nested"]}))
    assert "pipeline/robustft/methods/trades.py" in trained(plan, "nested").sources()
    assert "pipeline/robustft/methods/trades.py" not in trained(plan, "at").sources()
    assert "pipeline/robustft/models/tunings/protocol.py" in trained(plan, "partial").sources()


def test_an_attack_job_depends_on_the_attacks_backbone_and_tuning_that_it_names_and_on_no_method(planned):
    function = {
        "title": "F",
        "algorithm": "function",
        "implementation": "robustft.attacks.unseen:elastic",
        "parameters": {"steps": 1, "step_over_eps": "1"},
        "threat": {"norm": "linf", "eps": "1"},
        "target": "robustft.models.tunings.prompts:without_prompts",
    }
    plan = planned(
        attacks={"attacks": {"elastic": function}}, paper={"evaluations": {"robustness": {"attacks": ["elastic"]}}}
    )
    sources = plan.evaluations[0].step.sources()
    assert {
        "pipeline/robustft/attacks/unseen.py",
        "pipeline/robustft/models/tunings/prompts.py",
        "pipeline/robustft/models/backbones/resnet.py",
    } <= set(sources)
    assert not [name for name in sources if name.startswith("pipeline/robustft/methods/")]


# -- bundles -----------------------------------------------------------------------------------------------------------


def test_bundles_hold_every_training_and_attack_of_the_runs_once_and_nothing_else(planned):
    for plan in (planned(), planned(paper=ALL)):
        bundled = [step.key for bundle in plan.bundles() for step in bundle.steps]
        expected = [step.key for step in plan.of_kind("train") if not step.id.startswith("pretraining/")]
        expected += [step.key for step in plan.of_kind("attack")]
        assert sorted(bundled) == sorted(expected)


def test_a_bundle_is_one_methods_seeds_and_each_step_comes_after_what_it_reads(planned):
    plan = planned(paper=ALL)
    assert [bundle.name for bundle in plan.bundles()] == [
        f"toy_main_high_{name}" for name in ("at", "partial", *DERIVED)
    ]
    made = {path for kind in ("data", "train") for step in plan.of_kind(kind) for path in step.outputs.values()}
    made -= {path for bundle in plan.bundles() for step in bundle.steps for path in step.outputs.values()}
    for bundle in plan.bundles():
        for step in bundle.steps:
            assert set(step.inputs.values()) <= made, step.key
            made |= set(step.outputs.values())
    bundle = plan.bundle("toy_main_high_at")
    assert [step.kind for step in bundle.steps] == ["train", "attack", "train", "attack"]
    assert [step.kind for step in plan.bundle("toy_main_high_merged").steps] == ["attack", "attack"]


def test_a_bundle_holds_as_many_methods_as_the_scale_says(planned):
    alone, pairs = (planned(paper=ALL, scale={"bundle": most}).bundles() for most in (1, 2))
    keys = [[step.key for step in bundle.steps] for bundle in alone]
    joined = [[key for one in keys[first : first + 2] for key in one] for first in range(0, len(keys), 2)]
    assert [[step.key for step in bundle.steps] for bundle in pairs] == joined
    assert [bundle.name for bundle in pairs] == [bundle.name for bundle in alone[::2]]


def test_an_unknown_bundle_offers_the_nearest(plan):
    with pytest.raises(ConfigError, match="did you mean 'toy_main_high_at'"):
        plan.bundle("toy_main_high_ta")


# -- the report --------------------------------------------------------------------------------------------------------


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
    plan = planned(paper={**ALL, "figures": {"plain": figure, "deep": {**figure, "ledgers": True}}})
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


@pytest.mark.parametrize("which", ["demo", "plan"])
def test_validation_is_never_test(which, request):
    for step in request.getfixturevalue(which).of_kind("train"):
        assert step.spec["recipe"]["selection"] in ("last", "best_validation")
        assert step.spec["split"] in ("train", "validation")


def test_an_unknown_step_offers_the_nearest(plan):
    with pytest.raises(RobustftError, match="did you mean 'toy/main'"):
        plan.step("table", "toy/mian")


# -- from elsewhere: downloads and weights -----------------------------------------------------------------------------

FILES = {
    "archive": {"name": "a.tar", "urls": ["https://one/a.tar"], "bytes": 7, "md5": "0" * 32, "note": "for people"},
    "published": {"name": "w.pt", "manual": "ask them", "sha256": "1" * 64},
}
WEIGHTS = {
    "files": {"published": FILES["published"]},
    "weights": {
        "robust": {
            "title": "Robust weights",
            "file": "published",
            "reader": "robustft.models.pretrained.vit_formats:vit",
            "parameters": {"patch_size": 4},
            "backbone": "tiny",
            "shape": [1, 8, 8],
            "classes": 3,
            "licence": "L",
            "source": "a page",
        }
    },
}
ARCHIVED = {
    "title": "A",
    "loader": "robustft.data.datasets.digits:load",
    "files": {"images": "archive"},
    "images": 9,
    "licence": "L",
    "terms": "for people",
    "shape": [1, 8, 8],
    "levels": 255,
}
PICTURES = {"title": "P", "source": "archived", "classes": 2, "splits": {"train": 5, "test": 4}, "template": "a {}"}


@pytest.fixture
def elsewhere(planned):
    """A plan whose experiment runs on a downloaded set and starts from published weights."""

    def make(**changes):
        datasets = {
            "files": {"archive": FILES["archive"]},
            "sources": {"archived": ARCHIVED},
            "datasets": {"pictures": {**PICTURES, "augmentation": {"pad": 0, "flip": False}}},
        }
        selected = {"recipe": {"selection": "last"}, "datasets": ["pictures"], "pretraining": "robust"}
        values = {
            "datasets": datasets,
            "weights": WEIGHTS,
            "paper": paper(experiment=selected),
            "scale": {"stand_ins": {"datasets": {"pictures": "pictures"}, "pretraining": {"robust": "robust"}}},
        }
        return planned(**{**values, **changes})

    return make


def test_a_source_of_files_is_decoded_from_downloads_that_know_their_hash_and_not_their_address(elsewhere):
    plan = elsewhere()
    fetched = plan.step("download", "archive")
    assert fetched.spec == {"file": {"key": "archive", "name": "a.tar", "bytes": 7, "md5": "0" * 32}}
    assert fetched.settings == {"urls": ["https://one/a.tar"], "manual": None}
    assert fetched.outputs == {"file": "results/downloads/archive.download"}
    assert fetched.record == "results/downloads/archive.record.json"
    decoded = plan.step("data", "archived")
    assert decoded.inputs == {"images": "results/downloads/archive.download"}
    assert "terms" not in decoded.spec["source"]


def test_another_mirror_changes_no_identity(elsewhere):
    moved = {**FILES["archive"], "urls": ["https://two/a.tar"], "note": "other"}
    datasets = {
        "files": {"archive": moved},
        "sources": {"archived": {**ARCHIVED, "terms": "others"}},
        "datasets": {"pictures": {**PICTURES, "augmentation": {"pad": 0, "flip": False}}},
    }
    one, other = elsewhere(), elsewhere(datasets=datasets)
    assert {key: step.digest for key, step in one.steps.items()} == {key: s.digest for key, s in other.steps.items()}


def test_published_weights_are_a_pretraining(elsewhere):
    plan = elsewhere()
    weights = plan.step("weights", "robust")
    assert weights.inputs == {"file": "results/downloads/published.download"}
    assert weights.spec["backbone"]["name"] == "tiny"
    assert weights.spec["weights"] == {
        "name": "robust",
        "file": "published",
        "reader": "robustft.models.pretrained.vit_formats:vit",
        "parameters": {"patch_size": 4},
        "licence": "L",
    }
    run = plan.runs[0]
    assert run.step.inputs["initial"] == weights.outputs["checkpoint"] == "results/weights/robust.safetensors"
    assert run.step.spec["initial"]["digests"] == [weights.digest]
    assert "pipeline/robustft/models/tunings/protocol.py" in weights.sources()


def test_a_scales_pretraining_may_go_on_from_published_weights(elsewhere):
    scale = {
        "pretraining": {"further": pretraining(pretraining="robust")},
        "stand_ins": {"datasets": {"pictures": "pictures"}, "pretraining": {}},
    }
    plan = elsewhere(scale=scale, paper=paper(experiment={"datasets": ["pictures"], "pretraining": "further"}))
    further = plan.step("train", "pretraining/further")
    assert further.inputs["initial"] == "results/weights/robust.safetensors"
    assert plan.runs[0].step.inputs["initial"] == further.outputs["checkpoint"]


def test_one_name_for_weights_and_a_pretraining_is_an_error(elsewhere):
    scale = {"pretraining": {"robust": pretraining()}, "stand_ins": {"datasets": {"pictures": "pictures"}}}
    with pytest.raises(ConfigError, match="'robust' is both published weights and a pre-training"):
        elsewhere(scale=scale)


def test_names_that_come_with_the_data_leave_a_template_in_the_specification(elsewhere):
    assert elsewhere().runs[0].step.spec["dataset"]["prompts"] == {"template": "a {}"}


def test_a_paper_may_call_its_own_pretraining_what_weights_are_not_called(elsewhere):
    with pytest.raises(ConfigError, match="unknown pretraining 'robusty'"):
        elsewhere(paper=paper(experiment={"pretraining": "robusty"}))


# -- what a scale runs -------------------------------------------------------------------------------------------------


def test_at_the_papers_own_scale_everything_stands_for_itself(planned):
    plan = planned(
        paper=paper(experiment={"datasets": ["spared"], "backbone": "tiny"}),
        scale={"reproduces": True, "stand_ins": {"datasets": {"spared": "spared"}}},
    )
    assert {run.dataset for run in plan.runs} == {"spared"}


def test_an_experiment_without_a_stand_in_for_its_backbone_is_left_out_with_its_tables_and_figures(planned):
    other = {"huge": toy_config.files()["backbones"]["backbones"]["tiny"]}
    plan = planned(backbones={"backbones": other}, paper=paper(experiment={"backbone": "huge"}))
    assert plan.runs == []
    assert plan.of_kind("table") == plan.of_kind("figure") == []
    assert len(plan.of_kind("verdicts")) == 1  # its claims are there, as not run


def test_a_scale_may_leave_an_experiment_out(planned):
    assert planned().runs
    assert planned(scale={"papers": {"toy": {"left_out": ["main"]}}}).runs == []
    with pytest.raises(ConfigError, match="unknown experiment 'mian'"):
        planned(scale={"papers": {"toy": {"left_out": ["mian"]}}})


def test_an_experiment_may_set_values_of_a_method_and_the_scale_after_it(planned):
    change = paper(experiment={"overrides": {"at": {"recipe": {"lr": 0.5, "epochs": 7}}}})
    recipes = [run.step.spec["recipe"] for run in planned(paper=change).runs if run.method == "at"]
    assert {(recipe["lr"], recipe["epochs"]) for recipe in recipes} == {(0.5, 7)}
    scale = {"papers": {"toy": {"overrides": {"at": {"recipe": {"epochs": 1}}}}}}
    recipes = [run.step.spec["recipe"] for run in planned(paper=change, scale=scale).runs if run.method == "at"]
    assert {(recipe["lr"], recipe["epochs"]) for recipe in recipes} == {(0.5, 1)}


def test_a_table_shows_the_columns_that_a_scale_measures(planned):
    """A scale with fewer attacks once left the table a column without a title, and the report failed."""
    columns = {name: {"columns": ["clean", "pgd2", "fgsm"]} for name in toy_config.files()["papers/toy"]["tables"]}
    (table,) = planned(paper={"tables": columns}).of_kind("table")
    assert table.spec["table"]["columns"] == ["clean", "fgsm"]
    assert {"clean", "fgsm"} <= set(table.spec["attacks"])


def test_a_table_none_of_whose_columns_was_measured_is_left_out(planned):
    names = [step.id for step in planned().of_kind("table")]
    assert names
    columns = {name: {"columns": ["pgd2"]} for name in toy_config.files()["papers/toy"]["tables"]}
    assert planned(paper={"tables": columns}).of_kind("table") == []


def test_planning_auditing_and_reporting_never_import_torch():
    modules = [
        *(
            "robustft.plan",
            "robustft.cost",
            "robustft.cli.parser",
            "robustft.provenance.audit",
            "robustft.provenance.explain",
        ),
        *(
            "robustft.provenance.run",
            "robustft.provenance.bundle",
            "robustft.report.numbers",
            "robustft.report.tables",
            "robustft.report.verdicts",
        ),
        *("robustft.report.figures.step", "robustft.report.figures.twins_diagnostics", "robustft.data.step"),
    ]
    code = (
        f"import sys, importlib\nfor m in {modules!r}:\n    importlib.import_module(m)\nprint('torch' in sys.modules)"
    )
    said = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "False"
