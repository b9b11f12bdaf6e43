"""SIGKILL at random moments of the whole workflow: what was finished stays, and it ends with the undisturbed bytes.

Each seed is one kill at a moment drawn over the whole expected duration. Several kills hit one checkout after
another, so that one run is killed at its start, in its middle and near its end; each but the first hits a workflow that
has been killed before.
"""

import contextlib
import os
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.e2e.test_dag import outputs

FOLDERS, KILLS_IN_EACH = 10, 10
JOB_KILLS = 6


def leftovers(folder):
    """Return what no workflow that has ended well may leave: parts of files, resume state, locks."""
    state = [path for path in folder.glob("scratch/*") if path.name != "jobs"]
    return [*folder.glob("results/**/.*.part"), *state]


def ends_undisturbed(made, undisturbed):
    whole, _ = undisturbed
    assert outputs(made.folder) == outputs(whole.folder)
    assert leftovers(made.folder) == []
    audit = subprocess.run(
        [*made.command[:2], "robustft", "audit", "--scale", "smoke"], cwd=made.folder, capture_output=True, text=True
    )
    assert audit.returncode == 0, audit.stdout


def take_work_away(made):
    """Remove the figures and the checkpoints of one method, so that there is something left to disturb."""
    for pattern in ("results/smoke/twins/figures/*", "results/smoke/twins/main/*/at/**/*.safetensors"):
        for path in made.folder.glob(pattern):
            path.unlink()


@pytest.mark.hpc
@pytest.mark.parametrize("number", range(FOLDERS))
def test_workflow_killed_at_random_moments_loses_nothing(number, workflow, undisturbed, faults, tmp_path):
    made, (_, seconds) = workflow(tmp_path / "killed"), undisturbed
    kills, too_late = 0, 0
    with faults.tried(KILLS_IN_EACH):
        while kills < KILLS_IN_EACH:
            # The runs before have done a part of the work: a later kill is drawn over what is left.
            seed = number * KILLS_IN_EACH + kills
            moment = random.Random(seed).uniform(1, max(4, seconds / KILLS_IN_EACH * 1.5)) / 2**too_late
            process = made.start()
            try:
                process.wait(moment)
            except subprocess.TimeoutExpired:
                made.kill_all(process)
                kills, too_late = kills + 1, 0
                subprocess.run([*made.command, "--unlock"], cwd=made.folder, capture_output=True, check=True)
                continue
            # It was faster than the draw. The kill that is owed comes sooner, figures and one run taken away.
            too_late += 1
            assert process.returncode == 0, (made.folder / "snakemake.out").read_text()[-4000:]
            take_work_away(made)
        made.finish()
        ends_undisturbed(made, undisturbed)


def jobs_of(snakemake_pid):
    """Return the processes of steps below a Snakemake, by their command line (Linux)."""
    found = subprocess.run(["pgrep", "-g", str(snakemake_pid), "-f", "m robustft"], capture_output=True, text=True)
    python = []
    for pid in map(int, found.stdout.split()):
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if words[1:3] == [b"-m", b"robustft"]:
            python.append(pid)
    return python


@pytest.mark.hpc
def test_jobs_killed_alone_are_tried_again_by_snakemake(workflow, undisturbed, faults, tmp_path):
    """On any machine: pauses are parts of what the workflow takes here, and if it ends it gets more work."""
    made, draws, killed = workflow(tmp_path / "jobs"), random.Random(0), 0
    _, seconds = undisturbed
    with faults.tried(JOB_KILLS):
        while killed < JOB_KILLS:
            process = made.start()
            while killed < JOB_KILLS and process.poll() is None:
                time.sleep(draws.uniform(0, seconds / 10))
                for pid in jobs_of(process.pid)[:1]:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
                        killed += 1
            if process.wait(3600) == 0 and killed < JOB_KILLS:
                take_work_away(made)
        # One job may have met three kills: Snakemake gave it up, as it says, and the next call goes on.
        made.finish(unlock=False)
        ends_undisturbed(made, undisturbed)
