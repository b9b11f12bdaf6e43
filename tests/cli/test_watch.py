"""Watching a workflow: a real Snakemake on a rule of one line, as it succeeds, fails and finds its folder locked."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console

from robustft.cli.display import Display
from robustft.cli.watch import watch

PROGRESS = SimpleNamespace(
    shares={}, done=0, steps=1, fraction=0.0, elapsed_s=0.0, seconds_left=lambda: None, update=list, share_of=str
)
RULE = """
rule one:
    output: "out.txt"
    log: "one.log"
    message: "writing one"
    shell: "{command}"
"""


@pytest.fixture
def workflow(tmp_path, monkeypatch):
    """Run the rule with some shell command; return the exit status and what was shown."""
    monkeypatch.chdir(tmp_path)

    def run(command, *more):
        (tmp_path / "Snakefile").write_text(RULE.replace("{command}", command))
        stream = io.StringIO()
        display = Display(PROGRESS, console=Console(file=stream, width=80, _environ={}))
        status = watch(["--cores", "1", *more], PROGRESS, display, log=tmp_path / "logs" / "workflow.log")
        return status, stream.getvalue()

    return run


def test_a_workflow_that_succeeds_keeps_what_snakemake_says_in_its_log(workflow, tmp_path):
    status, text = workflow("touch {output}")
    assert status == 0
    assert "failed" not in text
    assert "writing one" in (tmp_path / "logs" / "workflow.log").read_text()


def test_a_failed_job_is_told_at_once_with_its_error_and_its_log(workflow):
    status, text = workflow("echo '2026-01-01 10:00:00 error: the disk is full' > {log}; exit 1")
    assert status != 0
    assert "failed: writing one\n  error: the disk is full\n  log: one.log\n" in text
    assert "run the same command again" in text


def test_an_error_of_snakemake_itself_is_told_in_ten_lines_at_most(workflow):
    status, text = workflow("touch {output}", "no_such_target")
    assert status != 0
    assert "no_such_target" in text
    assert len(text.splitlines()) <= 12


def test_a_folder_that_a_killed_snakemake_left_locked_says_how_to_unlock_it(workflow, tmp_path):
    locks = tmp_path / ".snakemake" / "locks"
    locks.mkdir(parents=True)
    (locks / "0.output.lock").write_text("out.txt\n")
    status, text = workflow("touch {output}")
    assert status != 0
    assert "robustft run -- --unlock" in text


PROGRAM = """
from pathlib import Path
from types import SimpleNamespace
from robustft.cli.display import Display
from robustft.cli.watch import watch
progress = SimpleNamespace(
    shares={}, done=0, steps=1, fraction=0, elapsed_s=0, seconds_left=lambda: None, update=list, share_of=str
)
raise SystemExit(watch(["--cores", "1"], progress, Display(progress), log=Path("workflow.log")))
"""


@pytest.fixture
def begun(tmp_path):
    """A watched workflow in a session of its own, whose job of a few seconds has begun."""
    (tmp_path / "Snakefile").write_text(RULE.replace("{command}", "touch begun; sleep 3; touch {output}"))
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM], cwd=tmp_path, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    until(lambda: (tmp_path / "begun").exists() or process.poll() is not None)
    assert process.poll() is None
    return process


def until(condition, *, seconds=120.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def working_in(folder: Path) -> list[str]:
    """Return the processes that work in a folder."""
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):  # it has ended meanwhile
            if entry.name.isdigit() and (entry / "cwd").readlink() == folder:
                found.append(entry.name)
    return found


def test_ending_the_watcher_ends_snakemake(begun, tmp_path):
    """Snakemake once went on alone, and the next run met its lock."""
    begun.send_signal(signal.SIGTERM)
    assert begun.wait(60) == 128 + signal.SIGTERM
    until(lambda: not working_in(tmp_path))


def test_ctrl_c_stops_everything_and_says_how_to_go_on(begun, tmp_path):
    os.killpg(begun.pid, signal.SIGINT)  # as a terminal does
    _, text = begun.communicate(timeout=60)
    assert begun.returncode == 130
    assert text.splitlines()[-1] == "stopped; run the same command again to go on"
    until(lambda: not working_in(tmp_path))
