"""The lineage of a number: its measurements, the steps behind them, and the files that those steps read and wrote.

Each file is hashed once, at its first use. The description of a step is in `provenance/facts.py`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from robustft.files import sha256_files
from robustft.plan import Plan
from robustft.plan.step import Evaluation, Run, Step
from robustft.provenance.origins import Origins, recorded_origins
from robustft.provenance.record import Record, read_record
from robustft.report import tables
from robustft.report.claim_matching import datasets_of, evaluations_of, experiments_of, operands
from robustft.report.claims import MISSING
from robustft.report.numbers import CELL
from robustft.report.verdict_tables import NOT_COMPARABLE, UNREAD


@dataclass(frozen=True)
class FileFact:
    """An output file: its size and SHA-256 as recorded, and the SHA-256 of the file now, None if it is missing."""

    path: str
    bytes: int
    recorded: str
    observed: str | None

    @property
    def verified(self) -> bool:
        """Whether the file is what its step wrote."""
        return self.observed == self.recorded


@dataclass(frozen=True)
class RawFile:
    """A source file of data or weights: in a package, downloaded, or the output of another step."""

    name: str
    sha256: str
    came_from: str | None = None
    published: str | None = None
    """The published hashes, in words; None for a file that is not published."""


class Lineage:
    """Finds the steps and files behind each number of a plan."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self._records: dict[str, Record] = {}
        self._hashes: dict[str, str | None] = {}

    # -- steps and files ---------------------------------------------------------------------------------------------

    def record(self, step: Step) -> Record:
        """Return a step's record."""
        if step.key not in self._records:
            self._records[step.key] = read_record(step.record)
        return self._records[step.key]

    def hash_all(self, paths: Iterable[str]) -> None:
        """Hash files that will be needed, as many at a time as there are cores."""
        self._hashes |= sha256_files(path for path in paths if path not in self._hashes)

    def file(self, step: Step, role: str) -> FileFact:
        """Return one output file of a step."""
        path, entry = step.outputs[role], self.record(step).values["outputs"][role]
        self.hash_all([path])
        return FileFact(path, entry["bytes"], entry["sha256"], self._hashes[path])

    def producer(self, path: str) -> Step:
        """Return the step that writes an input."""
        producer = self.plan.producer(path)
        assert producer is not None, "the plan makes every input"
        return producer

    def inputs_of(self, step: Step) -> dict[str, Step]:
        """Return the steps whose outputs a step reads, by the role of the input."""
        return {role: self.producer(path) for role, path in step.inputs.items()}

    def closure(self, steps: Iterable[Step]) -> list[Step]:
        """Return these steps and all steps that they depend on, each once."""
        closure: dict[str, Step] = {}
        waiting = list(steps)
        while waiting:
            step = waiting.pop()
            if step.key not in closure:
                closure[step.key] = step
                waiting += self.inputs_of(step).values()
        return list(closure.values())

    def initial_weights(self, step: Step) -> dict[str, Step]:
        """Return the steps that provide the initial weights of a training, by role."""
        return {
            role: producer
            for role, producer in self.inputs_of(step).items()
            if role == "initial" or role.startswith("from_")
        }

    def origins(self, step: Step) -> Origins:
        """Return the origins of a step's specification, from its record or else from the configuration."""
        origins: Origins | None = self.record(step).values["step"].get("origins")
        return recorded_origins(self.plan, step) if origins is None else origins

    def raw_files(self, step: Step) -> list[RawFile]:
        """Return the source files of a step of kind `data` or `weights`."""
        about = step.spec["source" if step.kind == "data" else "weights"]
        if "package_file" in about:
            return [RawFile(about["package_file"], about["sha256"])]
        return [self._raw_file(path) for path in step.inputs.values()]

    def _raw_file(self, path: str) -> RawFile:
        producer = self.producer(path)
        values = self.record(producer).values
        observed = next(iter(values["outputs"].values()))["sha256"]
        if producer.kind != "download":
            return RawFile(path, observed)
        file = producer.spec["file"]
        hashes = [
            f"{key.upper().replace('_PREFIX', ' beginning')} {file[key]}"
            for key in ("sha256", "md5", "sha256_prefix")
            if key in file
        ]
        published = f"published {' and '.join(hashes)}" if hashes else "no hash was published"
        return RawFile(file["name"], observed, came_from(values), published)

    # -- cells of tables -----------------------------------------------------------------------------------------------

    def cells(
        self, step: Step, numbers: dict[str, Any], *, method: str, column: str, dataset: str | None
    ) -> list[dict[str, Any]]:
        """Return the cells of numbers.json behind a table's cell: one, or for an average one for each data set.

        `dataset` is the one that the row's models were trained on, if rows are of several.
        """
        key = {"method": method, **({"trained_on": dataset} if dataset else {})}
        cells = tables.cells_in(step.spec, numbers["cells"], column)
        return [cell for cell in cells if key.items() <= cell.items()]

    def measurements(self, numbers: dict[str, Any], cell: dict[str, Any]) -> list[dict[str, Any]]:
        """Return the measurements of a cell, one for each seed."""
        key = {part: cell[part] for part in CELL}
        return [one for one in numbers["measurements"] if key.items() <= one.items()]

    def evaluations(self, paper: str, measurement: dict[str, Any]) -> list[Evaluation]:
        """Return the evaluations whose ledgers a measurement is counted from."""
        ledgers = {ledger["step"] for ledger in measurement["ledgers"]}
        return [one for one in self.plan.paper_evaluations(paper) if one.step.id in ledgers]

    def runs(self, paper: str, cell: dict[str, Any]) -> list[Run]:
        """Return the runs of a cell, in the order of their seeds."""
        key = (paper, cell["experiment"], cell["trained_on"], cell["method"])
        return [run for run in self.plan.runs if (run.paper, run.experiment, run.dataset, run.method) == key]

    # -- claims --------------------------------------------------------------------------------------------------------

    def claims(self, paper: str, cell: dict[str, Any], judged: dict[str, Any]) -> list[dict[str, Any]]:
        """Return the claims about a cell, each with its verdict; `judged` is the paper's verdicts.json.

        A claim of a long table may have no entry there. It gets the verdict that all such claims have at the scale.
        """
        spec = self.plan.step("verdicts", paper).spec
        verdicts = judged_claims(judged)
        claims = [*spec["claims"], *(claim for table in spec.get("tables", []) for claim in table["claims"])]
        return [{**claim, **verdicts.get(claim["id"], _unjudged(claim))} for claim in claims if _involves(claim, cell)]


def came_from(record: dict[str, Any]) -> str:
    """Return the source of a downloaded file, from the record of its step."""
    return str(record["circumstances"].get("came_from", "elsewhere"))


def judged_claims(judged: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the entries of verdicts.json by the id of their claim: the paper's own claims and the cells of tables."""
    entries = [*judged["verdicts"], *(one for table in judged.get("tables", []) for one in table.get("cells", []))]
    return {entry["id"]: entry for entry in entries}


def _involves(claim: dict[str, Any], cell: dict[str, Any]) -> bool:
    """Tell whether a claim is about a cell's method under its attack, in its experiment, evaluation and data set."""
    datasets, evaluations = datasets_of(claim), evaluations_of(claim)
    own = not cell["transfer_eval"] and cell["split"] == "test"
    measured = cell["evaluation"] in evaluations if evaluations is not None else own
    return (
        (cell["method"], cell["attack"]) in operands(claim)
        and cell["experiment"] in experiments_of(claim)
        and (measured or cell["evaluation"] is None)
        and (datasets is None or cell["dataset"] in datasets)
    )


def _unjudged(claim: dict[str, Any]) -> dict[str, Any]:
    return {"verdict": UNREAD if claim.get("value") == MISSING else NOT_COMPARABLE}
