"""What stands behind a number, as facts. `robustft explain` tells them in words, the exports show them in their forms.

Every file on the way is hashed again, once, when it is first asked for.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from robustft.files import sha256_files
from robustft.plan import Plan
from robustft.plan.step import Evaluation, Run, Step
from robustft.provenance.record import Record, read_record
from robustft.report import tables
from robustft.report.claim_matching import datasets_of, experiments_of, operands
from robustft.report.claims import MISSING
from robustft.report.verdict_tables import NOT_COMPARABLE, UNREAD


@dataclass(frozen=True)
class FileFact:
    """An output file as the record of its step has it, and the SHA-256 of what is there now (None: nothing)."""

    path: str
    bytes: int
    recorded: str
    observed: str | None

    @property
    def verified(self) -> bool:
        """Whether the file is what its step wrote."""
        return self.observed == self.recorded


@dataclass(frozen=True)
class Origin:
    """What a source or weights were made from: a package's file, a downloaded one, or another step's output."""

    name: str
    sha256: str
    came_from: str | None = None
    published: str | None = None
    """The hashes that its publisher gave, in words; None for what nobody publishes."""


class Lineage:
    """Answers, for the numbers of one plan, what each was made from."""

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
        """Hash files that will be asked for, as many at a time as there are cores."""
        self._hashes |= sha256_files(path for path in paths if path not in self._hashes)

    def file(self, step: Step, role: str) -> FileFact:
        """Return one output file of a step."""
        path, entry = step.outputs[role], self.record(step).values["outputs"][role]
        self.hash_all([path])
        return FileFact(path, entry["bytes"], entry["sha256"], self._hashes[path])

    def producer(self, path: str) -> Step:
        """Return the step that makes an input."""
        producer = self.plan.producer(path)
        assert producer is not None, "the plan makes every input"
        return producer

    def inputs_of(self, step: Step) -> dict[str, Step]:
        """Return the steps whose outputs a step read, by the role that they had in it."""
        return {role: self.producer(path) for role, path in step.inputs.items()}

    def closure(self, steps: Iterable[Step]) -> list[Step]:
        """Return these steps and all that stand behind them, each once."""
        found: dict[str, Step] = {}
        waiting = list(steps)
        while waiting:
            step = waiting.pop()
            if step.key not in found:
                found[step.key] = step
                waiting += self.inputs_of(step).values()
        return list(found.values())

    def initial_weights(self, step: Step) -> dict[str, Step]:
        """Return the steps that made the initial weights of a training, by role."""
        return {
            role: producer
            for role, producer in self.inputs_of(step).items()
            if role == "initial" or role.startswith("from_")
        }

    def origins(self, step: Step) -> list[Origin]:
        """Return what a step of kind `data` or `weights` was made from."""
        about = step.spec["source" if step.kind == "data" else "weights"]
        if "package_file" in about:
            return [Origin(about["package_file"], about["sha256"])]
        return [self._origin(path) for path in step.inputs.values()]

    def _origin(self, path: str) -> Origin:
        producer = self.producer(path)
        values = self.record(producer).values
        observed = next(iter(values["outputs"].values()))["sha256"]
        if producer.kind != "download":
            return Origin(path, observed)
        file = producer.spec["file"]
        published = [
            f"{key.upper().replace('_PREFIX', ' beginning')} {file[key]}"
            for key in ("sha256", "md5", "sha256_prefix")
            if key in file
        ]
        told = f"published {' and '.join(published)}" if published else "no hash was published"
        return Origin(file["name"], observed, values["circumstances"].get("came_from", "elsewhere"), told)

    # -- cells of tables -----------------------------------------------------------------------------------------------

    def cells(
        self, step: Step, numbers: dict[str, Any], *, method: str, column: str, dataset: str | None
    ) -> list[dict[str, Any]]:
        """Return the cells of numbers.json that a table's cell shows: one, or for an average one for each data set."""
        table = step.spec["table"]
        wanted = {"experiment": table["experiment"], "method": method}
        wanted |= {"attack": table["metric"]} if column == tables.AVERAGE else tables.selection(table, column)
        if dataset:
            wanted["dataset"] = dataset
        across = table.get("across") == "datasets"
        return [cell for cell in numbers["cells"] if wanted.items() <= cell.items() and across == cell["transfer_eval"]]

    def measurements(self, numbers: dict[str, Any], cell: dict[str, Any]) -> list[dict[str, Any]]:
        """Return the measurements, one for each seed, that a cell is the mean of."""
        same = {key: cell[key] for key in ("experiment", "trained_on", "dataset", "transfer_eval", "method", "attack")}
        return [one for one in numbers["measurements"] if same.items() <= one.items()]

    def evaluations(self, paper: str, measurement: dict[str, Any]) -> list[Evaluation]:
        """Return the evaluations whose ledgers a measurement was counted from."""
        ledgers = {ledger["step"] for ledger in measurement["ledgers"]}
        return [one for one in self.plan.paper_evaluations(paper) if one.step.id in ledgers]

    def runs(self, paper: str, cell: dict[str, Any]) -> list[Run]:
        """Return the runs behind a cell, in the order of their seeds."""
        wanted = (paper, cell["experiment"], cell["trained_on"], cell["method"])
        return [run for run in self.plan.runs if (run.paper, run.experiment, run.dataset, run.method) == wanted]

    # -- claims --------------------------------------------------------------------------------------------------------

    def claims(self, paper: str, cell: dict[str, Any], judged: dict[str, Any]) -> list[dict[str, Any]]:
        """Return the claims that a cell takes part in, each with its verdict; `judged` is the paper's verdicts.json.

        What a scale has no verdict of its own on gets the one that all such claims have there.
        """
        spec = self.plan.step("verdicts", paper).spec
        found = list(judged["verdicts"])
        found += [one for table in judged.get("tables", []) for one in table.get("cells", [])]
        verdicts = {verdict["id"]: verdict for verdict in found}
        claims = [*spec["claims"], *(claim for table in spec.get("tables", []) for claim in table["claims"])]
        return [{**claim, **verdicts.get(claim["id"], _unjudged(claim))} for claim in claims if _involves(claim, cell)]


def _involves(claim: dict[str, Any], cell: dict[str, Any]) -> bool:
    """Tell whether a claim is about a cell's method under its attack, in its experiment and on its data set."""
    named = datasets_of(claim)
    return (
        (cell["method"], cell["attack"]) in operands(claim)
        and cell["experiment"] in experiments_of(claim)
        and (named is None or cell["dataset"] in named)
    )


def _unjudged(claim: dict[str, Any]) -> dict[str, Any]:
    return {"verdict": UNREAD if claim.get("value") == MISSING else NOT_COMPARABLE}
