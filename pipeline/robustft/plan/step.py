"""The planner's values: step, run, evaluation and bundle. Never imports torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from robustft.files import digest_of
from robustft.plan.sources import code_digest, module_of, source_files

ENTRIES = {
    "download": "robustft.data.fetch.step:download",
    "weights": "robustft.models.pretrained.convert:convert",
    "data": "robustft.data.step:decode",
    "train": "robustft.train.step:train",
    "attack": "robustft.evaluate.step:attack",
    "numbers": "robustft.report.numbers:numbers",
    "verdicts": "robustft.report.verdicts:verdicts",
    "table": "robustft.report.tables:table",
    "figure": "robustft.report.figures.step:figure",
    "deviations": "robustft.report.deviations:deviations",
    "manifest": "robustft.provenance.manifest:manifest",
}
"""The function of each kind of step."""


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
    """For each input role, the record of the step that writes the input."""
    settings: dict[str, Any] = field(default_factory=dict)
    """Settings that do not change the outputs: how often to save the resume state."""
    origins: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """The origins of the values of `spec` (provenance/origins.py): in the record, but no part of the identity."""

    @property
    def key(self) -> str:
        """The step's unique name, `kind:id`."""
        return f"{self.kind}:{self.id}"

    @cached_property
    def digest(self) -> str:
        """SHA-256 of kind, id and spec: the step's identity, also the name of its resume state."""
        return digest_of({"kind": self.kind, "id": self.id, "spec": self.spec})

    @cached_property
    def record(self) -> str:
        """Path of the record that the step writes when it is done."""
        folder, _, name = next(iter(self.outputs.values())).rpartition("/")
        stem = name.split(".")[0] if self.kind != "attack" else name[: -len(".ledger.parquet")]
        return f"{folder}/{stem}.record.json"

    @property
    def entry(self) -> str:
        """`module:function` of this kind of step."""
        return ENTRIES[self.kind]

    def sources(self) -> list[str]:
        """Return the project's source files that the step can import, relative to the checkout."""
        return source_files(module_of(self.entry), *map(module_of, self.implementations))

    @property
    def code(self) -> str:
        """One hash over those files."""
        return code_digest(tuple(self.sources()))


@dataclass(frozen=True)
class Run:
    """dataset x backbone x pretraining x method x hyper-parameters x seed: one model.

    Most runs train the model. A derived run computes it from other checkpoints at each evaluation.
    """

    paper: str
    experiment: str
    dataset: str
    method: str
    seed: int
    steps: tuple[Step, ...]
    """The training steps of the model: its own, or those that it is derived from."""
    trained: bool = True
    derivation: dict[str, Any] | None = None

    @property
    def id(self) -> str:
        """The run's unique name, also its folder under the scale's results."""
        return f"{self.paper}/{self.experiment}/{self.dataset}/{self.method}/seed{self.seed}"

    @property
    def step(self) -> Step:
        """The training step; for a derived run, the first one that it is derived from."""
        return self.steps[0]

    @property
    def pretrained(self) -> bool:
        """Whether the model is the pre-trained one itself, or published weights."""
        return self.step.kind == "weights" or self.step.id.startswith("pretraining/")


@dataclass(frozen=True)
class Evaluation:
    """The attacks that one job runs on one run's model over images of one data set, into one ledger."""

    run: Run
    name: str
    dataset: str
    attacks: tuple[str, ...]
    step: Step
    transfer_eval: bool = False
    """Whether the evaluation lists its data sets instead of using the one that the run was trained on."""


@dataclass(frozen=True)
class Bundle:
    """Steps that one job runs in sequence, since each takes less time than a process needs to start.

    It is named after its first method.
    """

    name: str
    paper: str
    steps: tuple[Step, ...]

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the steps' digests, in their order: the bundle's identity."""
        return digest_of([step.digest for step in self.steps])

    @property
    def message(self) -> str:
        """What it does, in words."""
        if self.name.startswith("pretraining_"):
            return f"{self.paper}: pre-training {', '.join(step.id.rpartition('/')[2] for step in self.steps)}"
        methods = dict.fromkeys(step.id.split("/")[3] for step in self.steps)
        first, *others = methods
        more = f" and {len(others)} more" if others else ""
        return f"{self.paper}: training and attacking {first}{more}"

    @property
    def code(self) -> str:
        """One hash over the source files that its steps can import."""
        return code_digest(tuple(sorted({file for step in self.steps for file in step.sources()})))


def implementations(tree: Any) -> tuple[str, ...]:
    """Return every `module:name` under a key `implementation` or `target` of a specification, each once."""
    names: dict[str, None] = {}
    _gather(tree, names)
    return tuple(names)


LIBRARIES = ("timm", "torchvision", "open_clip", "robustbench")


def _own_network(key: str, value: str) -> bool:
    """Tell whether a value names a function of the user's that builds a network."""
    return key == "arch" and value.split(":")[0] not in LIBRARIES


def _gather(tree: Any, names: dict[str, None]) -> None:
    """Add the implementations of a tree. It is called for every specification, so it recurses into containers only."""
    if isinstance(tree, dict):
        for key, value in tree.items():
            if isinstance(value, str):
                if ":" in value and (key in ("implementation", "target") or _own_network(key, value)):
                    names[value] = None
            elif isinstance(value, dict | list):
                _gather(value, names)
    elif isinstance(tree, list):
        for value in tree:
            if isinstance(value, dict | list):
                _gather(value, names)
