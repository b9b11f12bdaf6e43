"""The recipes of all roles and config/images.yaml say the same, and roles differ in arguments only."""

import os
import re
import subprocess

import pytest
import yaml

from robustft.files import ROOT
from robustft.provenance.environment import locked_versions

ROLES = yaml.safe_load((ROOT / "config" / "images.yaml").read_text())["images"]


def recipe(role: str, kind: str) -> str:
    return (ROOT / "docker" / role / {"docker": "Dockerfile", "apptainer": f"robustft-{role}.def"}[kind]).read_text()


def test_every_role_has_its_folder_and_no_folder_is_without_a_role():
    assert {path.name for path in (ROOT / "docker").iterdir() if path.is_dir()} == set(ROLES)


@pytest.mark.parametrize("role", ROLES)
def test_both_recipes_have_the_base_and_the_lock_of_the_configuration(role):
    about = ROLES[role]
    assert f"ARG BASE_IMAGE={about['base']}\n" in recipe(role, "docker")
    assert f"ARG LOCK={about['lock']}\n" in recipe(role, "docker")
    arguments = dict(re.findall(r"^    ([A-Z_]+)=(.*)$", recipe(role, "apptainer"), re.MULTILINE))
    assert (arguments["BASE_IMAGE"], arguments["LOCK"], arguments["ROLE"]) == (about["base"], about["lock"], role)
    name, digest = about["base"].split("@")
    assert arguments["FROM"] == f"{name.split(':')[0]}@{digest}"


@pytest.mark.parametrize("kind", ["docker", "apptainer"])
def test_roles_differ_in_arguments_only(kind):
    def body(role: str) -> str:
        text = recipe(role, kind)
        for value in (ROLES[role]["base"], ROLES[role]["base"].split("@")[1], ROLES[role]["lock"]):
            text = text.replace(value, "...")
        return re.sub(rf"ROLE={role}\b", "ROLE=...", text)

    first, *others = (body(role) for role in ROLES)
    assert all(other == first for other in others)


def test_both_kinds_set_the_same_locale_and_python():
    for name in ("LANG=C.UTF-8", "LC_ALL=C.UTF-8", "PYTHONDONTWRITEBYTECODE=1", "PYTHONNOUSERSITE=1"):
        assert all(name in recipe(role, kind) for role in ROLES for kind in ("docker", "apptainer"))


def test_the_image_of_a_container_is_not_root():
    assert all(re.search(r"^USER robustft$", recipe(role, "docker"), re.MULTILINE) for role in ROLES)


def test_the_lock_for_reports_is_a_part_of_the_lock_for_runs_without_torch():
    run, report = (locked_versions(ROOT / ROLES[role]["lock"]) for role in ("train", "report"))
    assert {name: run.get(name) for name in report} == report
    assert "torch" in run
    assert not {name for name in report if name.startswith(("torch", "nvidia", "cuda", "triton"))}


def test_the_install_script_is_valid_and_stops_without_its_arguments():
    assert subprocess.run(["bash", "-n", ROOT / "docker" / "install.sh"], check=False).returncode == 0


@pytest.mark.parametrize("profile", ["default", "slurm"])
@pytest.mark.parametrize("visible", [True, False])
def test_apptainer_is_told_of_a_gpu_only_where_there_is_one(profile, visible, tmp_path):
    """It always was, and Apptainer then warns in the log of every job on a machine without one."""
    text = yaml.safe_load((ROOT / "profiles" / profile / "config.yaml").read_text())["apptainer-args"]
    assert "/dev/nvidiactl" in text
    device = tmp_path / "nvidiactl"
    if visible:
        device.touch()
    # As Snakemake does: a line of a strict bash that the arguments stand in.
    line = f"set -euo pipefail; echo apptainer exec {text.replace('/dev/nvidiactl', str(device))} image.sif"
    said = subprocess.run(
        ["bash", "-c", line], capture_output=True, text=True, check=True, env={"PATH": os.environ["PATH"]}
    ).stdout.split()
    assert said == ["apptainer", "exec", *(["--nv"] if visible else []), "--cleanenv", "image.sif"]
