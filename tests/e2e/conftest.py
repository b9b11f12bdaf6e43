"""One finished run of one paper at the smallest scale, shared by all end-to-end tests of one pytest call."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock

ROOT = Path(__file__).resolve().parents[2]
PARTS = (
    *("Snakefile", "config", "benchmarks", "pipeline", "profiles", "envs", "docker", "docs"),
    *("pyproject.toml", "README.md", "CITATION.cff", "LICENSE"),
)


def copy_checkout(target: Path, *, papers: str = "[twins]") -> Path:
    """Copy what the workflow reads into a folder of its own, with these papers as its default."""
    target.mkdir(parents=True)
    for name in PARTS:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, target / name, ignore=shutil.ignore_patterns("__pycache__"))
        elif source.exists():
            shutil.copy2(source, target / name)
    settings = target / "config" / "config.yaml"
    text = settings.read_text()
    assert "papers: all" in text
    settings.write_text(text.replace("papers: all", f"papers: {papers}"))
    scale = target / "config" / "scales" / "smoke.yaml"
    bundles = scale.read_text()
    assert "bundle: 6\n" in bundles
    scale.write_text(bundles.replace("bundle: 6\n", "bundle: 1\n"))  # tests name the job that an edit runs again
    return target


def snakemake(folder: Path, *arguments: str, check: bool = True) -> str:
    """Run the workflow in a folder at scale smoke and return what it printed."""
    result = subprocess.run(
        [sys.executable, "-m", "snakemake", "--cores", "2", "--config", "scale=smoke", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=900,
    )
    output = result.stdout + result.stderr
    if check and result.returncode:
        raise AssertionError(f"snakemake ended with {result.returncode}:\n{output[-6000:]}")
    return output


def robustft(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command line of a folder's own copy of the package."""
    return subprocess.run(
        [sys.executable, "-m", "robustft", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder / "pipeline")},
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the checkout in which TWINS at scale smoke has been run to its end. Read-only by convention."""
    shared = tmp_path_factory.getbasetemp()
    if shared.name.startswith("popen-"):  # one folder for all workers of pytest-xdist
        shared = shared.parent
    folder = shared / "finished"
    with FileLock(shared / "finished.lock"):
        if not (folder / "results" / "smoke" / "twins" / "manifest.record.json").exists():
            shutil.rmtree(folder, ignore_errors=True)
            snakemake(copy_checkout(folder))
    return folder


@pytest.fixture
def copy_of_finished(finished: Path, tmp_path: Path) -> Path:
    """The finished run again, to be tampered with."""
    target = tmp_path / "copy"
    shutil.copytree(finished, target, symlinks=True)
    return target


@pytest.fixture(scope="session")
def tools() -> dict[str, Callable[..., object]]:
    """The helpers above, for the test modules."""
    return {"snakemake": snakemake, "robustft": robustft, "copy_checkout": copy_checkout}
