"""The whole workflow killed, Snakemake and its jobs, and started again."""

import os
import signal
import subprocess
import sys
import time

from .test_dag import outputs


def test_a_killed_workflow_goes_on_and_ends_with_the_bytes_of_an_undisturbed_one(finished, tools, tmp_path):
    folder = tools["copy_checkout"](tmp_path / "killed")
    command = [sys.executable, "-m", "snakemake", "--cores", "2", "--config", "scale=smoke"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen(command, cwd=folder, start_new_session=True, **quiet)
    deadline = time.monotonic() + 300
    while len(list(folder.glob("results/smoke/twins/*/*/*/*/checkpoint.record.json"))) < 3:
        assert process.poll() is None, "the workflow ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    kept = {path: path.stat().st_mtime_ns for path in folder.glob("results/smoke/twins/**/*.record.json")}
    assert "Lock" in tools["snakemake"](folder, check=False), "Snakemake says that it was killed, and what to do"
    tools["snakemake"](folder, "--unlock")
    tools["snakemake"](folder)
    # A job trains and attacks all seeds of a method, so it may leave several records.
    again = {path.parents[1] for path in kept if path.stat().st_mtime_ns != kept[path]}
    assert len(again) <= 2, "only jobs whose end Snakemake did not live to note are run again: at most one a core"
    assert outputs(folder) == outputs(finished)
