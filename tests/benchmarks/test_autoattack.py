"""AutoAttack beside the package's driver: the same images hold, or no row is reported."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from benchmarks import autoattack
from robustft.errors import RobustftError

pytestmark = pytest.mark.usefixtures("torch_settings_restored")
SMALL = replace(autoattack.QUICK[0], images=8, queries=20, steps=40)


@pytest.mark.parametrize("measure", [autoattack.against_the_driver, autoattack.whole_step])
def test_a_shard_and_the_attack_step_break_what_the_driver_breaks(measure):
    row = measure(SMALL, repeats=1)
    assert "all 8 outcomes equal" in row.note
    assert row.bar == autoattack.BAR


def test_other_outcomes_are_an_error():
    holds = torch.tensor([True, False, True])
    sides = {"textbook": lambda: holds, "ours": lambda: torch.tensor([True, True, True])}
    with pytest.raises(RobustftError, match="do not break the same images"):
        autoattack.compared(sides, "made up", repeats=1)


def test_two_processes_hold_no_bar_in_a_quick_run(monkeypatch):
    seen = []
    monkeypatch.setattr(autoattack, "against_the_driver", lambda case, **_: case)
    monkeypatch.setattr(autoattack, "whole_step", lambda case, **_: case)
    monkeypatch.setattr(autoattack, "two_processes", lambda case, **settings: seen.append((case, settings)))
    autoattack.rows(quick=True)
    autoattack.rows(quick=False)
    (_, quick), (case, whole) = seen
    assert quick["bar"] is None
    assert whole["bar"] == autoattack.BAR_PROCESSES
    assert whole["repeats"] >= 3
    assert case.images > autoattack.QUICK[0].images


def test_one_row_alone_is_measured_by_a_part_of_its_name(monkeypatch):
    seen = []
    monkeypatch.setattr(autoattack, "against_the_driver", lambda case, **_: seen.append(case.backbone))
    autoattack.rows(quick=False, only="a shard: resnet10v2")
    assert seen == ["resnet10v2_cifar"]


@pytest.mark.parametrize("arguments", [["--quick"], ["--only", "cifar"], []])
def test_only_a_whole_run_is_stored(monkeypatch, arguments):
    stored = []
    monkeypatch.setattr(autoattack, "rows", lambda **_: [])
    monkeypatch.setattr(autoattack, "write_rows", lambda path, *_, **__: stored.append(path.name))
    autoattack.main(arguments)
    assert stored == ([] if arguments else ["autoattack.json"])
