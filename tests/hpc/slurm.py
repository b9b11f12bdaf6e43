"""Runs of the workflow as jobs of a real Slurm, for the tests beside this file."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

WAIT_S = 1500
"""Longest wait for anything; a busy machine is no failure."""

OUTSIDE = ("--software-deployment-method", "env-modules")
"""In no container: no rule asks for an environment module."""


def missing() -> str | None:
    """Return why no Slurm can be used here, or None."""
    if shutil.which("sinfo") is None or shutil.which("sbatch") is None:
        return "needs a Slurm cluster to submit to: no sinfo and sbatch on the PATH"
    answer = subprocess.run(["sinfo", "--noheader", "--format=%T"], capture_output=True, text=True, timeout=60)
    if answer.returncode or not answer.stdout.strip():
        return f"needs a Slurm cluster that answers: sinfo said {answer.stderr.strip() or 'nothing'}"
    return None


def wait_until(happened: Callable[[], Any], what: str, *, every_s: float = 0.05) -> Any:
    """Return the first true answer."""
    deadline = time.monotonic() + WAIT_S
    while not (answer := happened()):
        assert time.monotonic() < deadline, f"waited for {what} in vain"
        time.sleep(every_s)
    return answer


@dataclasses.dataclass(frozen=True)
class Run:
    """A workflow that submits to Slurm, through an sbatch that notes what it was given and what Slurm made of it."""

    folder: Path
    process: subprocess.Popen[str]

    @property
    def calls(self) -> list[dict[str, Any]]:
        """Of each submission: `arguments`, `id`, and `job` as scontrol shows it right after."""
        path = self.folder / "sbatch.calls"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def wait_for_file(self, pattern: str) -> Path:
        """Wait until a file is there."""

        def found() -> list[Path]:
            assert self.process.poll() is None, self.said
            return list(self.folder.glob(pattern))

        return wait_until(found, pattern, every_s=0.01)[0]

    @property
    def said(self) -> str:
        """What Snakemake has said so far."""
        return (self.folder / "said").read_text()

    def ended_well(self) -> str:
        """Wait for the end and return what was said."""
        assert self.process.wait(timeout=WAIT_S) == 0, self.said[-6000:]
        return self.said


NOTING_SBATCH = """#!{python}
import json, subprocess, sys
done = subprocess.run([{sbatch!r}, *sys.argv[1:]], capture_output=True, text=True)
sys.stdout.write(done.stdout)
sys.stderr.write(done.stderr)
job = done.stdout.strip().split(";")[0]
shown = subprocess.run(["scontrol", "show", "job", "-o", job], capture_output=True, text=True).stdout
with open({calls!r}, "a") as file:
    print(json.dumps({{"arguments": sys.argv[1:], "id": job, "job": shown}}), file=file)
sys.exit(done.returncode)
"""


def start(folder: Path, *arguments: str, checkout: str = ".") -> Run:
    """Start the workflow in a folder, at scale smoke, with the Slurm profile of a checkout (relative to the folder)."""
    programs = folder / ".programs"
    programs.mkdir(exist_ok=True)
    sbatch = NOTING_SBATCH.format(
        python=sys.executable, sbatch=shutil.which("sbatch"), calls=str(folder / "sbatch.calls")
    )
    (programs / "sbatch").write_text(sbatch)
    (programs / "sbatch").chmod(0o755)
    command = [sys.executable, "-m", "snakemake", "--snakefile", f"{checkout}/Snakefile"]
    command += ["--workflow-profile", f"{checkout}/profiles/slurm", "--slurm-init-seconds-before-status-checks", "2"]
    if subprocess.run(["sacct"], capture_output=True).returncode:  # no accounting
        command += ["--slurm-no-account", "--slurm-status-command", "squeue"]
    with open(folder / "said", "w") as said:
        process = subprocess.Popen(
            [*command, "--config", "scale=smoke", *arguments],
            cwd=folder,
            env={**os.environ, "PATH": f"{programs}:{os.environ['PATH']}"},
            stdout=said,
            stderr=subprocess.STDOUT,
            text=True,
        )
    return Run(folder, process)


def commit(folder: Path) -> None:
    """Make a folder a git repository with all of it committed."""
    identity = ("-c", "user.name=test", "-c", "user.email=test@example.org")
    (folder / ".gitignore").write_text(
        "/results/\n/scratch/\n/logs/\n/frozen/\n/.snakemake/\n__pycache__/\n*.sif\n/said\n/sbatch.calls\n/.programs/\n"
    )
    for arguments in (("init", "--quiet"), ("add", "--all"), ("commit", "--quiet", "--message", "all")):
        subprocess.run(["git", *identity, *arguments], cwd=folder, check=True)


def processes_of(job: str) -> list[int]:
    """Return the processes of a Slurm job on this machine, the daemon's own for it first (needs root)."""
    keepers, others = [], []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            title = (entry / "cmdline").read_bytes()
            inherited = (entry / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        if title.startswith(f"slurmstepd: [{job}.".encode()):
            keepers.append(int(entry.name))
        elif f"SLURM_JOB_ID={job}".encode() in inherited:
            others.append(int(entry.name))
    return keepers + others


def node(state: str) -> None:
    """Set the state of this machine's node (needs root).

    A node whose slurmd has registered again may be back by itself, and then refuses to be resumed.
    """
    name = os.uname().nodename.split(".")[0]
    command = ["scontrol", "update", f"nodename={name}", f"state={state}", "reason=test"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        shown = subprocess.run(["sinfo", "--noheader", "--format=%T"], capture_output=True, text=True, check=True)
        assert state == "resume", done.stderr
        assert "down" not in shown.stdout, done.stderr
