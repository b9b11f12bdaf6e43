"""A clock set back, or a file server whose clock runs ahead: nothing runs for ever, nothing is passed over."""

import json
import os
import shutil
import subprocess
import time

import pytest

from tests.e2e.test_dag import outputs

YEAR = 365 * 86400
RUN = "twins/main/digits_5to9/at/seed0"


def date(folder, seconds):
    """Date whatever a workflow has made so many seconds from now: the clock of all of it was ahead of today's."""
    ahead = time.time() + seconds
    for part in ("results", "scratch"):
        for path in (folder / part).rglob("*"):
            os.utime(path, (ahead, ahead))


def adopted(made, adopt):
    """Date anew what verifies, as docs/faults.md says, and go on to the end."""
    said = adopt(made.folder)
    assert said.returncode == 0, said.stderr
    assert "not adopted" not in said.stdout
    made.finish(unlock=False)
    assert "Nothing to be done" in made.finish(unlock=False)


@pytest.mark.hpc
def test_results_from_the_future_are_not_made_again_and_adopting_them_is_the_cure(
    undisturbed, workflow, faults, adopt, tmp_path
):
    """Snakemake itself refuses to build on them; it deletes what that job made, and nothing else."""
    made = workflow(tmp_path / "w")
    shutil.rmtree(made.folder)
    shutil.copytree(undisturbed[0].folder, made.folder, symlinks=True)
    with faults.tried():
        date(made.folder, YEAR)
        assert "Nothing to be done" in made.finish(unlock=False)
        (made.folder / "results/smoke/twins/figures/diagnostics.svg").unlink()
        said = made.fails()
        assert "older modification time" in said
        assert "clock skew" in said
        whole = outputs(undisturbed[0].folder)
        assert outputs(made.folder).items() == {(k, v) for k, v in whole.items() if "figures/diagnostics" not in k}
        adopted(made, adopt)
        assert outputs(made.folder) == whole


@pytest.mark.hpc
def test_results_of_a_clock_that_was_set_back_are_the_same(small_run, copied, run_step, faults):
    """The data are of today, the steps that read them run a year ago: records hold, durations are not negative."""
    if shutil.which("faketime") is None:
        pytest.skip("needs the program faketime (Debian's package of that name)")
    folder = copied(small_run)
    for path in (folder / "results" / "smoke" / RUN).iterdir():
        path.unlink()
    with faults.tried():
        for arguments in (("train", RUN), ("attack", f"{RUN}/robustness.1of1")):
            done = run_step(folder, *arguments, before=("faketime", "-f", "-365d"))
            assert done.returncode == 0, done.stderr
    for path in (small_run / "results" / "smoke" / RUN).iterdir():
        ours = folder / "results" / "smoke" / RUN / path.name
        if path.name.endswith(".record.json"):
            about = json.loads(ours.read_text())["circumstances"]
            assert about["seconds"] > 0
            assert about["started"] < json.loads(path.read_text())["circumstances"]["started"]
        else:
            assert ours.read_bytes() == path.read_bytes()


@pytest.mark.hpc
def test_a_workflow_killed_and_gone_on_with_after_the_clock_was_set_back(
    workflow, undisturbed, faults, adopt, tmp_path
):
    made = workflow(tmp_path / "w")
    with faults.tried():
        process = made.start()
        while len(list(made.folder.glob("results/**/*.record.json"))) < 4:
            assert process.poll() is None
            time.sleep(0.05)
        made.kill_all(process)
        subprocess.run([*made.command, "--unlock"], cwd=made.folder, capture_output=True, check=True)
        date(made.folder, 2 * 86400)
        assert "clock skew" in made.fails()
        adopted(made, adopt)
        assert outputs(made.folder) == outputs(undisturbed[0].folder)
