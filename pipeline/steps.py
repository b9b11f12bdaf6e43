"""What a step, a run and an evaluation are: the planner's values. Never imports torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from pipeline.files import digest_of
from pipeline.sources import module_of, source_files

ENTRIES = {
    "data": "pipeline.data.step:decode",
    "train": "pipeline.train.step:train",
    "attack": "pipeline.evaluate.step:attack",
    "numbers": "pipeline.report.numbers:numbers",
    "verdicts": "pipeline.report.verdicts:verdicts",
    "table": "pipeline.report.tables:table",
    "figure": "pipeline.report.figures.step:figure",
    "seal": "pipeline.provenance.seal:seal",
}
"""The function that does the work of each kind of step."""


@dataclass(frozen=True)
class Step:
    """One job: `spec` and the inputs' bytes decide the outputs' bytes; nothing else does (on one kind of machine)."""

    kind: str
    id: str
    spec: dict[str, Any]
    inputs: dict[str, str]
    outputs: dict[str, str]
    implementations: tuple[str, ...] = ()
    upstream: dict[str, str] = field(default_factory=dict)
    """For each input role, the record that vouches for it."""
    settings: dict[str, Any] = field(default_factory=dict)
    """What may differ without changing the outputs: how often to save the resume state."""

    @property
    def key(self) -> str:
        """The step's unique name, `kind:id`."""
        return f"{self.kind}:{self.id}"

    @cached_property
    def digest(self) -> str:
        """SHA-256 of kind, id and spec: the step's identity, also the name of its resume state."""
        return digest_of({"kind": self.kind, "id": self.id, "spec": self.spec})

    @property
    def record(self) -> str:
        """Path of the record that the step writes when it is done."""
        first = next(iter(self.outputs.values()))
        stem = Path(first).name.split(".")[0] if self.kind != "attack" else Path(first).name[: -len(".ledger.parquet")]
        return str(Path(first).with_name(f"{stem}.record.json"))

    @property
    def entry(self) -> str:
        """`module:function` that does the work."""
        return ENTRIES[self.kind]

    def sources(self) -> list[str]:
        """Return the project's source files that the step can import, relative to the checkout."""
        return source_files(module_of(self.entry), *map(module_of, self.implementations))


@dataclass(frozen=True)
class Run:
    """dataset x backbone x pretraining x method x hyper-parameters x seed: one checkpoint."""

    paper: str
    experiment: str
    dataset: str
    method: str
    seed: int
    step: Step


@dataclass(frozen=True)
class Evaluation:
    """The attacks that one job runs on one run's checkpoint, into one ledger."""

    run: Run
    name: str
    attacks: tuple[str, ...]
    step: Step
