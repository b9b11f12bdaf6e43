"""One step started on several nodes: which of the starts this process is, by what torchrun or srun say."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass

from robustft.errors import RobustftError

FIRST_PORT, PORTS = 20000, 10000
"""Where the first process of a Slurm job listens: a port of its own for each job step."""


@dataclass(frozen=True)
class Launcher:
    """Number `rank` of `count` equal commands that do one step together; the first one keeps its records."""

    rank: int = 0
    count: int = 1
    address: str = "127.0.0.1"
    port: int = 0
    """Where the first one listens for the others; 0 for any free port, if there are no others."""

    @classmethod
    def of(cls, nodes: int, environment: Mapping[str, str] = os.environ) -> Launcher:
        """Return what the environment says: torchrun's variables, or, for more than one node, Slurm's.

        Slurm's are there for a single command in an allocation of several tasks as well, so they do not count then.
        Raises RobustftError if there are fewer starts than nodes.
        """
        found = cls()
        if {"RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"} <= environment.keys():
            count, address = int(environment["WORLD_SIZE"]), environment["MASTER_ADDR"]
            found = cls(int(environment["RANK"]), count, address, int(environment["MASTER_PORT"]))
        elif nodes > 1 and {"SLURM_PROCID", "SLURM_STEP_NODELIST", "SLURM_STEP_ID"} <= environment.keys():
            step = 31 * int(environment["SLURM_JOB_ID"]) + int(environment["SLURM_STEP_ID"])
            count, address = int(environment["SLURM_STEP_NUM_TASKS"]), first_host(environment["SLURM_STEP_NODELIST"])
            found = cls(int(environment["SLURM_PROCID"]), count, address, FIRST_PORT + step % PORTS)
        if found.count < nodes:
            raise RobustftError(
                f"the scale says that a training runs on {nodes} nodes",
                expected=f"at least {nodes} starts of this command, by srun or torchrun",
                observed="this one alone" if found.count == 1 else f"{found.count} starts",
                next_step=f"start it as `srun --nodes {nodes} --ntasks {nodes} python -m robustft train ...`",
            )
        return found

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
    found = re.match(r"([^\[,]+)(?:\[(\w+)[^\]]*\]([^\[,]*))?", hosts)
    if found is None:
        raise RobustftError("Slurm's list of hosts is empty", observed=hosts)
    return "".join(part or "" for part in found.groups())
