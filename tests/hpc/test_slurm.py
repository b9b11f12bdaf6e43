"""The workflow as jobs of a real Slurm: same bytes, resources, failures, scancel, a node that restarts, containers.

`pytest -m hpc tests/hpc/test_slurm.py` on a machine that can submit; one test restarts the node's daemon and needs root
on a cluster of this one machine. Images: docker/*/*.sif, or the folder that ROBUSTFT_SIF_FOLDER names.
"""

# ruff: noqa: T201 (these tests say what they tried)

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.conftest import copy_checkout, finished, robustft, snakemake  # noqa: F401 (finished is a fixture)
from tests.hpc import slurm

ROOT = Path(__file__).resolve().parents[2]
PRETRAINED = "results/smoke/pretraining/digits_at/checkpoint.safetensors"
RECORD = PRETRAINED.replace(".safetensors", ".record.json")
VOLATILE = (".record.json", "manifest.json")

pytestmark = [
    pytest.mark.hpc,
    pytest.mark.skipif(slurm.missing() is not None, reason=str(slurm.missing())),
]


def outputs(folder: Path) -> dict[str, bytes]:
    """Return the bytes of every result except records (time, host) and the manifest over them."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted((folder / "results").rglob("*"))
        if path.is_file() and not path.name.endswith(VOLATILE)
    }


def frozen(folder: Path) -> Path:
    """Commit a checkout and return its frozen copy."""
    slurm.commit(folder)
    said = robustft(folder, "freeze")
    assert said.returncode == 0, said.stderr
    (clone,) = folder.glob("frozen/*")
    return clone


def audited(folder: Path, checkout: Path) -> subprocess.CompletedProcess[str]:
    """Audit a folder's results with the package, configuration and source of a checkout."""
    return subprocess.run(
        [sys.executable, "-P", "-m", "robustft", "audit", "--scale", "smoke"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(checkout / "pipeline")},
        capture_output=True,
        text=True,
    )


def make_trainings_fail(folder: Path) -> None:
    """Edit a checkout so that every training fails."""
    with open(folder / "pipeline" / "robustft" / "train" / "step.py", "a") as source:
        source.write('\n\ndef train(spec, context):\n    raise ValueError("made to fail")\n')


# -- the whole DAG, from a frozen checkout whose original is edited meanwhile ------------------------------------------


@pytest.fixture(scope="module")
def frozen_run(tmp_path_factory) -> slurm.Run:
    """TWINS at scale smoke as Slurm jobs, from a frozen checkout; the first one was broken while jobs ran."""
    folder = copy_checkout(tmp_path_factory.mktemp("frozen") / "checkout")
    clone = frozen(folder)
    run = slurm.start(folder, *slurm.OUTSIDE, checkout=f"frozen/{clone.name}")
    slurm.wait_until(lambda: run.calls, "the first submission")
    make_trainings_fail(folder)
    run.ended_well()
    return run


def test_the_dag_as_slurm_jobs_gives_the_bytes_of_a_local_run(frozen_run, finished):  # noqa: F811
    ours, theirs = outputs(frozen_run.folder), outputs(finished)
    assert ours.keys() == theirs.keys()
    assert [path for path in ours if ours[path] != theirs[path]] == []
    print(f"{len(ours)} files, the same bytes as without Slurm")


def test_tiny_steps_do_not_each_queue(frozen_run):
    rules = [call["arguments"][call["arguments"].index("--comment") + 1] for call in frozen_run.calls]
    records = list((frozen_run.folder / "results").rglob("*.record.json"))
    print(f"{len(rules)} submissions for {len(records)} steps: {rules}")
    assert len(rules) == 10, "data, pre-training, and one for each method"
    assert len(records) == 37
    assert not re.findall(r"rule_(?:numbers|verdicts|table|deviations|figure|manifest|all)", " ".join(rules))


def test_resources_reach_slurm(frozen_run):
    for call in frozen_run.calls:
        data = "rule_data_" in call["arguments"][call["arguments"].index("--comment") + 1]
        shown = dict(re.findall(r"(\w+)=(\S*)", call["job"]))
        assert "CPUs/Task=1 " in call["job"]
        assert shown["TimeLimit"] == ("00:05:00" if data else "00:20:00")
        assert shown["MinMemoryNode"] == ("1000M" if data else "2000M")
        assert shown["Requeue"] == "1"
    print(
        f"scontrol showed {len(frozen_run.calls)} jobs as their rules asked; one: {frozen_run.calls[-1]['job'][:600]}"
    )


def test_records_name_the_frozen_commit_and_only_its_audit_passes(frozen_run):
    folder = frozen_run.folder
    (clone,) = folder.glob("frozen/*")
    states = [json.loads(path.read_text())["environment"]["git"] for path in folder.rglob("results/**/*.record.json")]
    assert len(states) == 37
    assert all(state["commit"].startswith(clone.name) and state["clean"] is True for state in states)
    from_frozen, from_edited = audited(folder, clone), audited(folder, folder)
    assert from_frozen.returncode == 0, from_frozen.stdout
    assert "PASS: every number follows from the recorded ledgers, and every file is as recorded" in from_frozen.stdout
    assert "tree that was not clean" not in from_frozen.stdout
    assert from_edited.returncode == 1
    assert "[edited-source]" in from_edited.stdout
    print(from_frozen.stdout)


# -- jobs that fail, are cancelled, or lose their node -----------------------------------------------------------------


def test_a_failed_job_is_tried_three_times_and_its_message_leads_to_the_logs(tmp_path):
    folder = copy_checkout(tmp_path / "w")
    make_trainings_fail(folder)
    run = slurm.start(folder, *slurm.OUTSIDE, "--", PRETRAINED)
    assert run.process.wait(timeout=slurm.WAIT_S) != 0
    (line,) = set(re.findall(r"^    log: (.*/digits_at\.log, .*\.log) \(check", run.said, flags=re.MULTILINE)[-1:])
    step_log, slurm_log = (folder / name for name in line.split(", "))
    assert "made to fail" in step_log.read_text()
    assert "made to fail" in slurm_log.read_text()
    assert "made to fail" in run.said, "the logs are shown as well"
    trainings = [call for call in run.calls if "rule_pretrain" in " ".join(call["arguments"])]
    assert (len(trainings), len(list(folder.glob("scratch/*/failed-*.json")))) == (3, 3)
    print(f"the message said: log: {line}")


def longer(folder: Path) -> Path:
    """Give the pre-training of a checkout epochs enough to be interrupted."""
    scale = folder / "config" / "scales" / "smoke.yaml"
    text = scale.read_text()
    assert text.count("    recipe: {epochs: 2, m") == 1
    scale.write_text(text.replace("    recipe: {epochs: 2, m", "    recipe: {epochs: 24, m"))
    return folder


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> Path:
    """The longer pre-training, run without Slurm and never interrupted."""
    folder = longer(copy_checkout(tmp_path_factory.mktemp("undisturbed") / "w"))
    snakemake(folder, "--", PRETRAINED)
    return folder


def check_resumed(run: slurm.Run, undisturbed: Path) -> None:
    """Hold that the second attempt went on where the first was, to the bytes of an undisturbed run."""
    log = (run.folder / "logs" / "smoke" / "pretraining" / "digits_at.log").read_text()
    assert "(attempt 2)" in log
    resumed = int(re.search(r"resumed at step (\d+)", log)[1])
    assert resumed >= 2
    assert json.loads((run.folder / RECORD).read_text())["circumstances"]["attempt"] == 2
    assert outputs(run.folder) == outputs(undisturbed)
    print(f"resumed at step {resumed}; the same bytes as an undisturbed run")


def test_a_job_cancelled_while_it_trains_is_submitted_again_and_resumes(undisturbed, tmp_path):
    run = slurm.start(longer(copy_checkout(tmp_path / "w")), *slurm.OUTSIDE, "--", PRETRAINED)
    run.wait_for_file("scratch/*/training.state")
    subprocess.run(["scancel", run.calls[-1]["id"]], check=True)
    said = run.ended_well()
    assert f"SLURM-job '{run.calls[1]['id']}' failed, SLURM status is: 'CANCELLED'" in said
    assert len(run.calls) == 3, "data, training, training again"
    check_resumed(run, undisturbed)


def daemon_of_this_node() -> int | None:
    """Return the process of the slurmd here, if this machine is all of an idle cluster and we may restart it."""
    nodes = subprocess.run(["sinfo", "--noheader", "--Node", "--format=%N"], capture_output=True, text=True).stdout
    jobs = subprocess.run(["squeue", "--noheader"], capture_output=True, text=True).stdout
    settings = subprocess.run(["scontrol", "show", "config"], capture_output=True, text=True).stdout
    pidfile = Path(re.search(r"SlurmdPidFile\s*=\s*(\S+)", settings)[1])
    if (
        jobs.strip()
        or os.geteuid()
        or set(nodes.split()) != {os.uname().nodename.split(".")[0]}
        or not pidfile.exists()
    ):
        return None
    return int(pidfile.read_text())


def test_a_node_that_restarts_while_a_job_trains_gets_the_job_again(undisturbed, tmp_path):
    daemon = daemon_of_this_node()
    if daemon is None:
        pytest.skip("needs root, and a cluster that is this machine alone and idle: it kills and restarts slurmd")
    run = slurm.start(longer(copy_checkout(tmp_path / "w")), *slurm.OUTSIDE, "--", PRETRAINED)
    run.wait_for_file("scratch/*/training.state")
    job = run.calls[-1]["id"]
    victims = [daemon, *slurm.processes_of(job)]
    for process in victims:
        os.kill(process, signal.SIGKILL)
    # What the controller does by itself once a node has not answered for a while, and what an administrator does then.
    slurm.node("down")
    subprocess.run(["slurmd"], check=True)
    slurm.node("resume")
    said = run.ended_well()
    print(f"killed slurmd and {len(victims) - 1} processes of job {job}")
    assert len(victims) >= 4, "the daemon, its keeper of the job, Snakemake and the step"
    assert "Error in rule" not in said, "Slurm put the job back itself"
    assert len(run.calls) == 2, "data and training: Snakemake did not submit it again"
    check_resumed(run, undisturbed)


# -- in a container ----------------------------------------------------------------------------------------------------


def images() -> dict[str, Path]:
    """Return the built image of each role, by the path that config/images.yaml gives."""
    folder = os.environ.get("ROBUSTFT_SIF_FOLDER")
    found = {}
    for path in ("docker/train/robustft-train.sif", "docker/report/robustft-report.sif"):
        source = Path(folder) / Path(path).name if folder else ROOT / path
        if source.is_file():
            found[path] = source.resolve()
    return found


def test_the_dag_as_slurm_jobs_in_apptainer(finished, tmp_path, monkeypatch):  # noqa: F811
    if shutil.which("apptainer") is None:
        pytest.skip("needs Apptainer on the PATH")
    if "docker/train/robustft-train.sif" not in images():
        pytest.skip("needs docker/train/robustft-train.sif (`make images`), or ROBUSTFT_SIF_FOLDER")
    folder = copy_checkout(tmp_path / "w")
    clone = frozen(folder)
    for path, source in images().items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).symlink_to(source)
    monkeypatch.setenv("APPTAINER_NO_PRIVS", "1")  # as root Apptainer may lack the right to keep root's
    run = slurm.start(folder, checkout=str(clone.relative_to(folder)))
    run.ended_well()
    records = [json.loads(path.read_text()) for path in folder.rglob("results/**/*.record.json")]
    inside = [record for record in records if record["environment"]["image"] is not None]
    print(f"{len(inside)} of {len(records)} steps saw the image's identity; {len(run.calls)} submissions")
    assert len(records) == 37
    assert inside == records
    audit = audited(folder, clone)
    print(audit.stdout)
    assert audit.returncode == 0, audit.stdout
    assert "ran outside every image" not in audit.stdout
    if records[0]["environment"]["python"] == json.loads((finished / RECORD).read_text())["environment"]["python"]:
        measurements = "results/smoke/twins/numbers.json"
        assert (folder / measurements).read_bytes() == (finished / measurements).read_bytes()
