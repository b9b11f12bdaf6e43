"""`robustft explain`: one number's chain, from the table cell to the data file, in words."""

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
from robustft.plan.step import Evaluation, Step
from robustft.provenance.lineage import FileFact, Lineage, Origin
from robustft.report import tables

CELL = re.compile(
    r"(?P<paper>[a-z0-9_]+)/(?P<table>[a-z0-9_]+):"
    r"(?:(?P<dataset>[a-z0-9_]+)\.)?(?P<method>[a-z0-9_]+)/(?P<column>[a-z0-9_]+)"
)
_TREE = {True: "clean tree", False: "TREE NOT CLEAN", None: "tree unknown to git"}


def explain(plan: Plan, cell: str) -> str:
    """Return the chain behind one cell, named PAPER/TABLE:ROW/COLUMN (ROW may be DATASET.METHOD).

    Every file on the way is hashed again; one that is not what its record says is shouted about in its place.
    """
    return _Explainer(plan).explain(cell)


def _tuned(method: dict[str, Any]) -> str:
    """Say what was trained, if not everything."""
    tuning = method.get("tuning")
    if not tuning:
        return ""
    settings = ", ".join(f"{key}={value}" for key, value in tuning.get("parameters", {}).items()) or "no parameters"
    return f", tuning {tuning['implementation']} ({settings}),"


def _verified(file: FileFact) -> str:
    short = f"SHA-256 {file.recorded[:12]}..."
    if file.observed is None:
        return f"{short}, BUT THE FILE IS MISSING"
    return f"{short}, verified just now" if file.verified else f"{short}, BUT THE FILE NOW HAS {file.observed[:12]}..."


def _origins(found: list[Origin]) -> str:
    """Say which files a source or weights were made from."""
    told = []
    for origin in found:
        if origin.published:
            note = f"(from {origin.came_from}; {origin.published}; SHA-256 {origin.sha256[:12]}...)"
            told.append(f"{origin.name} {note}")
        elif origin.name.startswith("results/"):  # another step's output, which is told of by itself
            told.append(origin.name)
        else:
            told.append(f"{origin.name} (SHA-256 {origin.sha256[:12]}..., checked before use)")
    return ", ".join(told)


def _percent(share: float) -> str:
    return f"{100 * share:.1f}"


class _Explainer:
    def __init__(self, plan: Plan) -> None:
        self.plan, self.lineage = plan, Lineage(plan)
        self.lines: list[str] = []

    def log(self, *sentences: str, depth: int = 0) -> None:
        """Add one paragraph."""
        indent = "  " * depth
        self.lines += textwrap.wrap(
            " ".join(sentences), 110, initial_indent=indent, subsequent_indent=indent + "  ", break_long_words=False
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
        return "\n".join(self.lines)

    def _cell(self, step: Step, cell: dict[str, Any], numbers: dict[str, Any]) -> None:
        title, attack = step.spec["methods"][cell["method"]], step.spec["attacks"][cell["attack"]]
        count = len(cell["seeds"])
        if cell["unit"] != "share":
            self._metric(step, cell, title, attack)
            return
        mean = f"the mean and sample standard deviation over {count} seeds" if count > 1 else "the value of one seed"
        self.log(
            f"{title} under {attack} on {cell['dataset']} reads {tables.cell_text(cell)} (percent) in",
            f"{step.outputs['md']}: {mean} of the share of test images that stay correct.",
        )
        if not numbers["reproduces"]:
            self.log(f"Scale {self.plan.scale} uses stand-ins, so it is not a reproduction of a published number.")
        for measurement in self.lineage.measurements(numbers, cell):
            self._measurement(step.id.split("/")[0], measurement)
        self._claims(step, cell)

    def _measurement(self, paper: str, measurement: dict[str, Any]) -> None:
        low, high = map(_percent, measurement["interval"])
        failed = [check for check in measurement["checks"] if not check["ok"]]
        self.lines.append("")
        self.log(
            f"Seed {measurement['seed']}: {measurement['correct']} of {measurement['images']} images stay correct,",
            f"{_percent(measurement['accuracy'])} % (95 % interval of the images drawn: {low} to {high}).",
            f"{len(measurement['checks'])} sanity checks, {len(failed)} failed.",
        )
        for check in failed:
            text = check.get("text", "")
            self.log(f"{check['check']}: {check['value']:.4g}, limit {check['limit']:.4g}. {text}", depth=2)
        evaluations = self.lineage.evaluations(paper, measurement)
        for evaluation in evaluations:
            self._ledger(evaluation, measurement["attack"])
        run = evaluations[0].run
        if run.derivation:
            self.log(
                f"Its model is made by {run.derivation['implementation']} from {len(run.steps)} checkpoints:", depth=1
            )
        for training in run.steps:
            self._training(training, depth=1)

    def _metric(self, step: Step, cell: dict[str, Any], title: str, metric: str) -> None:
        """Tell where a value of training comes from: the histories."""
        self.log(f"{metric} of {title} on {cell['dataset']} reads {tables.cell_text(cell)} in {step.outputs['md']}.")
        for run in self.lineage.runs(step.id.split("/")[0], cell):
            if run.trained:
                file = self.lineage.file(run.step, "history")
                self.log(f"Seed {run.seed}: read from {file.path} ({_verified(file)}).", depth=1)

    def _ledger(self, evaluation: Evaluation, attack: str) -> None:
        step, file = evaluation.step, self.lineage.file(evaluation.step, "ledger")
        self.log(f"Image by image: {file.path} ({_verified(file)}).", depth=1)
        if evaluation.transfer_eval:
            self._data(step.inputs["data"], depth=2)
        outcome = read_ledger(Path(file.path))[attack]
        broken = Counter(name for name in outcome.broken_by.tolist() if name)
        if broken:
            parts = ", ".join(f"{count} by {name}" for name, count in broken.items())
            wrong = int((~outcome.correct).sum()) - sum(broken.values())
            self.log(f"{wrong} images were wrong before any attack; broken: {parts}.", depth=1)
        spec = next(entry for entry in step.spec["attacks"] if entry["name"] == attack)
        shown = {
            key: value for key, value in spec.items() if key not in ("name", "title", "source", "target", "threat")
        }
        details = ", ".join(f"{key} {value}" for key, value in shown.items())
        threat, seen = spec.get("threat", step.spec["threat"]), "the exported model"
        if spec.get("target", "exported_model") != "exported_model":
            seen = f"what {spec['target']} makes of {seen}"
        self.log(
            f"Attack: {spec['title']} ({details}), {threat['norm']} eps {threat['eps']}, seed {step.spec['seed']};",
            f"what it attacks: {seen}, from pixels to logits.",
            depth=1,
        )

    def _training(self, step: Step, *, depth: int) -> None:
        if step.kind == "weights":
            self._weights(step, depth=depth)
            return
        values, file = self.lineage.record(step).values, self.lineage.file(step, "checkpoint")
        spec = values["step"]["spec"]
        recipe, method = spec["recipe"], spec["method"]
        parameters = ", ".join(f"{key}={value}" for key, value in method["parameters"].items()) or "no parameters"
        epoch = values["circumstances"].get("selected_epoch")
        kept = f", epoch {epoch} kept as best on the validation split" if epoch else ""
        self.log(f"Model: {file.path} ({_verified(file)}).", depth=depth)
        self.log(
            f"Trained by {method['implementation']} ({parameters}){_tuned(method)} on {spec['dataset']['name']}:",
            f"{recipe['epochs']} epochs of batch {recipe['batch_size']}, {recipe['optimizer']} at {recipe['lr']},",
            f"seed {spec['seed']}{kept}; record {step.record}.",
            depth=depth,
        )
        self._code(values, depth=depth)
        for producer in self.lineage.initial_weights(step).values():
            self.log("Its initial weights:", depth=depth)
            self._training(producer, depth=depth + 1)
        for role in ("data", "auxiliary"):
            if role in step.inputs:
                self._data(step.inputs[role], depth=depth)

    def _code(self, values: dict[str, Any], *, depth: int) -> None:
        environment, circumstances, source = values["environment"], values["circumstances"], values["source"]
        image = (environment["image"] or {}).get("name") or "no container image of this project"
        self.log(
            f"Code: {len(source['files'])} source files (together {source['sha256'][:12]}...),",
            f"commit {str(environment['git']['commit'])[:12]}, {_TREE[environment['git']['clean']]};",
            f"Python {environment['python']}, torch {environment['packages'].get('torch')}, {image};",
            f"{circumstances.get('device')} on {circumstances['processor'] or circumstances['machine']},",
            f"{circumstances['ended']}.",
            depth=depth,
        )

    def _data(self, path: str, *, depth: int) -> None:
        producer = self.lineage.producer(path)
        title, file = producer.spec["source"]["title"], self.lineage.file(producer, "data")
        made = _origins(self.lineage.origins(producer))
        self.log(f"Data: {path} ({_verified(file)}), decoded from {made}:", f"{title}.", depth=depth)

    def _weights(self, step: Step, *, depth: int) -> None:
        title, file = self.plan.config.weights[step.id]["title"], self.lineage.file(step, "checkpoint")
        made = _origins(self.lineage.origins(step))
        self.log(
            f"Published weights: {title}, {file.path} ({_verified(file)}), converted from", f"{made}.", depth=depth
        )

    def _claims(self, step: Step, cell: dict[str, Any]) -> None:
        paper = step.id.split("/")[0]
        judged = read_json(self.plan.step("verdicts", paper).outputs["json"])
        told = {one["id"] for one in judged["verdicts"]}
        told |= {one["id"] for table in judged.get("tables", []) for one in table.get("cells", [])}
        for claim in self.lineage.claims(paper, cell, judged):
            if claim["id"] in told:
                self.lines.append("")
                self.log(
                    f"Claim: {claim['statement']} ({claim['source']}; {claim['confidence']}).",
                    f"Verdict: {claim['verdict']}.",
                )
