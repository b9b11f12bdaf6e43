"""Which part of an experiment runs at a scale, and why none of it does."""

import pytest

from robustft.config import Config
from robustft.errors import ConfigError
from robustft.plan import Plan
from tests import toy_config
from tests.plan.toy_plan import FILES, WEIGHTS
from tests.toy_config import paper


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


def test_of_an_experiments_seeds_the_first_ones_run_and_their_steps_are_the_same_for_one_or_several(tmp_path):
    whole, first = (toy_config.write(tmp_path / str(seeds), scale={"seeds": seeds}) for seeds in (2, 1))
    assert (whole.seeds, first.seeds) == (2, 1)
    both, one = Plan(whole), Plan(first)
    assert [{run.seed for run in plan.runs} for plan in (both, one)] == [{0, 1}, {0}]
    shared = {key: step.digest for key, step in one.steps.items() if step.kind in ("train", "attack")}
    assert shared == {key: both.steps[key].digest for key in shared}
    assert [run.seed for run in Plan(Config(folder=tmp_path / "1", seeds=2)).runs] == [0, 1, 0, 1], "the caller says"
