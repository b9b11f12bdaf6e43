"""What all fault tests share: a count of the faults that were tried and of the results that were lost."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
COUNTS = {"tried": 0, "lost": 0}


class Faults:
    """Counts each fault as lost until its block has ended without an error."""

    @contextlib.contextmanager
    def tried(self, count: int = 1) -> Iterator[None]:
        COUNTS["tried"] += count
        COUNTS["lost"] += count
        yield
        COUNTS["lost"] -= count


@pytest.fixture(scope="session")
def faults() -> Faults:
    """The counter behind the line that ends a run of the fault tests."""
    return Faults()


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Bring the counts of a worker of pytest-xdist home."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["faults"] = dict(COUNTS)


def pytest_testnodedown(node: object) -> None:
    for name, count in getattr(node, "workeroutput", {}).get("faults", {}).items():
        COUNTS[name] += count


def pytest_terminal_summary(terminalreporter: object) -> None:
    if COUNTS["tried"]:
        terminalreporter.write_line(f"faults: tried {COUNTS['tried']}, lost {COUNTS['lost']}")  # type: ignore[attr-defined]


def step(folder: Path, *arguments: str, before: tuple[str, ...] = (), **variables: str) -> subprocess.CompletedProcess:
    """Run one step in a process of its own at scale smoke."""
    return subprocess.run(
        [*before, sys.executable, "-m", "robustft", *arguments, "--scale", "smoke"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT / "pipeline"), **variables},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.fixture(scope="session")
def run_step() -> Callable[..., subprocess.CompletedProcess]:
    return step


@pytest.fixture(scope="session")
def small_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Data, pre-training, one run of two epochs' budget and its attacks, never disturbed. Read-only by convention."""
    folder = tmp_path_factory.mktemp("small")
    for arguments in (
        ("data", "digits"),
        ("train", "pretraining/digits_at"),
        ("train", "twins/main/digits_5to9/at/seed0"),
        ("attack", "twins/main/digits_5to9/at/seed0/robustness.1of1"),
    ):
        done = step(folder, *arguments)
        assert done.returncode == 0, done.stderr
    return folder


class Workflow:
    """A checkout of its own in which Snakemake runs TWINS at scale smoke, to be killed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.command = [sys.executable, "-m", "snakemake", "--cores", "2", "--config", "scale=smoke"]

    def start(self) -> subprocess.Popen[bytes]:
        quiet = open(self.folder / "snakemake.out", "ab")  # noqa: SIM115 (the process keeps it)
        return subprocess.Popen(self.command, cwd=self.folder, start_new_session=True, stdout=quiet, stderr=quiet)

    def finish(self, *, unlock: bool = True) -> str:
        if unlock:
            subprocess.run([*self.command, "--unlock"], cwd=self.folder, capture_output=True, check=True, timeout=300)
        done = subprocess.run(self.command, cwd=self.folder, capture_output=True, text=True, timeout=3600)
        assert done.returncode == 0, (done.stdout + done.stderr)[-6000:]
        return done.stdout + done.stderr

    def fails(self) -> str:
        done = subprocess.run(self.command, cwd=self.folder, capture_output=True, text=True, timeout=900)
        assert done.returncode != 0
        return done.stdout + done.stderr

    def kill_all(self, process: subprocess.Popen[bytes]) -> None:
        """SIGKILL to Snakemake and to every process that it started, the same moment."""
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def work_done(self) -> int:
        """How many records, pieces and states there are: progress of whatever kind."""
        kinds = ("results/**/*.record.json", "scratch/*/*.piece", "scratch/*/*.state", "scratch/*/attempts")
        return sum(len(list(self.folder.glob(kind))) for kind in kinds)


@pytest.fixture(scope="session")
def workflow(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Workflow]:
    """Make a checkout of its own under a name."""
    from tests.e2e.conftest import copy_checkout

    def make(folder: Path, *, papers: str = "[twins]") -> Workflow:
        return Workflow(copy_checkout(folder, papers=papers))

    return make


@pytest.fixture(scope="session")
def undisturbed(workflow: Callable[..., Workflow], tmp_path_factory: pytest.TempPathFactory) -> tuple[Workflow, float]:
    """The whole workflow run once in peace, and the seconds that it took."""
    made = workflow(tmp_path_factory.mktemp("whole") / "undisturbed")
    started = time.monotonic()
    made.finish(unlock=False)
    return made, time.monotonic() - started


@pytest.fixture(scope="session")
def adopt() -> Callable[[Path], subprocess.CompletedProcess]:
    """Run `robustft adopt` in a folder."""

    def run(folder: Path) -> subprocess.CompletedProcess:
        command = [sys.executable, "-m", "robustft", "adopt", "--scale", "smoke"]
        return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, check=False)

    return run


@pytest.fixture
def copied(tmp_path: Path) -> Callable[[Path], Path]:
    def copy(folder: Path) -> Path:
        return Path(shutil.copytree(folder, tmp_path / "w", symlinks=True))

    return copy
