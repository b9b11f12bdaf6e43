"""The content of the audit page: the cells of each table, their lineage, and the claims about them.

Shared content is written once. A cell refers to its measurements, a measurement to its ledgers, and a step to its
inputs, environment and source files, all by their place in the lists of the page. The texts are those of
`provenance/facts.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from robustft.export.audit_gate import Standing
from robustft.export.curves import training_curve
from robustft.files import digest_of, read_json
from robustft.plan import Plan
from robustft.plan.step import Step
from robustft.provenance.facts import (
    Fact,
    Facts,
    attack_facts,
    claim_facts,
    code_fact,
    environment_facts,
    facts_of,
    failed_checks,
    measurement_facts,
    published_text,
    tone,
)
from robustft.provenance.lineage import Lineage
from robustft.provenance.verify import endorsements
from robustft.report import tables
from robustft.report.verdict_tables import interval_text

SCHEMA = "robustft-page-2"


class Results(NamedTuple):
    """The results of one paper: its numbers.json and verdicts.json."""

    paper: str
    numbers: dict[str, Any]
    judged: dict[str, Any]


class Pool:
    """A list of distinct values, each identified by its place."""

    def __init__(self) -> None:
        self.values: list[Any] = []
        self._places: dict[str, int] = {}

    def place(self, key: str, make: Callable[[], Any]) -> int:
        """Return the place of the value of a key; a new key gets the value that `make` returns."""
        if key not in self._places:
            place = self._places[key] = len(self.values)
            self.values.append(None)
            self.values[place] = make()
        return self._places[key]


class PageData:
    """Gathers the page's content from a plan whose steps have run."""

    def __init__(self, plan: Plan, standing: Standing) -> None:
        self.plan, self.standing, self.lineage = plan, standing, Lineage(plan)
        self.steps, self.environments, self.files = Pool(), Pool(), Pool()
        self.sources, self.measurements, self.claims = Pool(), Pool(), Pool()

    def gather(self) -> dict[str, Any]:
        """Return the whole content as a JSON value."""
        self.lineage.hash_all(path for step in self.plan.steps.values() for path in step.outputs.values())
        papers = [self._paper(step) for step in self.plan.of_kind("numbers")]
        report = self.standing.report
        return {
            "schema": SCHEMA,
            "scale": self.plan.scale,
            "about": self.plan.config.scale["about"],
            "reproduces": self.standing.reproduces,
            "meaning": self.standing.meaning,
            "audit": {
                "ok": report.ok,
                "verdict": self.standing.verdict,
                "root": self.standing.root,
                "beside": _rows(endorsements(self.plan)),
                "checked": dict(report.counts),
                "notes": report.notes,
                "findings": [str(finding) for finding in report.findings],
            },
            "papers": papers,
            "measurements": self.measurements.values,
            "claims": self.claims.values,
            "steps": self.steps.values,
            "environments": self.environments.values,
            "sources": self.sources.values,
            "files": self.files.values,
        }

    # -- papers, tables, figures ---------------------------------------------------------------------------------------

    def _paper(self, step: Step) -> dict[str, Any]:
        about = self.plan.config.papers[step.id].values
        verdicts = self.plan.step("verdicts", step.id)
        results = Results(step.id, read_json(step.outputs["numbers"]), read_json(verdicts.outputs["json"]))
        claims = {claim["id"]: claim for claim in verdicts.spec["claims"]}
        own_tables = [one for one in self.plan.of_kind("table") if one.id.split("/")[0] == step.id]
        # On an unaudited page a figure may be missing; the audit's findings say so.
        figures = [one for one in self.plan.of_kind("figure") if one.id.split("/")[0] == step.id and _exists(one)]
        return {
            "id": step.id,
            **{key: about[key] for key in ("title", "authors", "venue", "arxiv", "code") if key in about},
            "numbers": self._step(step),
            "deviations": about["deviations"],
            "claims": [self._claim(step.id, {**claims[one["id"]], **one}) for one in results.judged["verdicts"]],
            "figures": [self._figure(one) for one in figures],
            "tables": [self._table(one, results) for one in own_tables],
        }

    def _figure(self, step: Step) -> dict[str, Any]:
        caption = Path(step.outputs["caption"]).read_text(encoding="utf-8").strip()
        return {"id": step.id, "caption": caption, "svg": step.outputs["svg"], "step": self._step(step)}

    def _table(self, step: Step, results: Results) -> dict[str, Any]:
        grid = tables.build_grid(step.spec, results.numbers)
        first = len(grid.header) - len(grid.column_names)
        rows = []
        for name, texts, places in zip(grid.row_names, grid.rows, grid.places, strict=True):
            row = []
            for (line, column), text in zip(places, texts[first:], strict=True):
                dataset, _, method = line.rpartition(".")
                cells = self.lineage.cells(step, results.numbers, method=method, column=column, dataset=dataset or None)
                row.append({"text": text, "parts": [self._part(results, cell) for cell in cells]})
            rows.append({"name": name, "heads": texts[:first], "cells": row})
        return {
            "id": step.id,
            "title": grid.title,
            "header": grid.header,
            "columns": grid.column_names,
            "rows": rows,
            "notes": [" ".join(grid.head), *(note for note in grid.notes if not note.startswith("Deviation "))],
            "step": self._step(step),
        }

    # -- cells and their lineage ---------------------------------------------------------------------------------------

    def _part(self, results: Results, cell: dict[str, Any]) -> dict[str, Any]:
        keys = ("evaluation", "split", "dataset", "attack", "unit", "mean", "sd", "seeds", "images", "failed_checks")
        claims = self.lineage.claims(results.paper, cell, results.judged)
        part = {
            **{key: cell[key] for key in keys},
            "claims": [self._claim(results.paper, claim) for claim in claims],
        }
        if cell["unit"] == "share":
            measurements = self.lineage.measurements(results.numbers, cell)
            return {**part, "measurements": [self._measurement(results.paper, one) for one in measurements]}
        return {**part, "trainings": self._trainings(results, cell)}

    def _trainings(self, results: Results, cell: dict[str, Any]) -> list[dict[str, Any]]:
        key = (cell["experiment"], cell["dataset"], cell["method"], cell["attack"])
        values = {
            one["seed"]: one["value"]
            for one in results.numbers["trainings"]
            if (one["experiment"], one["dataset"], one["method"], one["metric"]) == key
        }
        return [
            {"seed": run.seed, "value": values[run.seed], "models": [self._step(one) for one in run.steps]}
            for run in self.lineage.runs(results.paper, cell)
            if run.seed in values
        ]

    def _measurement(self, paper: str, one: dict[str, Any]) -> int:
        def make() -> dict[str, Any]:
            evaluations = self.lineage.evaluations(paper, one)
            run = evaluations[0].run
            return {
                **{key: one[key] for key in ("seed", "correct", "images", "accuracy", "interval")},
                "facts": _rows(measurement_facts(one)),
                "failed_checks": _rows(failed_checks(one)),
                "attack": _row(attack_facts(evaluations[0].step, self.lineage)[one["attack"]]),
                "ledgers": [self._step(evaluation.step) for evaluation in evaluations],
                "derived": run.derivation["implementation"] if run.derivation else None,
            }

        return self.measurements.place(f"{paper}:{one['id']}", make)

    def _claim(self, paper: str, claim: dict[str, Any]) -> int:
        keys = ("id", "statement", "verdict", "estimate", "low", "high", "unit")

        def make() -> dict[str, Any]:
            return {
                **{key: claim[key] for key in keys if key in claim},
                "published": published_text(claim),
                "interval": interval_text(claim),
                "facts": _rows(claim_facts(claim)),
                "tone": tone(claim["verdict"], reproduces=self.standing.reproduces),
            }

        return self.claims.place(f"{paper}:{claim['id']}", make)

    # -- steps ---------------------------------------------------------------------------------------------------------

    def _step(self, step: Step) -> int:
        return self.steps.place(step.key, lambda: self._step_values(step))

    def _step_values(self, step: Step) -> dict[str, Any]:
        record = self.lineage.record(step)
        values, source, environment = record.values, record.values["source"], record.values["environment"]
        # A step of the report shows only the numbers as its input: the lineage of the numbers is under each cell.
        inputs = {} if step.kind in ("numbers", "verdicts") else self.lineage.inputs_of(step)
        if step.kind in ("table", "figure"):
            inputs = {role: one for role, one in inputs.items() if one.kind == "numbers"}
        files = [self.lineage.file(step, role) for role in step.outputs]
        shown = _environment(environment)
        return {
            "kind": step.kind,
            "id": step.id,
            "facts": _rows((*facts_of(step, self.lineage), code_fact(values))),
            "files": [[file.path, file.bytes, file.recorded, file.verified] for file in files],
            "record": [step.record, record.sha256],
            "spec": values["step"]["spec_sha256"],
            "inputs": {role: self._step(one) for role, one in inputs.items()},
            "environment": self.environments.place(digest_of(shown), lambda: shown),
            "source": self.sources.place(source["sha256"], lambda: self._source(source)),
            **(
                {"curve": curve}
                if step.kind == "train" and (curve := training_curve(Path(step.outputs["history"])))
                else {}
            ),
        }

    def _source(self, source: dict[str, Any]) -> dict[str, Any]:
        def place(name: str, sha256: str) -> int:
            return self.files.place(f"{name} {sha256}", lambda: [name, sha256])

        return {"sha256": source["sha256"], "files": [place(*entry) for entry in source["files"].items()]}


def _row(fact: Fact) -> list[str]:
    """Return a fact as a list: label, text, and the origin of its values if that is on record."""
    return [fact.label, fact.text, *([fact.origin] if fact.origin else [])]


def _rows(facts: Facts) -> list[list[str]]:
    return [_row(fact) for fact in facts]


def _environment(environment: dict[str, Any]) -> dict[str, Any]:
    return {"facts": _rows(environment_facts(environment)), "packages": environment["packages"]}


def _exists(step: Step) -> bool:
    return all(Path(path).is_file() for path in (*step.outputs.values(), step.record))
