"""Which attacks run on which images, and what their jobs read."""

from tests.plan.toy_plan import trained
from tests.toy_config import paper

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


def test_an_evaluation_takes_no_more_images_than_there_are(planned):
    plan = planned(paper={"evaluations": {"robustness": {"images": 500}}})
    assert plan.evaluations[0].step.spec["images"] == [0, 20]


def test_parts_cover_the_images_once(planned):
    plan = planned(scale={"papers": {"toy": {"evaluations": {"robustness": {"images": 17, "parts": 3}}}}})
    steps = [e.step for e in plan.evaluations if e.run.step.id == "toy/main/high/at/seed0"]
    assert [step.spec["images"] for step in steps] == [[0, 5], [5, 11], [11, 17]]
    assert [step.id.rsplit("/")[-1] for step in steps] == [f"robustness.{part}of3" for part in (1, 2, 3)]


def test_what_is_checked_of_an_attack_is_no_part_of_the_attack(planned):
    checks = {"attacks": {"fgsm": {"checks": {"not_weaker_than": ["clean"]}}}}
    plain, checked = planned(), planned(attacks=checks)
    for one, other in zip(plain.of_kind("attack"), checked.of_kind("attack"), strict=True):
        assert one.digest == other.digest
    assert plain.step("numbers", "toy").digest != checked.step("numbers", "toy").digest
    assert checked.step("numbers", "toy").spec["checks"] == {"fgsm": {"not_weaker_than": ["clean"]}}


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


def test_a_threat_of_the_experiment_is_laid_over_the_papers_and_one_of_the_evaluation_over_both(planned):
    attack = {"attacks": ["fgsm"], "split": "test", "shard_images": 8, "parts": 1, "threat": {"eps": "1/9"}}
    change = {"evaluations": ["robustness", "weak"], "threat": {"norm": "l2"}}
    tables = {"main": {"evaluations": ["robustness"]}}
    plan = planned(paper=paper(evaluations={"weak": attack}, experiment=change, tables=tables, claims=[]))
    threats = {e.name: e.step.spec["threat"] for e in plan.evaluations}
    assert threats == {"robustness": {"norm": "l2", "eps": "1/5"}, "weak": {"norm": "l2", "eps": "1/9"}}
    assert trained(plan, "at").spec["threat"] == {"norm": "l2", "eps": "1/5"}
