"""The cluster profiles, as far as no cluster is needed: they plan, and what a rule asks for reaches sbatch."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
PRETRAINED = "results/smoke/pretraining/digits_at/checkpoint.safetensors"
OUTSIDE = ("--software-deployment-method", "env-modules")  # in no container: no rule asks for an environment module


def planned(profile: str, folder: Path, *arguments: str) -> dict[str, str]:
    """Return how many jobs of each rule a dry run plans."""
    result = subprocess.run(
        [
            *(sys.executable, "-m", "snakemake", "--workflow-profile", f"profiles/{profile}", "--dry-run"),
            *("--config", "scale=smoke", *arguments),
        ],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
    )
    output = result.stdout + result.stderr
    assert result.returncode == 0, output
    return dict(re.findall(r"^(\w+) +(\d+)$", output, flags=re.MULTILINE))


@pytest.mark.parametrize("profile", ["slurm", "kubernetes"])
def test_a_cluster_profile_plans_what_the_default_plans(tools, tmp_path, profile):
    folder = tools["copy_checkout"](tmp_path / "w")
    arguments = OUTSIDE if profile == "slurm" else ()
    jobs = planned(profile, folder, *arguments)
    assert int(jobs["total"]) >= 16
    assert jobs == planned("default", folder)


def test_the_kubernetes_pod_of_the_readme_runs_the_profile_and_holds_no_root():
    text = (ROOT / "profiles" / "README.md").read_text(encoding="utf-8")
    job = yaml.safe_load(text.split("```yaml\n", 1)[1].split("```", 1)[0])
    assert (job["apiVersion"], job["kind"]) == ("batch/v1", "Job")
    spec = job["spec"]["template"]["spec"]
    assert spec["restartPolicy"] == "Never"
    assert spec["securityContext"]["runAsNonRoot"] is True
    (container,) = spec["containers"]
    assert "--workflow-profile profiles/kubernetes" in container["command"][-1]
    assert {mount["name"] for mount in container["volumeMounts"]} == {volume["name"] for volume in spec["volumes"]}
    profile = yaml.safe_load((ROOT / "profiles" / "kubernetes" / "config.yaml").read_text(encoding="utf-8"))
    assert container["resources"]["limits"]["nvidia.com/gpu"] == profile["resources"]["gpu"]
    assert int(container["resources"]["requests"]["cpu"]) == profile["cores"]


@pytest.fixture
def refusing_sbatch(tmp_path) -> Path:
    """A folder for PATH whose sbatch notes its arguments as JSON and takes no job; other commands say nothing.

    So the test sees the same on a machine with Slurm and on one without.
    """
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "sbatch").write_text(
        f"#!{sys.executable}\nimport json, sys\n"
        f"print(json.dumps(sys.argv[1:]), file=open({str(tmp_path / 'calls')!r}, 'a'))\nsys.exit('no such node')\n"
    )
    (folder / "sbatch").chmod(0o755)
    for name in ("sacct", "sacctmgr", "scontrol", "sinfo", "squeue", "scancel"):
        (folder / name).write_text("#!/bin/sh\n")
        (folder / name).chmod(0o755)
    return folder


@pytest.fixture
def unbundled(copy_of_finished) -> Path:
    """The finished checkout with one job for each step, as larger scales have it."""
    scale = copy_of_finished / "config" / "scales" / "smoke.yaml"
    scale.write_text(re.sub(r"(?m)^bundle: \d+", "bundle: 0", scale.read_text()))
    return copy_of_finished


def test_what_a_rule_asks_for_reaches_sbatch(unbundled, refusing_sbatch, tmp_path):
    scale = unbundled / "config" / "scales" / "smoke.yaml"
    own = "device: cuda\nthreads: 3\nresources: {train: {mem_mb: 2345, runtime_min: 67}}\n"
    scale.write_text(scale.read_text() + own)
    result = subprocess.run(
        [
            *(sys.executable, "-m", "snakemake", "--workflow-profile", "profiles/slurm", *OUTSIDE),
            *("--config", "scale=smoke", "--", PRETRAINED),
        ],
        cwd=unbundled,
        env={**os.environ, "PATH": f"{refusing_sbatch}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert result.returncode != 0
    assert "no such node" in result.stdout + result.stderr
    calls = [json.loads(line) for line in (tmp_path / "calls").read_text().splitlines()]
    assert len(calls) == 3, "a job is submitted three times at most"
    for call in calls:
        assert call[call.index("--mem") + 1] == "2345"
        assert call[call.index("-t") + 1] == "67"
        assert "--cpus-per-task=3" in call
        assert "--gpus=1" in call
        assert "--requeue" in call
        assert call[call.index("--output") + 1].startswith(str(unbundled / "logs" / "slurm" / "rule_pretrain"))


def failing(folder: Path) -> None:
    """Edit a checkout so that every training fails."""
    with open(folder / "pipeline" / "robustft" / "train" / "step.py", "a") as source:
        source.write('\n\ndef train(spec, context):\n    raise ValueError("made to fail")\n')


@pytest.mark.parametrize(("mode", "attempts"), [("default", 3), ("remote", 1)])
def test_a_job_on_a_cluster_does_not_try_again_by_itself(unbundled, tools, mode, attempts):
    """Each of the three Snakemakes around a Slurm job's step retried: 27 attempts."""
    failing(unbundled)
    tools["snakemake"](unbundled, "--mode", mode, "--forcerun", "pretrain", "--", PRETRAINED, check=False)
    assert len(list(unbundled.glob("scratch/*/failed-*.json"))) == attempts


def test_a_run_from_a_frozen_checkout_does_not_see_edits_of_the_one_it_runs_in(unbundled, tools):
    """`python -m` looks into the working directory first, and so found the package of the edited checkout."""
    folder = unbundled
    git = ["git", "-c", "user.name=test", "-c", "user.email=test@example.org"]
    (folder / ".gitignore").write_text((ROOT / ".gitignore").read_text())
    subprocess.run(["git", "init", "--quiet"], cwd=folder, check=True)
    subprocess.run(["git", "add", "--all"], cwd=folder, check=True)
    subprocess.run([*git, "commit", "--quiet", "--message", "all"], cwd=folder, check=True)
    said = tools["robustft"](folder, "freeze")
    assert said.returncode == 0, said.stderr
    (clone,) = folder.glob("frozen/*")
    failing(folder)
    tools["snakemake"](
        folder,
        *(
            "--snakefile",
            f"frozen/{clone.name}/Snakefile",
            "--workflow-profile",
            f"frozen/{clone.name}/profiles/default",
        ),
        *("--forcerun", "pretrain", "--", PRETRAINED),
    )
    record = json.loads((folder / PRETRAINED.replace(".safetensors", ".record.json")).read_text())
    assert record["environment"]["git"]["clean"] is True
    assert record["environment"]["git"]["commit"].startswith(clone.name)
