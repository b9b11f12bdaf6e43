"""What a plan tells verdicts of its runs."""

import pytest

from robustft.errors import ConfigError
from robustft.plan import Plan
from tests import toy_config
from tests.provenance.test_lineage import ORDERING, VALUE


def spec_of(tmp_path, **paper):
    return Plan(toy_config.write(tmp_path / "config", paper=paper)).step("verdicts", "toy").spec


def test_a_run_says_what_its_model_comes_from(tmp_path):
    spec = spec_of(tmp_path, claims=[ORDERING])
    run = next(one for one in spec["runs"] if one["method"] == "at" and one["seed"] == 0)
    assert run["models"] == ["toy/main/high/at/seed0"]
    assert run["given"] == ["low_standard"]
    assert "history" not in run
    assert spec["clean"] == ["clean"]
    assert set(spec["classes"]) == {one["dataset"] for one in spec["members"]}
    assert all(isinstance(number, int) for number in spec["classes"].values())


def test_a_claim_about_the_best_of_several_methods_reads_their_histories(tmp_path):
    plan = Plan(toy_config.write(tmp_path / "config", paper={"claims": [{**ORDERING, "right": ["partial", "at"]}]}))
    step = plan.step("verdicts", "toy")
    chosen = [one for one in step.spec["runs"] if "history" in one]
    assert {one["method"] for one in chosen} == {"at", "partial"}
    assert all(step.inputs[one["history"]].endswith("history.csv") for one in chosen)
    assert {one["selection"] for one in chosen} <= {"last", "best_validation"}


def test_a_margin_without_a_reason_is_refused_while_planning(tmp_path):
    with pytest.raises(ConfigError, match="a margin without a reason"):
        spec_of(tmp_path, claims=[{**VALUE, "value": 50.0}])
