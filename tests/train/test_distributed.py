from __future__ import annotations

import os
import sys
from collections.abc import Iterator

import pytest
import torch

from pipeline.errors import RobustftError
from pipeline.files import ROOT
from pipeline.methods.twins import TwinsAT
from pipeline.train.distributed import Objective, World, launch

from . import group, toy


@pytest.fixture(scope="module")
def importable() -> Iterator[None]:
    """The processes of a group find the package and these tests where this process does."""
    before = list(sys.path)
    sys.path.insert(0, str(ROOT))
    yield
    sys.path[:] = before


@pytest.fixture(scope="module")
def weights(importable, tmp_path_factory) -> dict[str, dict[str, dict[str, torch.Tensor]]]:
    """By case and process ("rank0of2", ...): the weights after two steps, alone and in a group of two."""
    folder = tmp_path_factory.mktemp("distributed")
    for case in group.CASES:
        group.train(case, folder, World())
    launch(2, group.train_together, folder)
    return {
        case: {path.stem: torch.load(path, weights_only=True) for path in sorted((folder / case).glob("*.pt"))}
        for case in group.CASES
    }


@pytest.mark.parametrize("case", group.CASES)
def test_two_processes_end_with_the_weights_of_one(case, weights):
    # The batch of five is shared as three and two, so a plain mean of the two processes' gradients would be wrong.
    found = weights[case]
    assert set(found) == {"rank0of1", "rank0of2", "rank1of2"}
    for name, alone in found["rank0of1"].items():
        torch.testing.assert_close(found["rank0of2"][name], alone, rtol=0, atol=1e-5, msg=name)
        torch.testing.assert_close(found["rank1of2"][name], alone, rtol=0, atol=1e-5, msg=name)


@pytest.mark.parametrize("case", group.CASES)
def test_two_steps_move_the_weights_by_far_more_than_that_tolerance(case, weights):
    method, kind, _ = group.CASES[case]
    start = method.prepare(toy.network(**kind)).state_dict()
    moved = max((value - start[name]).abs().max() for name, value in weights[case]["rank0of1"].items())
    assert moved > 1e-3


@pytest.mark.usefixtures("importable")
def test_when_one_process_fails_the_others_are_ended_and_its_error_is_raised(tmp_path):
    with pytest.raises(Exception, match="the second process fails"):
        launch(2, group.fail_in_one, tmp_path)
    pid = tmp_path / "pid"
    if pid.exists():  # the first one got as far as starting
        with pytest.raises(ProcessLookupError):
            os.kill(int(pid.read_text()), 0)


def test_a_process_alone_takes_the_whole_batch(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    world = World.join(toy.CPU)
    x, y = torch.rand(5, 2), torch.arange(5)
    (mine, labels), factor = world.share(x, y)
    assert (world, factor) == (World(0, 1), 1.0)
    assert mine is x
    assert labels is y
    objective = Objective(toy.network(), TwinsAT(lambda_frozen=1.0, lambda_adaptive=1.0))
    assert world.wrap(objective) is objective
    world.leave()


@pytest.mark.parametrize(
    ("size", "batch", "lengths", "factors"),
    [
        (2, 4, [2, 2], [1.0, 1.0]),
        (2, 5, [3, 2], [6 / 5, 4 / 5]),
        (3, 7, [3, 2, 2], [9 / 7, 6 / 7, 6 / 7]),
    ],
)
def test_a_batch_is_shared_whole_and_the_mean_of_weighted_means_is_the_mean(size, batch, lengths, factors):
    values = torch.rand(batch, dtype=torch.float64)
    parts, means = [], []
    for rank in range(size):
        (part, index), factor = World(rank, size).share(values, torch.arange(batch))
        assert torch.equal(values[index], part)
        assert len(part) == lengths[rank]
        assert factor == pytest.approx(factors[rank])
        parts.append(part)
        means.append(factor * part.mean())
    assert torch.equal(torch.cat(parts), values)
    assert torch.stack(means).mean().item() == pytest.approx(values.mean().item(), abs=1e-15)


def test_the_objective_returns_the_methods_terms():
    method = TwinsAT(lambda_frozen=0.5, lambda_adaptive=2.0)
    model = method.prepare(toy.network()).eval()
    x, y = toy.splits()["train"].take(slice(0, 6))
    terms = Objective(model, method)(x, x, y)
    expected = method.loss(model, x, x, y).terms
    assert {name: term.item() for name, term in terms.items()} == {k: v.item() for k, v in expected.items()}


def test_the_objectives_parameters_are_the_models():
    model = toy.network()
    objective = Objective(model, TwinsAT(lambda_frozen=1.0, lambda_adaptive=1.0))
    assert {id(p) for p in objective.parameters()} == {id(p) for p in model.parameters()}


def fail_in_the_second(rank: int) -> None:
    if rank == 1:
        raise RobustftError("the second process is out of luck", next_step="try again")


def test_an_error_of_a_member_is_raised_as_it_was_there():
    with pytest.raises(RobustftError, match=r"(?s)the second process is out of luck.*try again"):
        launch(2, fail_in_the_second)


def disagree(rank: int) -> None:
    world = World.join(torch.device("cpu"))
    world.agree(7, "a number")
    world.agree(rank, "the step to resume from")


def test_members_that_resume_from_different_steps_stop_instead_of_waiting_for_ever():
    with pytest.raises(RobustftError, match=r"(?s)do not agree on the step to resume from.*0 to 1"):
        launch(2, disagree)
