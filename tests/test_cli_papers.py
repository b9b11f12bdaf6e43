"""One step needs the plan of one paper: the others are not even read."""

import pytest

from pipeline.cli import _plan, parser


@pytest.mark.parametrize(
    ("arguments", "papers"),
    [
        (["table", "twins/main"], ["twins"]),
        (["train", "adapt/main/digits_5to9/at/seed0"], ["adapt"]),
        (["numbers", "pmg_aft"], ["pmg_aft"]),
        (["table", "twins/main", "--papers", "adapt,twins"], ["adapt", "twins"]),
        (["plan", "--table", "hyperat/main"], ["hyperat"]),
    ],
)
def test_a_step_is_planned_with_its_own_paper_alone(arguments, papers):
    plan = _plan(parser().parse_args([*arguments, "--scale", "demo"]))
    assert list(plan.config.papers) == papers


@pytest.mark.parametrize("arguments", [["data", "digits"], ["train", "pretraining/digits_at"], ["seal", "demo"]])
def test_what_no_paper_owns_is_planned_with_all_of_them(arguments):
    assert len(_plan(parser().parse_args([*arguments, "--scale", "demo"])).config.papers) > 1


def test_a_step_has_the_same_digest_and_inputs_whether_or_not_other_papers_are_planned():
    everything = _plan(parser().parse_args(["plan", "--scale", "demo"]))
    for kind in ("train", "attack", "numbers", "verdicts", "table", "figure"):
        step = next(step for step in everything.of_kind(kind) if step.id.split("/")[0] == "twins")
        alone = _plan(parser().parse_args([kind, step.id, "--scale", "demo"])).step(kind, step.id)
        assert (alone.digest, alone.inputs, alone.upstream) == (step.digest, step.inputs, step.upstream)
