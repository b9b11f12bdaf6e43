"""Part 3: first real tables, by the project's own workflow: scale `gpu`, TWINS and Adv-SS-Pretraining on CIFAR-10.

A rehearsal only plans it.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import torch

from robustft.config.load import Config
from robustft.data.fetch.mirror import missing
from robustft.errors import RobustftError
from robustft.files import ROOT
from robustft.plan import Plan

PAPERS = ("twins", "adv_ss_pretraining")
SCALE = "gpu"


def pieces(device: torch.device, *, quick: bool) -> dict[str, Callable[[], Any]]:
    """Return the pieces of the part: one for each paper."""
    if quick or device.type == "cpu":
        return {"rehearsal": partial(planned, SCALE)}
    return {paper: partial(tables, paper) for paper in PAPERS}


def planned(scale: str) -> dict[str, int]:
    """Plan the papers of the part, run nothing, and return how many steps they have."""
    return {paper: len(Plan(Config(scale=scale, papers=[paper])).steps) for paper in PAPERS}


def tables(paper: str) -> dict[str, str]:
    """Run one paper of scale `gpu` on one GPU, and return its tables and verdicts as Markdown.

    Raises RobustftError if its data are not to be had, or if the run ends with an error.
    """
    plan = Plan(Config(scale=SCALE, papers=[paper]))
    lines = missing({step.id: plan.config.files[step.id] for step in plan.of_kind("download")}, lambda _: False)
    if lines and os.environ.get("ROBUSTFT_OFFLINE"):
        told = "; ".join(lines)
        raise RobustftError("data are missing", observed=told, next_step="name their folder: make gpu MIRROR=FOLDER")
    command = [sys.executable, "-m", "robustft", "run", "--scale", SCALE, "--papers", paper, "--", "--cores", "4"]
    status = subprocess.run(command, cwd=ROOT, stdin=subprocess.DEVNULL, check=False).returncode
    if status:
        raise RobustftError(f"the run of {paper} ended with status {status}", next_step="see above, and logs/gpu")
    folder = ROOT / "results" / SCALE / paper
    files = [*sorted((folder / "tables").glob("*.md")), folder / "verdicts.md"]
    return {path.name: path.read_text(encoding="utf-8") for path in files}
