"""How far a run of the workflow is: which steps are done, by paper, weighted by what they cost, and the time left.

A step is done when its record is there, so a bundle's steps count one by one, wherever its job runs. Never imports
torch.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from robustft.cost import CostModel
from robustft.errors import RobustftError
from robustft.plan import Plan
from robustft.plan.sources import source_hashes
from robustft.plan.step import Step
from robustft.provenance.record import read_record

SHARED = "data and pre-training"
"""What the steps count under that belong to no single paper."""


@dataclass
class Share:
    """The steps of one paper: how many there are, how many are done, and both again in seconds of work."""

    steps: int = 0
    done: int = 0
    seconds: float = 0.0
    done_seconds: float = 0.0

    @property
    def fraction(self) -> float:
        """The done part of the work, from 0 to 1."""
        return self.done_seconds / self.seconds if self.seconds else 1.0


@dataclass
class Pace:
    """How the observed times of a kind of step compare with the estimated ones."""

    estimated: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    observed: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))

    def add(self, kind: str, *, estimated: float, observed: float) -> None:
        """Count one finished step."""
        self.estimated[kind] += estimated
        self.observed[kind] += observed

    def ratio(self, kind: str) -> float:
        """Return observed over estimated seconds of this kind, of all kinds before the first one of it, else 1."""
        if self.estimated[kind]:
            return self.observed[kind] / self.estimated[kind]
        total = sum(self.estimated.values())
        return sum(self.observed.values()) / total if total else 1.0


def wanted_steps(plan: Plan, targets: Iterable[str]) -> list[Step]:
    """Return the steps that some targets of Snakemake need: files of the plan, or the rules `figures`, `downloads`.

    Without targets, and for any other rule, these are all steps of the plan.
    """
    ends: list[Step] = []
    rules = {"figures": plan.of_kind("figure"), "downloads": plan.of_kind("download")}
    for target in targets:
        step = plan.producer(target) or next((s for s in plan.steps.values() if s.record == target), None)
        if step is None and target not in rules:
            return list(plan.steps.values())
        ends += [step] if step else rules[target]
    return plan.needed(ends) if ends else list(plan.steps.values())


def up_to_date(step: Step) -> bool:
    """Tell whether a step's outputs are there and its record names its specification and its source files of now."""
    try:
        values = read_record(step.record).values
    except RobustftError:
        return False
    same = values["step"]["spec"] == step.spec
    if step.kind != "download":
        same = same and values["source"]["files"] == source_hashes(step.sources())
    return same and all(Path(path).is_file() for path in step.outputs.values())


class Progress:
    """The steps of one run of the workflow. `update` looks which of them have been done since."""

    def __init__(
        self, plan: Plan, steps: Iterable[Step], *, model: CostModel, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.plan, self._clock, self._started = plan, clock, clock()
        self.shares: dict[str, Share] = {}
        self._seconds = {step.key: max(model.seconds(step), 0.01) for step in plan.steps.values()}
        self._pace = Pace()
        self._pending: dict[str, tuple[Step, int | None]] = {}
        redone: set[str] = set()
        """Records that will change, so that the steps that read them run again."""
        for step in steps:
            share = self.shares.setdefault(self.share_of(step), Share())
            share.steps += 1
            share.seconds += self._seconds[step.key]
            if redone.isdisjoint(step.upstream.values()) and up_to_date(step):
                self._count(step)
            else:
                redone.add(step.record)
                self._pending[step.key] = (step, _written_at(step.record))
        self.at_start = self.done

    def share_of(self, step: Step) -> str:
        """Return the paper that a step belongs to, else `SHARED`."""
        paper = step.id.split("/")[0]
        return paper if paper in self.plan.config.papers else SHARED

    @property
    def steps(self) -> int:
        """The number of steps."""
        return sum(share.steps for share in self.shares.values())

    @property
    def done(self) -> int:
        """The number of steps that are done."""
        return sum(share.done for share in self.shares.values())

    @property
    def fraction(self) -> float:
        """The done part of all work, from 0 to 1."""
        seconds = sum(share.seconds for share in self.shares.values())
        return sum(share.done_seconds for share in self.shares.values()) / seconds if seconds else 1.0

    @property
    def elapsed_s(self) -> float:
        """Seconds since this run began."""
        return self._clock() - self._started

    def complete(self, name: str) -> bool:
        """Tell whether all steps of a share are done."""
        return self.shares[name].done == self.shares[name].steps

    def update(self) -> list[Step]:
        """Count the steps that have been done since, and return them."""
        done = []
        for key, (step, before) in list(self._pending.items()):
            if _written_at(step.record) in (None, before):
                continue
            del self._pending[key]
            self._count(step)
            self._observe(step)
            done.append(step)
        return done

    def seconds_left(self) -> float | None:
        """Return the estimated seconds until the end; None before enough steps have been seen to tell.

        The work that is left, at the pace of the work that this run has done.
        """
        worked = sum(self._pace.observed.values())
        if self.done - self.at_start < 3 or worked <= 0:
            return None
        left = sum(self._seconds[key] * self._pace.ratio(step.kind) for key, (step, _) in self._pending.items())
        return left * self.elapsed_s / worked

    def _count(self, step: Step) -> Share:
        share = self.shares[self.share_of(step)]
        share.done += 1
        share.done_seconds += self._seconds[step.key]
        return share

    def _observe(self, step: Step) -> None:
        try:
            seconds = float(read_record(step.record).values["circumstances"]["seconds"])
        except (RobustftError, TypeError, ValueError):  # the record of a job that Snakemake has just taken back
            return
        self._pace.add(step.kind, estimated=self._seconds[step.key], observed=seconds)


def _written_at(path: str) -> int | None:
    """Return when a file was written, in nanoseconds; None if it is missing."""
    try:
        return Path(path).stat().st_mtime_ns
    except OSError:
        return None
