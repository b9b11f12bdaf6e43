"""`robustft explain`: one number's chain, from the table cell to the data file, in words."""

from __future__ import annotations

import re
import textwrap
from collections import Counter
from pathlib import Path
from typing import Any

from pipeline.errors import RobustftError, nearest
from pipeline.evaluate.ledger import read_ledger
from pipeline.files import read_json, sha256_file
from pipeline.plan import Evaluation, Plan, Step
from pipeline.provenance.record import read_record
from pipeline.report import tables

CELL = re.compile(r"(?P<paper>[a-z0-9_]+)/(?P<table>[a-z0-9_]+):(?:(?P<dataset>[a-z0-9_]+)\.)?(?P<method>[a-z0-9_]+)/(?P<attack>[a-z0-9_]+)")  # fmt: skip


def _short(sha256: str) -> str:
    return f"{sha256[:12]}..."


def _verified(path: str, recorded: str) -> str:
    if not Path(path).is_file():
        return f"SHA-256 {_short(recorded)}, BUT THE FILE IS MISSING"
    observed = sha256_file(path)
    if observed != recorded:
        return f"SHA-256 {_short(recorded)}, BUT THE FILE NOW HAS {_short(observed)}"
    return f"SHA-256 {_short(recorded)}, verified just now"


class _Explainer:
    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.lines: list[str] = []

    def say(self, text: str, depth: int = 0) -> None:
        indent = "  " * depth
        self.lines += textwrap.wrap(text, 110, initial_indent=indent, subsequent_indent=indent + "  ")

    def explain(self, name: str) -> str:
        match = CELL.fullmatch(name)
        if match is None:
            raise RobustftError(
                f"'{name}' names no cell",
                expected="PAPER/TABLE:ROW/COLUMN",
                next_step="for example twins/main:twins_at/autoattack",
            )
        step = self.plan.step("table", f"{match['paper']}/{match['table']}")
        for part, valid in (("method", step.spec["rows"]), ("attack", step.spec["table"]["columns"])):
            if match[part] not in valid:
                raise RobustftError(
                    f"the table {step.id} has no {part} '{match[part]}'", next_step=nearest(match[part], valid)
                )
        numbers = read_json(step.inputs["numbers"])
        cells = [
            cell
            for cell in numbers["cells"]
            if cell["experiment"] == step.spec["table"]["experiment"]
            and cell["method"] == match["method"]
            and cell["attack"] == match["attack"]
            and match["dataset"] in (None, cell["dataset"])
        ]
        if not cells:
            raise RobustftError(f"the cell {name} was not run at scale {self.plan.scale}")
        for cell in cells:
            self._cell(step, cell, numbers)
        return "\n".join(self.lines)

    def _cell(self, step: Step, cell: dict[str, Any], numbers: dict[str, Any]) -> None:
        title, attack = step.spec["methods"][cell["method"]], step.spec["attacks"][cell["attack"]]
        count = len(cell["seeds"])
        self.say(
            f"{title} under {attack} on {cell['dataset']} reads {tables.cell_text(cell)} % in {step.outputs['md']}: the "
            f"mean{' and sample standard deviation' if count > 1 else ''} over {count} "
            f"seed{'s' if count > 1 else ''} of the share of test images that stay correct."
        )
        if not numbers["reproduces"]:
            self.say(f"Scale {self.plan.scale} uses stand-ins, so it is not a reproduction of a published number.")
        for measurement in numbers["measurements"]:
            if all(measurement[k] == cell[k] for k in ("experiment", "dataset", "method", "attack")):
                self._measurement(step.id.split("/")[0], measurement)
        self._claims(step, cell)

    def _measurement(self, paper: str, measurement: dict[str, Any]) -> None:
        low, high = measurement["interval"]
        self.say("")
        self.lines.append(
            f"Seed {measurement['seed']}: {measurement['correct']} of {measurement['images']} images stay correct "
            f"({100 * measurement['accuracy']:.1f} %; 95 % interval of the images drawn: {100 * low:.1f} to {100 * high:.1f})."
        )
        failed = [check for check in measurement["checks"] if not check["ok"]]
        self.say(f"Sanity checks: {len(measurement['checks'])} made, {len(failed)} failed.", 1)
        for check in failed:
            self.say(f"{check['check']}: {check['value']:.4g}, limit {check['limit']:.4g}. {check.get('text', '')}", 2)
        evaluations = [
            evaluation
            for evaluation in self.plan.paper_evaluations(paper, measurement["experiment"])
            if evaluation.step.id in {ledger["step"] for ledger in measurement["ledgers"]}
        ]
        for evaluation in evaluations:
            self._ledger(evaluation, measurement["attack"])
        self._training(evaluations[0].run.step)

    def _ledger(self, evaluation: Evaluation, attack: str) -> None:
        step = evaluation.step
        path = step.outputs["ledger"]
        recorded = read_record(step.record).values["outputs"]["ledger"]["sha256"]
        self.say(f"Image by image: {path} ({_verified(path, recorded)}).", 1)
        outcome = read_ledger(Path(path))[attack]
        broken = Counter(name for name in outcome.broken_by.tolist() if name)
        if broken:
            parts = ", ".join(f"{count} by {name}" for name, count in broken.items())
            wrong = int((~outcome.correct).sum()) - sum(broken.values())
            self.say(f"Of the {len(outcome.image)} images {wrong} were wrong before any attack; broken: {parts}.", 1)
        spec = next(entry for entry in step.spec["attacks"] if entry["name"] == attack)
        threat = step.spec["threat"]
        details = ", ".join(f"{key} {value}" for key, value in spec.items() if key not in ("name", "title", "source"))
        self.say(f"Attack: {spec['title']} ({details}), {threat['norm']} eps {threat['eps']}, seed {step.spec['seed']}; the gradient goes through the whole exported model.", 1)  # fmt: skip

    def _training(self, step: Step, depth: int = 1) -> None:
        values = read_record(step.record).values
        spec, circumstances = values["step"]["spec"], values["circumstances"]
        path = step.outputs["checkpoint"]
        recipe = spec["recipe"]
        self.say(f"Model: {path} ({_verified(path, values['outputs']['checkpoint']['sha256'])}).", depth)
        parameters = ", ".join(f"{key}={value}" for key, value in spec["method"]["parameters"].items())
        kept = (
            f", epoch {circumstances['selected_epoch']} kept as best on validation"
            if "selected_epoch" in circumstances
            else ""
        )
        self.say(
            f"Trained by {spec['method']['implementation']} ({parameters or 'no parameters'}) on "
            f"{spec['dataset']['name']}, {recipe['epochs']} epochs of batch {recipe['batch_size']}, {recipe['optimizer']} "
            f"at {recipe['lr']}, seed {spec['seed']}{kept}; record {step.record}.",
            depth,
        )
        environment = values["environment"]
        image = environment["image"]["name"] if environment["image"] else "no container image"
        clean = {True: "clean", False: "NOT CLEAN", None: "unknown"}[environment["git"]["clean"]]
        self.say(
            f"Code: {len(values['source']['files'])} source files (together {_short(values['source']['sha256'])}), commit "
            f"{str(environment['git']['commit'])[:12]}, tree {clean}; Python {environment['python']}, torch "
            f"{environment['packages'].get('torch')}, {image}, {circumstances.get('device')} on "
            f"{circumstances['processor'] or circumstances['machine']}, {circumstances['ended']}.",
            depth,
        )
        if "initial" in step.inputs:
            producer = self.plan.producer(step.inputs["initial"])
            assert producer is not None
            self.say("Started from:", depth)
            self._training(producer, depth + 1)
        else:
            self._data(step, depth)

    def _data(self, step: Step, depth: int) -> None:
        path = step.inputs["data"]
        producer = self.plan.producer(path)
        assert producer is not None
        values = read_record(producer.record).values
        source = values["step"]["spec"]["source"]
        self.say(f"Data: {path} ({_verified(path, values['outputs']['data']['sha256'])}), decoded from {source['package_file']} (SHA-256 {_short(source['sha256'])}, checked before use), {source['title']}.", depth)  # fmt: skip

    def _claims(self, step: Step, cell: dict[str, Any]) -> None:
        paper = step.id.split("/")[0]
        path = self.plan.step("verdicts", paper).outputs["json"]
        claims = {claim["id"]: claim for claim in self.plan.step("verdicts", paper).spec["claims"]}
        for verdict in read_json(path)["verdicts"]:
            claim = claims.get(verdict["id"], {})
            involved = {claim.get("left"), claim.get("right"), claim.get("method")}
            if claim.get("metric") == cell["attack"] and cell["method"] in involved:
                self.say("")
                self.say(
                    f"Claim: {verdict['statement']} ({verdict['source']}; {verdict['confidence']}). Verdict: {verdict['verdict']}."
                )


def explain(plan: Plan, cell: str) -> str:
    """Return the chain behind one cell, named PAPER/TABLE:ROW/COLUMN (ROW may be DATASET.METHOD)."""
    return _Explainer(plan).explain(cell)
