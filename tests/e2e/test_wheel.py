"""A wheel carries all that a run needs: built, installed beside nothing of the checkout, used in an empty folder."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PARTS = (
    *("setup.py", "pyproject.toml", "README.md", "LICENSE", "CITATION.cff", "dvc.yaml", "Snakefile"),
    *("config", "profiles", "envs", "docker", "benchmarks", "pipeline"),
)
LEFT_OUT = shutil.ignore_patterns("__pycache__", "*.egg-info", "*.sif", ".build-*")
PAPER, CELL = "twins", "twins/main:twins_at/autoattack"
"""The paper that takes least time at scale smoke, and a cell of its table."""


def run(*command: str, folder: Path, packages: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run a command in a folder, with the installed wheel before all other packages."""
    paths = {"PYTHONPATH": str(packages)} if packages else {}
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, "PYTHONSAFEPATH": "1", **paths},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, f"{command} in {folder}:\n{done.stdout[-3000:]}\n{done.stderr[-6000:]}"
    return done


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    """The sources as a repository of their own, so that the build leaves nothing in this checkout."""
    folder = tmp_path_factory.mktemp("source")
    for name in PARTS:
        path = ROOT / name
        if path.is_dir():
            shutil.copytree(path, folder / name, ignore=LEFT_OUT)
        else:
            shutil.copy2(path, folder / name)
    for command in ("init -q", "add -A", "-c user.name=a -c user.email=a@b.c commit -q -m all"):
        run("git", *command.split(), folder=folder)
    return folder


@pytest.fixture(scope="module")
def packages(source, tmp_path_factory) -> Path:
    """The folder into which the wheel is installed, without network."""
    folder = tmp_path_factory.mktemp("wheel")
    offline = ("--quiet", "--no-deps", "--no-index")
    pip = (sys.executable, "-m", "pip")
    run(*pip, "wheel", *offline, "--no-build-isolation", "--wheel-dir", str(folder), str(source), folder=folder)
    (wheel,) = folder.glob("*.whl")
    run(*pip, "install", *offline, "--target", str(folder / "packages"), str(wheel), folder=folder)
    return folder / "packages"


@pytest.fixture(scope="module")
def user(packages, tmp_path_factory):
    """Run a command line of the wheel in an empty folder."""
    folder = tmp_path_factory.mktemp("empty")

    def call(*arguments: str) -> subprocess.CompletedProcess[str]:
        return run(sys.executable, *arguments, folder=folder, packages=packages)

    call.folder = folder
    return call


@pytest.fixture(scope="module")
def compare(user, source):
    """Return what code prints as JSON in the wheel, after comparing it with what it prints in the checkout."""

    def call(code: str):
        code = f"import json, robustft; {code}"
        checkout = run(sys.executable, "-c", code, folder=source, packages=source / "pipeline").stdout
        wheel = user("-c", code).stdout
        assert json.loads(wheel) == json.loads(checkout)
        return json.loads(wheel)

    return call


def test_a_wheel_holds_what_the_checkout_holds_under_the_same_names(compare):
    code = (
        "from robustft.export.project import citation, project_files; "
        "from robustft.files import project_path, sha256_file; "
        "print(json.dumps([citation()['title'], {name: sha256_file(project_path(name)) for name in project_files()}]))"
    )
    _, files = compare(code)
    assert {"Snakefile", "config/config.yaml", "envs/run.txt", "pipeline/rules/captions/table.rst"} <= set(files)
    assert {"pipeline/robustft/files.py", "pipeline/robustft/export/template/page.html"} <= set(files)


def test_a_step_has_the_digest_and_the_sources_that_it_has_in_the_checkout(compare):
    steps = compare(
        "from robustft.plan.sources import source_hashes; plan = robustft.make_plan('smoke'); "
        "print(json.dumps({key: [step.digest, source_hashes(step.sources())] for key, step in plan.steps.items()}))"
    )
    assert len(steps) > 100


def test_plan_and_misspelt_names(user):
    assert "steps" in user("-m", "robustft", "plan", "--scale", "smoke").stdout
    assert "steps" in user("-m", "robustft", "plan", "--scale", "paper", "--papers", "twins").stdout
    with pytest.raises(AssertionError, match="did you mean 'smoke'"):
        user("-m", "robustft", "plan", "--scale", "smke")


def test_a_paper_runs_where_the_user_stands(user, source, packages):
    """The smallest paper from start to end: run, audit, explain, page, load."""
    scale = ("--scale", "smoke", "--papers", PAPER)
    done = user("-m", "robustft", "run", *scale, "--", "--cores", "2", "--quiet")
    command = done.stderr.splitlines()[0]
    assert command.startswith("$ snakemake ")
    assert str(packages / "robustft" / "project" / "Snakefile") in command
    results = user.folder / "results" / "smoke" / PAPER
    record = json.loads((results / "tables" / "main.record.json").read_text())
    commit = run("git", "rev-parse", "HEAD", folder=source).stdout.strip()
    assert record["environment"]["git"] == {"commit": commit, "clean": True, "wheel": True}
    assert record["environment"]["lock"]["sha256"]

    audit = user("-m", "robustft", "audit", *scale).stdout
    assert "PASS" in audit
    assert "ran from a wheel" in audit
    assert commit[:12] in audit
    assert "digits" in user("-m", "robustft", "explain", *scale, CELL).stdout
    user("-m", "robustft", "export", "page", *scale, "--to", "page.html")
    assert "<html" in (user.folder / "page.html").read_text()
    checkpoint = next(results.rglob("checkpoint.safetensors"))
    assert user("-c", f"import robustft; print(robustft.load({str(checkpoint)!r}).training)").stdout == "False\n"
    again = user("-m", "robustft", "run", *scale, "--", "--cores", "2", "--dry-run")
    assert "Nothing to be done" in again.stdout + again.stderr
    assert sorted(path.name for path in user.folder.iterdir() if not path.name.startswith(".")) == [
        "logs",
        "page.html",
        "results",
        "scratch",
    ]


def test_commands_that_need_a_checkout_say_so(user):
    for command in ("freeze", "publish", "readme"):
        with pytest.raises(AssertionError, match="needs a checkout"):
            user("-m", "robustft", command)
