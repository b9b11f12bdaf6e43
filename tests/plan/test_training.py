"""What a training starts from, reads and is made of."""

import pytest

from robustft.errors import ConfigError
from tests import toy_config
from tests.plan.toy_plan import ALL, AVERAGE, ids, trained
from tests.toy_config import method, paper, pretraining


def test_how_often_the_state_is_saved_is_no_part_of_a_steps_identity(plan):
    step = trained(plan, "at")
    assert "save_every_steps" not in str(step.spec)
    assert step.settings["save_every_steps"] == 2


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


def test_a_methods_threat_is_what_it_trains_against_and_not_what_it_is_judged_by(planned):
    plan = planned(paper={"methods": {"partial": {"threat": {"eps": "1/3"}}}})
    other, step = trained(plan, "at").spec, trained(plan, "partial").spec
    assert step["threat"] == {**other["threat"], "eps": "1/3"}
    assert other["threat"]["eps"] != "1/3"
    judged = {e.run.method: e.step.spec["threat"] for e in plan.evaluations}
    assert judged == {"at": other["threat"], "partial": other["threat"]}


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


def test_a_steps_sources_hold_what_its_specification_names_however_deep(planned):
    inner = {"implementation": "robustft.methods.trades:Trades", "parameters": {"beta": 6.0, "attack_loss": "kl"}}
    hyper = {"defences": {"t": inner}}
    nested = method("robustft.methods.hyperat:HyperAT", parameters=hyper)
    plan = planned(paper=paper(methods={"nested": nested}, experiment={"methods": ["at", "partial", "nested"]}))
    assert "pipeline/robustft/methods/trades.py" in trained(plan, "nested").sources()
    assert "pipeline/robustft/methods/trades.py" not in trained(plan, "at").sources()
    assert "pipeline/robustft/models/tunings/protocol.py" in trained(plan, "partial").sources()


@pytest.mark.parametrize("which", ["demo", "plan"])
def test_validation_is_never_test(which, request):
    for step in request.getfixturevalue(which).of_kind("train"):
        assert step.spec["recipe"]["selection"] in ("last", "best_validation")
        assert step.spec["split"] in ("train", "validation")
