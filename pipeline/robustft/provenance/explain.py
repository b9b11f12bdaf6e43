"""`robustft explain`: the lineage of one number, from the table cell to the data file, in words."""

from __future__ import annotations

import re
import textwrap
from collections import Counter
from pathlib import Path
from typing import Any

from robustft.errors import RobustftError, nearest
from robustft.evaluate.ledger import read_ledger
from robustft.files import read_json
from robustft.plan import Plan
from robustft.plan.step import Evaluation, Run, Step
from robustft.provenance.facts import (
    HASH,
    Fact,
    Facts,
    attack_facts,
    claim_facts,
    code_fact,
    environment_facts,
    facts_of,
    failed_checks,
    file_fact,
    measurement_facts,
)
from robustft.provenance.lineage import Lineage, judged_claims
from robustft.provenance.verify import endorsements
from robustft.report import tables

CELL = re.compile(
    r"(?P<paper>[a-z0-9_]+)/(?P<table>[a-z0-9_]+):"
    r"(?:(?P<dataset>[a-z0-9_]+)\.)?(?P<method>[a-z0-9_]+)/(?P<column>[a-z0-9_]+)"
)
SEED = re.compile(r"/seed\d+")
MAIN_OUTPUT = {"attack": ("ledger", "Ledger"), "data": ("data", "Data"), "download": ("file", "File")}
"""The main output of a kind of step, and its name in the text; for other kinds it is the checkpoint."""


def explain(plan: Plan, cell: str) -> str:
    """Return the lineage of one cell, named PAPER/TABLE:ROW/COLUMN (ROW may be DATASET.METHOD).

    Every file of the lineage is hashed again. A file that differs from its record is marked in the text.
    """
    return _Explainer(plan).explain(cell)


class _Explainer:
    """Writes the paragraphs. Each step is described once, and a step of another seed by its differences only."""

    def __init__(self, plan: Plan) -> None:
        self.plan, self.lineage = plan, Lineage(plan)
        self.lines: list[str] = []
        self.described: dict[str, Step] = {}
        """The steps described so far, by key."""
        self.facts: dict[str, tuple[Step, list[str]]] = {}
        """By name without seed: the first described step of the seeds, and the texts of its facts."""

    def log(self, text: str, depth: int = 0) -> None:
        """Add one paragraph, with hashes shortened."""
        short = HASH.sub(lambda match: f"{match[0][:12]}...", text).replace("....", "...")
        indent = "  " * depth
        self.lines += textwrap.wrap(
            short, 110, initial_indent=indent, subsequent_indent=indent + "  ", break_long_words=False
        )

    def explain(self, name: str) -> str:
        match = CELL.fullmatch(name)
        if match is None:
            raise RobustftError(
                f"'{name}' names no cell",
                expected="PAPER/TABLE:ROW/COLUMN",
                next_step="for example: robustft explain twins/main:twins_at/autoattack",
            )
        step = self.plan.step("table", f"{match['paper']}/{match['table']}")
        numbers, table = read_json(step.inputs["numbers"]), step.spec["table"]
        columns = tables.build_grid(step.spec, numbers).column_names
        for part, group, valid in (("row", "method", step.spec["rows"]), ("column", "column", columns)):
            if match[group] not in valid:
                hint = nearest(match[group], valid)
                raise RobustftError(f"the table {step.id} has no {part} '{match[group]}'", next_step=hint)
        if match["column"] == tables.AVERAGE:
            self.log(f"The average of {step.spec['attacks'][table['metric']]} over the data sets below, seed by seed.")
        cells = self.lineage.cells(
            step, numbers, method=match["method"], column=match["column"], dataset=match["dataset"]
        )
        if not cells:
            raise RobustftError(f"the cell {name} was not run at scale {self.plan.scale}")
        for cell in cells:
            self._cell(step, cell, numbers)
        if beside := endorsements(self.plan):
            self.lines.append("")
            self._facts(list(beside), depth=0)
        return "\n".join(self.lines)

    # -- cells, measurements and claims --------------------------------------------------------------------------------

    def _cell(self, step: Step, cell: dict[str, Any], numbers: dict[str, Any]) -> None:
        paper, text = step.id.split("/")[0], tables.cell_text(cell)
        title, attack = step.spec["methods"][cell["method"]], step.spec["attacks"][cell["attack"]]
        if cell["unit"] != "share":
            self.log(f"{attack} of {title} on {cell['dataset']} reads {text} in {step.outputs['md']}.")
            self._histories(self.lineage.runs(paper, cell))
            return
        count = len(cell["seeds"])
        mean = f"the mean and sample standard deviation over {count} seeds" if count > 1 else "the value of one seed"
        self.log(
            f"{title} under {attack} on {cell['dataset']} reads {text} (percent) in {step.outputs['md']}:"
            f" {mean} of the share of {cell['images']} {cell['split']} images that stay correct, in the evaluation"
            f" '{cell['evaluation']}'."
        )
        if not numbers["reproduces"]:
            self.log(f"Scale {self.plan.scale} uses stand-ins, so it is not a reproduction of a published number.")
        for measurement in self.lineage.measurements(numbers, cell):
            self._measurement(paper, measurement)
        self._claims(paper, cell)

    def _histories(self, runs: list[Run]) -> None:
        """Name the histories that a training metric was read from."""
        for run in (run for run in runs if run.trained):
            file = file_fact(f"Seed {run.seed}", self.lineage.file(run.step, "history"))
            self.log(f"{file.label}: read from {file.text}.", depth=1)

    def _measurement(self, paper: str, measurement: dict[str, Any]) -> None:
        counted = "; ".join(f"{fact.label.lower()} {fact.text}" for fact in measurement_facts(measurement))
        self.lines.append("")
        self.log(f"Seed {measurement['seed']}: {counted}.")
        self._facts(failed_checks(measurement), depth=2)
        evaluations = self.lineage.evaluations(paper, measurement)
        for evaluation in evaluations:
            self._ledger(evaluation, measurement["attack"])
        run = evaluations[0].run
        if run.derivation:
            implementation = run.derivation["implementation"]
            self.log(f"Its model is made by {implementation} from {len(run.steps)} checkpoints:", depth=1)
        for training in run.steps:
            self._step(training, depth=1)

    def _claims(self, paper: str, cell: dict[str, Any]) -> None:
        judged = read_json(self.plan.step("verdicts", paper).outputs["json"])
        with_verdict = judged_claims(judged)
        for claim in self.lineage.claims(paper, cell, judged):
            if claim["id"] in with_verdict:
                self.lines.append("")
                self.log(f"Claim: {claim['statement']}. Verdict: {claim['verdict']}.")
                self._facts(claim_facts(claim), depth=1)

    # -- steps ---------------------------------------------------------------------------------------------------------

    def _ledger(self, evaluation: Evaluation, attack: str) -> None:
        step, facts = evaluation.step, attack_facts(evaluation.step, self.lineage)
        others = {fact.text for name, fact in facts.items() if name != attack}
        self._step(step, depth=1, without=others)
        outcome = read_ledger(Path(step.outputs["ledger"]))[attack]
        broken = Counter(name for name in outcome.broken_by.tolist() if name)
        if broken:
            parts = ", ".join(f"{count} by {name}" for name, count in broken.items())
            wrong = int((~outcome.correct).sum()) - sum(broken.values())
            self.log(f"Broken: {parts}; {wrong} images are wrong without any attack.", depth=2)
        if evaluation.transfer_eval:
            self._step(self.lineage.producer(step.inputs["data"]), depth=1)

    def _step(self, step: Step, *, depth: int, label: str = "", without: set[str] | None = None) -> None:
        """Describe a step: its file, its facts, and the steps whose outputs it read."""
        role, name = MAIN_OUTPUT.get(step.kind, ("checkpoint", "Model"))
        file = file_fact(label or name, self.lineage.file(step, role))
        known = step.key in self.described
        self.log(f"{file.label}: {file.text}{', described above' if known else ''}.", depth=depth)
        if known:
            return
        self.described[step.key] = step
        record = self.lineage.record(step).values
        facts = [*facts_of(step, self.lineage), code_fact(record), *environment_facts(record["environment"])]
        facts = [fact for fact in facts if fact.text not in (without or ())]
        first, texts = self.facts.setdefault(SEED.sub("", step.key), (step, [fact.text for fact in facts]))
        if first is not step:
            self.log(f"As {first.id}, but:", depth=depth + 1)
            facts = [fact for fact in facts if fact.text not in texts]
        self._facts([*facts, Fact("Record", step.record)], depth=depth + 1)
        if step.kind == "train":
            for role, producer in self.lineage.inputs_of(step).items():
                self._step(producer, depth=depth + 1, label="" if role == "data" else _named(role))

    def _facts(self, facts: Facts | list[Fact], *, depth: int) -> None:
        for fact in facts:
            origin = f" [{fact.origin}]" if fact.origin else ""
            self.log(f"{fact.label}: {fact.text}{origin}.".replace("..", "."), depth=depth)


def _named(role: str) -> str:
    """Return the name of an input of a training."""
    if role == "auxiliary":
        return "Auxiliary data"
    return "Initial weights" if role == "initial" else f"Initial weights ({role.removeprefix('from_')})"
