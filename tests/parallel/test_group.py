from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import torch

from robustft.errors import RobustftError
from robustft.files import ROOT
from robustft.methods.twins import TwinsAT
from robustft.parallel.group import World, launch
from robustft.parallel.sharded_batch import sharded_attack
from robustft.parallel.sync_batch_norm import SyncBatchNorm2d
from robustft.train.objective import Objective
from tests.train import toy

from . import group_cases


@pytest.fixture(scope="module")
def importable() -> Iterator[None]:
    """The processes of a group find the package and these tests where this process does."""
    before = list(sys.path)
    sys.path.insert(0, str(ROOT))
    yield
    sys.path[:] = before


Found = dict[str, tuple[dict[str, torch.Tensor], dict[str, float]]]
"""By process ("rank0of2", ...): the weights after two steps, and the row of the history."""


def trained(folder: Path, names: Sequence[str], *, size: int, batch: int) -> dict[str, Found]:
    """Train cases alone and in a group."""
    for case in names:
        group_cases.train(case, folder, World(), batch=batch)
    launch(size, group_cases.train_together, folder, names, batch)
    return {
        case: {path.stem: torch.load(path, weights_only=True) for path in sorted((folder / case).glob("*.pt"))}
        for case in names
    }


def assert_as_alone(case: str, found: Found, *, size: int) -> None:
    """Every process of a group has what one process has, and all of them the same bits."""
    (alone, row), *group_found = found["rank0of1"], *(found[f"rank{rank}of{size}"] for rank in range(size))
    tolerance = group_cases.CASES[case].tolerance
    for weights, history in group_found:
        for name, value in alone.items():
            torch.testing.assert_close(weights[name], value, rtol=0, atol=tolerance, msg=name)
            assert torch.equal(weights[name], group_found[0][0][name]), name
        assert history == pytest.approx(row, rel=tolerance, abs=tolerance)
        assert history == group_found[0][1]


@pytest.fixture(scope="module")
def folder(importable, tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("distributed")


@pytest.fixture(scope="module")
def found(folder) -> dict[str, Found]:
    """What the ordinary cases end with alone and in a group of two, which shares batches of five as three and two."""
    return trained(folder, group_cases.ORDINARY, size=2, batch=5)


@pytest.mark.parametrize("case", group_cases.ORDINARY)
def test_two_processes_end_with_the_weights_and_the_history_of_one(case, found):
    assert_as_alone(case, found[case], size=2)


@pytest.mark.hpc
@pytest.mark.parametrize("size", [2, 3])
def test_every_kind_of_method_ends_in_a_group_as_alone(size, importable, tmp_path):
    found = trained(tmp_path, list(group_cases.CASES), size=size, batch=2 * size + 1)
    for case in group_cases.CASES:
        assert_as_alone(case, found[case], size=size)
    print(f"{len(found)} cases, {size} processes: as one process")  # noqa: T201 (what was tried)


@pytest.mark.parametrize("case", group_cases.ORDINARY)
def test_two_steps_move_the_weights_by_far_more_than_that_tolerance(case, found):
    start = group_cases.prepared(group_cases.CASES[case])
    trained = {name for name, parameter in start.named_parameters() if parameter.requires_grad}
    after = found[case]["rank0of1"][0]
    assert (
        max((after[name] - value).abs().max() for name, value in start.state_dict().items() if name in trained) > 1e-3
    )


def test_a_batch_norm_of_a_group_has_the_values_gradients_second_derivatives_and_statistics_of_one(found, folder):
    alone = group_cases.normalised(World())
    for rank in range(2):
        shared = torch.load(folder / f"norm{rank}of2.pt", weights_only=True)
        assert set(shared) == set(alone)
        for name, value in alone.items():
            torch.testing.assert_close(shared[name], value, rtol=1e-9, atol=1e-9, msg=name)


@pytest.mark.usefixtures("importable")
def test_when_one_process_fails_the_others_are_ended_and_its_error_is_raised(tmp_path):
    with pytest.raises(Exception, match="the second process fails"):
        launch(2, group_cases.fail_in_one, tmp_path)
    pid = tmp_path / "pid"
    if pid.exists():  # the first one got as far as starting
        with pytest.raises(ProcessLookupError):
            os.kill(int(pid.read_text()), 0)


def test_a_process_alone_shares_nothing(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    world = World.join(toy.CPU)
    assert world == World(0, 1)
    objective = Objective(toy.network(), TwinsAT(lambda_frozen=1.0, lambda_adaptive=1.0))
    assert world.wrap(objective) is objective
    assert not any(isinstance(module, SyncBatchNorm2d) for module in objective.modules())
    with world.sharded():
        assert sharded_attack(lambda: objective, 100) is objective
    world.leave()


def fail_in_the_second(rank: int) -> None:
    if rank == 1:
        raise RobustftError("the second process is out of luck", next_step="try again")


def test_an_error_of_a_member_is_raised_as_it_was_there():
    with pytest.raises(RobustftError, match=r"(?s)the second process is out of luck.*try again"):
        launch(2, fail_in_the_second)


def disagree(rank: int) -> None:
    world = World.join(torch.device("cpu"))
    world.check_agreement(7, "a number")
    world.check_agreement(rank, "the step to resume from")


def test_members_that_resume_from_different_steps_stop_instead_of_waiting_for_ever():
    with pytest.raises(RobustftError, match=r"(?s)do not agree on the step to resume from.*0 to 1"):
        launch(2, disagree)
