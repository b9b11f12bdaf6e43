"""`make gpu` on a CPU: what it keeps, what it skips, and that one bad piece costs nothing else."""

from __future__ import annotations

import zipfile
from fractions import Fraction

import pytest
import torch

from robustft.attacks.threat import ThreatModel
from robustft.files import read_json
from tests.pretend_gpu.device import pretend_gpu


@pytest.fixture
def store(tmp_path):
    from benchmarks.gpu.store import Store

    return lambda: Store(tmp_path, "cpu", True)


def broken():
    raise RuntimeError("no such kernel")


def test_each_piece_is_kept_as_it_ends_and_one_that_fails_is_named(store, capsys):
    first = store()
    first.run("speed", {"a": lambda: 1, "bad": broken, "c": lambda: {"x": 2}}, budget_s=60)
    assert first.failed == ["speed/bad"]
    assert read_json(first.path("speed", "c"))["result"] == {"x": 2}
    assert "no such kernel" in read_json(first.path("speed", "bad"))["error"]
    assert "speed bad: RuntimeError: no such kernel" in capsys.readouterr().out


def test_a_second_call_does_what_is_not_done(store):
    store().run("speed", {"a": lambda: 1, "b": broken}, budget_s=60)
    again, asked = store(), []
    again.run("speed", {"a": lambda: asked.append("a"), "b": lambda: asked.append("b")}, budget_s=60)
    assert asked == ["b"]
    assert (again.failed, again.left_out) == ([], [])


def test_pieces_of_another_commit_or_machine_are_done_again(store):
    store().run("speed", {"a": lambda: 1}, budget_s=60)
    other = store()
    other.about["versions"] = {"torch": "0"}
    assert not other.done("speed", "a")


def test_after_its_time_a_part_begins_nothing_and_says_what_it_left_out(store):
    late = store()
    late.run("speed", {"a": lambda: 1}, budget_s=-1)
    assert late.left_out == ["speed/a"]
    assert not late.path("speed", "a").exists()


def test_a_wheel_in_the_folder_is_imported_in_place_after_what_is_installed(tmp_path, monkeypatch):
    import sys

    from benchmarks.gpu import wheels

    with zipfile.ZipFile(tmp_path / "toy_travels-1-py3-none-any.whl", "w") as archive:
        archive.writestr("toy_travels.py", "HERE = 3\n")
        archive.writestr("torch.py", "raise RuntimeError('the installed one was hidden')\n")
    monkeypatch.setattr(sys, "path", [*sys.path])
    assert wheels.add(tmp_path) == ["toy_travels-1-py3-none-any.whl"]
    import toy_travels

    assert toy_travels.HERE == 3


@pytest.mark.usefixtures("torch_settings_restored")
@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
def test_draws_of_the_host_are_those_of_a_cpu_generator_with_the_same_seed(norm):
    from benchmarks.host_draws import HostDraws

    threat = ThreatModel(norm, Fraction(1, 2))
    x = torch.rand(2, 1, 4, 4)
    expected = threat.uniform(x, torch.Generator().manual_seed(5))
    with pretend_gpu(), HostDraws():
        draws = torch.Generator("cuda").manual_seed(5)
        found = threat.uniform(x.to("cuda"), draws)
        assert found.device.type == "cuda"
        assert torch.equal(found.cpu(), expected)
        second = threat.uniform(x.to("cuda"), draws)
        assert not torch.equal(second.cpu(), expected), "a generator goes on"
