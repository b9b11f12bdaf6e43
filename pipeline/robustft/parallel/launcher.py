"""A step that is started on several nodes: which of the starts this process is, as torchrun or srun say.

srun's own variables are read besides torchrun's, because torchrun under srun exits with 1 whatever the command's status
is, and needs a host and a free port that all nodes know before they start.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass

from robustft.errors import RobustftError

FIRST_PORT, PORTS = 20000, 10000
"""The range of ports of the first process of a Slurm job; each job step has its own port."""


@dataclass(frozen=True)
class Launcher:
    """Start `rank` of `count` starts of one command, one on each node; the first one writes the records."""

    rank: int = 0
    count: int = 1
    address: str = "127.0.0.1"
    port: int = 0
    """The port of the first start for the others; 0, if there are no others, for any free port."""

    @classmethod
    def of(cls, nodes: int, environment: Mapping[str, str] = os.environ) -> Launcher:
        """Read torchrun's variables or, for more than one node, Slurm's.

        Slurm sets its variables for a single command in an allocation of several tasks, too, so for one node they do
        not count. Raises RobustftError if there are fewer starts than nodes.
        """
        launcher = cls()
        if {"RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"} <= environment.keys():
            count, address = int(environment["WORLD_SIZE"]), environment["MASTER_ADDR"]
            launcher = cls(int(environment["RANK"]), count, address, int(environment["MASTER_PORT"]))
        elif nodes > 1 and {"SLURM_PROCID", "SLURM_STEP_NODELIST", "SLURM_STEP_ID"} <= environment.keys():
            step = 31 * int(environment["SLURM_JOB_ID"]) + int(environment["SLURM_STEP_ID"])
            count, address = int(environment["SLURM_STEP_NUM_TASKS"]), first_host(environment["SLURM_STEP_NODELIST"])
            launcher = cls(int(environment["SLURM_PROCID"]), count, address, FIRST_PORT + step % PORTS)
        if launcher.count < nodes:
            raise RobustftError(
                f"the scale says that a training runs on {nodes} nodes",
                expected=f"at least {nodes} starts of this command, by srun or torchrun",
                observed="this one alone" if launcher.count == 1 else f"{launcher.count} starts",
                next_step=f"start it as `srun --nodes {nodes} --ntasks {nodes} python -m robustft train ...`",
            )
        return launcher

    def local_world_size(self, processes: int) -> int:
        """Return how many of a run's processes this command starts. Raises RobustftError unless all start as many."""
        if processes % self.count:
            raise RobustftError(
                f"{processes} processes cannot be started by {self.count} commands, as many by each",
                next_step="let `processes` of the scale be a multiple of the number of starts",
            )
        return processes // self.count


def first_host(hosts: str) -> str:
    """Return the first name of a list as Slurm writes it: `gpu[03-05,9]-a,other` begins with `gpu03-a`."""
    match = re.match(r"([^\[,]+)(?:\[(\w+)[^\]]*\]([^\[,]*))?", hosts)
    if match is None:
        raise RobustftError("Slurm's list of hosts is empty", observed=hosts)
    return "".join(part or "" for part in match.groups())
