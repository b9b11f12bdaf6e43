"""The content of the audit page: each table's cells, what stands behind them, and the claims that they take part in.

Normalised, so that what many numbers share is written once: a cell names its measurements, a measurement its ledgers,
a step the steps that it read, its environment and its source files, all by place in the lists of the page.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from robustft.export.audit_gate import Standing
from robustft.export.facts import attack_texts, facts_of, published_text, tone
from robustft.files import digest_of, read_json
from robustft.plan import Plan
from robustft.plan.step import Step
from robustft.provenance.lineage import Lineage
from robustft.report import tables

SCHEMA = "robustft-page-1"


class Pool:
    """A list of different values, each with a place by which it is named."""

    def __init__(self) -> None:
        self.values: list[Any] = []
        self._places: dict[str, int] = {}

    def place(self, key: str, make: Callable[[], Any]) -> int:
        """Return the place of a key's value, which is made when the key is new."""
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
        about, numbers = self.plan.config.papers[step.id].values, read_json(step.outputs["numbers"])
        judged = read_json(self.plan.step("verdicts", step.id).outputs["json"])
        shown = [one for one in self.plan.of_kind("table") if one.id.split("/")[0] == step.id]
        # One that is missing, in an unaudited page, is among the audit's findings.
        drawn = [one for one in self.plan.of_kind("figure") if one.id.split("/")[0] == step.id and _is_there(one)]
        return {
            "id": step.id,
            **{key: about[key] for key in ("title", "authors", "venue", "arxiv", "code") if key in about},
            "numbers": self._step(step),
            "deviations": about["deviations"],
            "claims": [self._claim(step.id, verdict) for verdict in self._verdicts(step.id, judged)],
            "figures": [self._figure(one) for one in drawn],
            "tables": [self._table(one, numbers, judged) for one in shown],
        }

    def _verdicts(self, paper: str, judged: dict[str, Any]) -> list[dict[str, Any]]:
        claims = {claim["id"]: claim for claim in self.plan.step("verdicts", paper).spec["claims"]}
        return [{**claims[verdict["id"]], **verdict} for verdict in judged["verdicts"]]

    def _figure(self, step: Step) -> dict[str, Any]:
        caption = Path(step.outputs["caption"]).read_text(encoding="utf-8").strip()
        return {"id": step.id, "caption": caption, "svg": step.outputs["svg"], "step": self._step(step)}

    def _table(self, step: Step, numbers: dict[str, Any], judged: dict[str, Any]) -> dict[str, Any]:
        grid = tables.build_grid(step.spec, numbers)
        first = len(grid.header) - len(grid.column_names)
        rows = []
        for name, texts in zip(grid.row_names, grid.rows, strict=True):
            dataset, _, method = name.rpartition(".")
            cells = [
                self._cell(step, numbers, judged, text, method=method, column=column, dataset=dataset or None)
                for column, text in zip(grid.column_names, texts[first:], strict=True)
            ]
            rows.append({"name": name, "heads": texts[:first], "cells": cells})
        return {
            "id": step.id,
            "title": grid.title,
            "header": grid.header,
            "columns": grid.column_names,
            "rows": rows,
            "notes": [note for note in grid.notes if not note.startswith("Deviation ")],
            "step": self._step(step),
        }

    # -- cells and what they are made of -----------------------------------------------------------------------------

    def _cell(
        self,
        step: Step,
        numbers: dict[str, Any],
        judged: dict[str, Any],
        text: str,
        *,
        method: str,
        column: str,
        dataset: str | None,
    ) -> dict[str, Any]:
        paper = step.id.split("/")[0]
        found = self.lineage.cells(step, numbers, method=method, column=column, dataset=dataset)
        return {"text": text, "parts": [self._part(paper, numbers, judged, cell) for cell in found]}

    def _part(
        self, paper: str, numbers: dict[str, Any], judged: dict[str, Any], cell: dict[str, Any]
    ) -> dict[str, Any]:
        part = {
            key: cell[key] for key in ("dataset", "attack", "unit", "mean", "sd", "seeds", "images", "failed_checks")
        }
        claims = self.lineage.claims(paper, cell, judged)
        part["claims"] = [self._claim(paper, claim) for claim in claims]
        if cell["unit"] == "share":
            measured = self.lineage.measurements(numbers, cell)
            part["measurements"] = [self._measurement(paper, one) for one in measured]
        else:
            runs = [run for run in self.lineage.runs(paper, cell) if run.seed in cell["seeds"]]
            told = {
                one["seed"]: one["value"]
                for one in numbers["trainings"]
                if (one["experiment"], one["dataset"], one["method"], one["metric"])
                == (cell["experiment"], cell["dataset"], cell["method"], cell["attack"])
            }
            part["trainings"] = [
                {"seed": run.seed, "value": told[run.seed], "models": [self._step(one) for one in run.steps]}
                for run in runs
            ]
        return part

    def _measurement(self, paper: str, one: dict[str, Any]) -> int:
        return self.measurements.place(f"{paper}:{one['id']}", lambda: self._measured(paper, one))

    def _measured(self, paper: str, one: dict[str, Any]) -> dict[str, Any]:
        evaluations = self.lineage.evaluations(paper, one)
        run = evaluations[0].run
        told = attack_texts(evaluations[0].step)[one["attack"]]
        return {
            **{key: one[key] for key in ("seed", "correct", "images", "accuracy", "interval")},
            "checks": len(one["checks"]),
            "failed": [check for check in one["checks"] if not check["ok"]],
            "attack": told,
            "ledgers": [self._step(evaluation.step) for evaluation in evaluations],
            "derived": run.derivation["implementation"] if run.derivation else None,
        }

    def _claim(self, paper: str, claim: dict[str, Any]) -> int:
        return self.claims.place(f"{paper}:{claim['id']}", lambda: self._claimed(claim))

    def _claimed(self, claim: dict[str, Any]) -> dict[str, Any]:
        kept = ("id", "statement", "kind", "source", "confidence", "verdict", "margin")
        interval = ("estimate", "low", "high", "unit", "seeds", "at_half_margin", "at_double_margin")
        return {
            **{key: claim[key] for key in (*kept, *interval) if key in claim},
            "published": published_text(claim),
            "tone": tone(claim["verdict"], reproduces=self.standing.reproduces),
        }

    # -- steps ---------------------------------------------------------------------------------------------------------

    def _step(self, step: Step) -> int:
        return self.steps.place(step.key, lambda: self._stepped(step))

    def _stepped(self, step: Step) -> dict[str, Any]:
        record = self.lineage.record(step)
        values, source = record.values, record.values["source"]
        # Of a report's step only the numbers are named: what they were counted from stands under each cell.
        inputs_of = {} if step.kind in ("numbers", "verdicts") else self.lineage.inputs_of(step)
        if step.kind in ("table", "figure"):
            inputs_of = {role: one for role, one in inputs_of.items() if one.kind == "numbers"}
        files = [self.lineage.file(step, role) for role in step.outputs]
        return {
            "kind": step.kind,
            "id": step.id,
            "facts": facts_of(step, self.lineage),
            "files": [[file.path, file.bytes, file.recorded, file.verified] for file in files],
            "record": [step.record, record.sha256],
            "spec": values["step"]["spec_sha256"],
            "behind": {role: self._step(one) for role, one in inputs_of.items()},
            "environment": self.environments.place(digest_of(values["environment"]), lambda: values["environment"]),
            "source": self.sources.place(source["sha256"], lambda: self._source(source)),
        }

    def _source(self, source: dict[str, Any]) -> dict[str, Any]:
        def place(name: str, sha256: str) -> int:
            return self.files.place(f"{name} {sha256}", lambda: [name, sha256])

        return {"sha256": source["sha256"], "files": [place(*entry) for entry in source["files"].items()]}


def _is_there(step: Step) -> bool:
    return all(Path(path).is_file() for path in (*step.outputs.values(), step.record))
