"""`robustft run` is one Snakemake command, whose settings and options do not hide each other."""

import importlib.util
import os
import sys
from argparse import Namespace
from pathlib import Path
from types import SimpleNamespace

import pytest

from robustft.cli.run import run, snakemake_command
from robustft.errors import RobustftError

ALL = ["--cores", "all"]


@pytest.mark.parametrize(
    ("words", "settings", "targets", "options"),
    [
        ([], {}, [], ALL),
        (["numbers"], {"scale": "demo"}, ["numbers"], [*ALL, "--config", "scale=demo"]),
        ([], {"papers": ["adapt", "twins"]}, [], [*ALL, "--config", "papers=[adapt,twins]"]),
        (["all", "--cores", "2"], {}, ["all"], ["--cores", "2"]),
        ([], {"seeds": "3"}, [], [*ALL, "--config", "seeds=3"]),
        (["--dry-run"], {"scale": "demo"}, [], [*ALL, "--dry-run", "--config", "scale=demo"]),
        (["--config", "a=1", "-n"], {"scale": "demo"}, [], [*ALL, "--config", "scale=demo", "a=1", "-n"]),
        *(([place], {}, [], [place]) for place in ("-c4", "-j8", "--profile=slurm", "--executor=slurm", "--jobs=3")),
    ],
)
def test_targets_come_first_and_the_place_of_jobs_is_every_core_unless_it_is_given(words, settings, targets, options):
    command = snakemake_command(words, **settings, root=Path("/project"))
    assert command == ["snakemake", *targets, "--snakefile", "/project/Snakefile", *options]


class ReplacedError(Exception):
    """Stands for the end of this program: `execv` does not return."""


def test_asked_to_show_all_it_prints_the_command_which_takes_the_place_of_the_process(monkeypatch, capfd):
    def execv(*call):
        raise ReplacedError(*call)

    monkeypatch.setattr(os, "execv", execv)
    words = ["numbers", "--cores", "1"]
    with pytest.raises(ReplacedError) as replaced:
        run(Namespace(words=words, scale="smoke", papers=None, seeds=None, mirror=None, offline=False, verbose=True))
    program, arguments = replaced.value.args
    assert (program, arguments[:4]) == (sys.executable, [sys.executable, "-P", "-m", "snakemake"])
    assert {"numbers", "scale=smoke"} <= set(arguments)
    assert capfd.readouterr().err == f"$ {' '.join(arguments[3:])}\n"


def test_without_snakemake_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(RobustftError, match=r"(?s)Snakemake is not installed.*to do: +install .*envs/run\.txt"):
        run(Namespace())


def test_a_mirror_that_does_not_exist_is_refused_before_anything_runs(monkeypatch, tmp_path):
    """It was noticed only by the first download, and not at all where none was needed."""
    monkeypatch.setenv("ROBUSTFT_MIRROR", "")
    arguments = Namespace(
        words=[], scale="smoke", papers=None, seeds=None, mirror=[tmp_path / "nowhere"], offline=False, verbose=False
    )
    with pytest.raises(RobustftError, match="names a folder that does not exist"):
        run(arguments)


def test_where_every_record_is_of_this_configuration_and_source_snakemake_is_not_asked(monkeypatch, capsys):
    """A second `make demo` took as long as planning twice, for nothing."""
    plan = SimpleNamespace(scale="demo", config=SimpleNamespace(seeds=1, scale={"device": "cpu"}))
    done = SimpleNamespace(steps=3, done=3, elapsed_s=1.0, shares={})
    asked = []
    monkeypatch.setattr("robustft.cli.common.planned", lambda arguments: plan)
    monkeypatch.setattr("robustft.cli.progress.Progress", lambda *_, **__: done)
    monkeypatch.setattr("robustft.cli.progress.wanted_steps", lambda *_: [])
    monkeypatch.setattr("robustft.cost.CostModel", lambda *_: None)
    monkeypatch.setattr("robustft.cli.watch.watch", lambda *_, **__: asked.append(1) or 0)
    arguments = {"scale": "demo", "papers": None, "seeds": None, "mirror": None, "offline": False, "verbose": False}
    assert run(Namespace(words=[], **arguments)) == 0
    assert asked == []
    assert "0 of 3 steps are to be done" in capsys.readouterr().err
    assert run(Namespace(words=["--forceall"], **arguments)) == 0
    assert asked == [1]
