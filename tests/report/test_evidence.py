"""What is said beside a verdict: models that may be guessing, failed checks, checkpoints, the best of several."""

import pytest

from tests.report.measured import kept, ordering, value


@pytest.mark.parametrize(("correct", "verdict"), [(12, "not trained"), (21, "holds")])
def test_nothing_is_judged_of_a_model_that_may_be_guessing(correct, verdict, world):
    """A verdict "ADAPT-CE over AT: holds" once rested on a seed that predicts one class."""
    for seed in range(3):
        world.add("strong", seed, {"clean": kept(60, 64), "aa": kept(50, 64)})
        world.add("weak", seed, {"clean": kept(correct if seed == 1 else 60, 64), "aa": kept(5, 64)})
    found = world.judge(classes=5).judge(ordering("strong", "weak"))
    assert found["verdict"] == verdict
    if verdict == "not trained":
        assert found["untrained"] == ["weak, seed 1: 12 of 64 of d"]
        assert "estimate" not in found
    # A scale of stand-ins has the same gate.
    expected = "not trained" if verdict == "not trained" else "direction here"
    assert world.judge(classes=5, reproduces=False).judge(ordering("strong", "weak"))["verdict"] == expected


def test_a_published_value_of_a_model_that_may_be_guessing_is_not_judged(world):
    for seed in range(3):
        world.add("strong", seed, {"clean": kept(12, 64), "aa": kept(5, 64)})
    assert world.judge(classes=5).judge(value(8.0, margin=50.0))["verdict"] == "not trained"
    assert world.judge(classes=6).judge(value(8.0, margin=50.0))["verdict"] == "not trained"
    assert world.judge(classes=10).judge(value(8.0, margin=50.0))["verdict"] == "reproduced"  # .111 against .1


def test_a_model_that_knows_nothing_of_one_foreign_data_set_was_trained_all_the_same(world):
    """A zero-shot classifier may be at chance on one of fifteen data sets: that is a result, not a failed training."""
    for seed in range(3):
        for method, clean in (("strong", 50), ("weak", 10)):
            where = {"trained_on": "t", "transfer_eval": True, "evaluation": "zero_shot"}
            world.add(method, seed, {"clean": kept(clean, 64), "aa": kept(9, 64)}, dataset="e", **where)
            world.add(method, seed, {"clean": kept(12, 64), "aa": kept(9, 64)}, dataset="f", **where)
    judge = world.judge(classes=5)
    claim = {"evaluation": "zero_shot"}
    assert judge.judge(ordering("strong", "strong", **claim))["verdict"] == "inconclusive"
    assert judge.judge(ordering("strong", "weak", **claim))["verdict"] == "not trained"  # at chance on both


def test_a_failed_sanity_check_of_either_side_shows_in_the_verdict(world):
    world.checks = {"aa": {"not_weaker_than": ["pgd"]}}
    for seed in range(3):
        world.add("strong", seed, {"pgd": kept(80, 100), "aa": kept(80, 100)})
        world.add("weak", seed, {"pgd": kept(10, 100), "aa": kept(30 if seed else 9, 100)})
    found = world.judge().judge(ordering("strong", "weak"))
    assert found["failed_checks"] == ["weak under aa: not_weaker_than_pgd failed in 2 of 3 measurements"]
    assert found["verdict"] == "holds"
    assert "failed_checks" not in world.judge().judge(ordering("strong", "weak", metric="pgd"))


def test_an_interval_says_from_which_pretrained_checkpoints_it_is(three):
    for seed in range(3):
        three.run("strong", seed, given=["robust"])
        three.run("weak", seed, given=["plain"])
    judge = three.judge()
    assert judge.judge(ordering("strong", "weak"))["given"] == ["plain", "robust"]
    assert judge.judge(value(90.0))["given"] == ["robust"]
    assert "given" not in judge.judge(ordering("lone", "lone"))


def test_the_best_of_several_methods_is_the_one_that_is_best_on_validation_images(world, tmp_path):
    for method, test, validation in (("left", 50, 50), ("a", 70, 40), ("b", 30, 60), ("c", 90, 10)):
        for seed in range(3):
            world.add(method, seed, {"aa": kept(test, 100)})
            path = tmp_path / f"{method}{seed}.csv"
            path.write_text(f"epoch,robust_validation\n1,0.99\n2,\n3,0.{validation}\n")
            world.paths[f"{method}{seed}"] = path
            world.run(method, seed, history=f"{method}{seed}", selection="last")
    found = world.judge().judge(ordering("left", ["a", "b", "c"]))
    assert (found["chosen"], found["estimate"]) == ("b", pytest.approx(0.2))
    del world.runs["main", "d", "a", 1]["history"]
    found = world.judge().judge(ordering("left", ["a", "b", "c"]))
    assert (found["verdict"], "validation" in found["remark"]) == ("not run", True)
    assert world.judge().judge(ordering("left", ["absent", "b"]))["verdict"] == "holds"
