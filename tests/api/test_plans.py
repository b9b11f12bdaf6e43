"""A plan by the names of scale and papers, and the nearest name for an unknown one."""

import pytest

import robustft
from robustft.files import ROOT

PAPER, OTHER = sorted(path.parent.name for path in (ROOT / "config" / "papers").glob("*/paper.yaml"))[:2]


@pytest.mark.parametrize("papers", [PAPER, [PAPER]])
def test_a_plan_has_the_steps_of_the_chosen_papers_alone(papers):
    plan = robustft.make_plan("smoke", papers)
    assert plan.scale == "smoke"
    assert {step.id for step in plan.of_kind("numbers")} == {PAPER}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"scale": "smke"}, "did you mean 'smoke'"), ({"papers": [PAPER, f"{OTHER}z"]}, f"did you mean '{OTHER}'")],
)
def test_an_unknown_name_is_an_error_with_the_nearest(arguments, message):
    with pytest.raises(robustft.RobustftError, match=message):
        robustft.make_plan(**arguments)
