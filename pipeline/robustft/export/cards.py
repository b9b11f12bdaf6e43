"""`robustft export cards`: a model card for each checkpoint, in Markdown with the front matter of model hubs.

An ensemble or a merged network has no checkpoint: the cards of its members describe it. Texts about a step are those
of `provenance/facts.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from robustft import escape
from robustft.export.audit_gate import Standing, audited
from robustft.export.folder import whole_folder
from robustft.export.models import Measured, Model, models
from robustft.files import write_text
from robustft.plan import Plan
from robustft.plan.step import Step
from robustft.provenance.facts import (
    HASH,
    Fact,
    Facts,
    code_fact,
    environment_facts,
    facts_of,
    file_fact,
    measurement_facts,
    percent,
    raw_file_facts,
)
from robustft.provenance.lineage import Lineage
from robustft.provenance.verify import endorsements
from robustft.report.formats import markdown_lines

INDEX = "README.md"


def export_cards(plan: Plan, target: Path, *, unaudited: bool = False, log: Callable[[str], None] = print) -> Path:
    """Write `<checkpoint's step>/README.md` for each checkpoint of a scale, and an index, into a folder."""
    standing, lineage = audited(plan, unaudited=unaudited, log=log), Lineage(plan)
    lineage.hash_all(path for step in plan.steps.values() for path in step.outputs.values())
    steps, beside = [*plan.of_kind("weights"), *plan.of_kind("train")], endorsements(plan)
    by_step: dict[str, list[Model]] = {}
    for model in models(plan, lineage):
        for step in model.run.steps:
            by_step.setdefault(step.key, []).append(model)
    lines = [
        f"# Model cards of scale {plan.scale}",
        "",
        standing.meaning,
        f"{standing.verdict}; root `{standing.root}`.",
        "",
    ]
    with whole_folder(target, mark=INDEX) as folder:
        for step in steps:
            name = f"weights/{step.id}" if step.kind == "weights" else step.id
            card = _Card(lineage, standing, step, by_step.get(step.key, []), beside)
            write_text(folder / name / "README.md", card.text())
            lines.append(f"- [{name}]({name}/README.md)")
        write_text(folder / INDEX, "\n".join(lines) + "\n")
    log(f"{target}: {len(steps)} cards")
    return target


def _table(header: list[str], rows: list[list[str]]) -> list[str]:
    return [*markdown_lines(header, rows, "l" * len(header)), ""]


def _fact_table(facts: Facts | list[Fact]) -> list[str]:
    """Return facts as a table, with a column for the origins of values if there are any."""
    origins = any(fact.origin for fact in facts)
    rows = [[fact.label, HASH.sub(r"`\g<0>`", fact.text), *([fact.origin] if origins else [])] for fact in facts]
    return _table(["", "", *(["Values from"] if origins else [])], rows)


class _Card:
    """The card of one checkpoint, a section for each method."""

    def __init__(
        self, lineage: Lineage, standing: Standing, step: Step, used_by: list[Model], beside: Facts = ()
    ) -> None:
        self.lineage, self.standing, self.step, self.beside = lineage, standing, step, beside
        self.own = next((model for model in used_by if model.run.steps == (step,) and not model.run.derivation), None)
        self.derived = [model for model in used_by if model is not self.own]
        self.papers = [model.run.paper for model in used_by] or self._papers()
        self.file = lineage.file(step, "checkpoint")

    def _papers(self) -> list[str]:
        """Return the papers whose runs start from this checkpoint."""
        plan = self.lineage.plan
        return [run.paper for run in plan.runs if any(self.step in self.lineage.closure([one]) for one in run.steps)]

    def text(self) -> str:
        """Return the whole card."""
        lines = [*self._what(), *self._training(), *self._measured(), *self._derived()]
        lines += [*self._deviations(), *self._lineage(), *self._limits(), *self._licence(), *self._citation()]
        return "\n".join([self._front(), *map(escape.markdown, lines)]).rstrip() + "\n"

    @property
    def title(self) -> str:
        """The checkpoint in one line: method or weights, architecture, data and seed."""
        plan, spec = self.lineage.plan, self.step.spec
        backbone = plan.config.backbones[spec["backbone"]["name"]]["title"]
        if self.step.kind == "weights":
            return f"{plan.config.weights[self.step.id]['title']} ({backbone})"
        method = self.own.title if self.own else spec["method"]["name"]
        return f"{method}: {backbone} on {spec['dataset']['title']}, seed {spec['seed']}"

    def _front(self) -> str:
        values: dict[str, Any] = {
            "license": "other",
            "license_name": "see-section-licence",
            "library_name": "robustft",
            "pipeline_tag": "image-classification",
            "tags": ["adversarial-robustness", "robustft", *dict.fromkeys(self.papers)],
        }
        if self.step.kind == "train":
            values["datasets"] = [self.step.spec["dataset"]["name"]]
        if self.own:
            values["metrics"] = ["accuracy"]
            results = [self._result(one) for one in self.own.measured]
            values["model-index"] = [{"name": self.step.id, "results": results}]
        return f"---\n{yaml.safe_dump(values, sort_keys=False, allow_unicode=True, width=110)}---\n"

    def _result(self, one: Measured) -> dict[str, Any]:
        values = one.values
        name = f"Accuracy under {one.title}" if one.attack["algorithm"] != "none" else "Clean accuracy"
        metric = {"type": "accuracy", "name": name, "value": round(100 * values["accuracy"], 2), "verified": False}
        dataset = {
            "type": values["dataset"],
            "name": self.lineage.plan.config.datasets[values["dataset"]]["title"],
            "split": values["split"],
        }
        return {"task": {"type": "image-classification"}, "dataset": dataset, "metrics": [metric]}

    def _what(self) -> list[str]:
        lines = [f"# {self.title}", "", f"**{self.standing.meaning}**", ""]
        if self.step.id.startswith("pretraining/") or self.step.kind == "weights":
            lines += ["A starting point of other runs, not a result of a table by itself.", ""]
        for paper in dict.fromkeys(self.papers):
            about = self.lineage.plan.config.papers[paper].values
            lines.append(f"Part of the re-run of *{about['title']}* ({about['venue']}).")
        return [*lines, ""]

    def _training(self) -> list[str]:
        return ["## How it was made", "", *_fact_table(facts_of(self.step, self.lineage))]

    def _measured(self) -> list[str]:
        if self.own is None:
            return []
        rows = [self._row(one) for one in self.own.measured]
        labels = [fact.label for fact in measurement_facts(self.own.measured[0].values)]
        note = "Intervals are Wilson's, of the images drawn alone; seeds differ by more: see the tables of the run."
        table = _table(["Data set", "Split", "Attack", "Threat model", *labels], rows)
        return ["## What was measured", "", *table, note, ""]

    def _row(self, one: Measured) -> list[str]:
        threat = "none" if one.attack["algorithm"] == "none" else f"{one.threat[0]}, eps {one.threat[1]}"
        counted = [fact.text for fact in measurement_facts(one.values)]
        return [one.values["dataset"], one.values["split"], one.title, threat, *counted]

    def _derived(self) -> list[str]:
        if not self.derived:
            return []
        lines = [
            "## Models made from it",
            "",
            "These have no checkpoint of their own: they are made whenever they are evaluated.",
            "",
        ]
        for model in self.derived:
            how = model.run.derivation["implementation"] if model.run.derivation else "used as it is"
            accuracies = "; ".join(
                f"{one.title} on {one.values['split']} images of {one.values['dataset']} "
                f"{percent(one.values['accuracy'])} %" + (" (a check failed)" if one.failed else "")
                for one in model.measured
            )
            origin = f"{how}, {len(model.run.steps)} checkpoints"
            lines.append(f"- {model.title}, `{model.run.id}` ({origin}): {accuracies}.")
        return [*lines, ""]

    def _deviations(self) -> list[str]:
        lines = ["## Where this departs from the paper", ""]
        for paper in dict.fromkeys(self.papers):
            lines += [
                f"- {one['key']}: {one['text']}" for one in self.lineage.plan.config.papers[paper].values["deviations"]
            ]
        return [*lines, ""]

    def _lineage(self) -> list[str]:
        record = self.lineage.record(self.step)
        values = record.values
        facts = [
            file_fact("Checkpoint", self.file),
            Fact("Record", f"{self.step.record}, SHA-256 {record.sha256}"),
            Fact("Specification", f"SHA-256 {values['step']['spec_sha256']}"),
            code_fact(values),
            *environment_facts(values["environment"]),
            Fact("Packages", ", ".join(" ".join(one) for one in values["environment"]["packages"].items())),
        ]
        for role, entry in values["inputs"].items():
            facts.append(Fact(f"Read as {role}", f"{entry['path']}, SHA-256 {entry['sha256']}"))
        for step in self.lineage.closure([self.step]):
            if step.kind in ("data", "weights"):
                facts += [
                    Fact(f"{step.id}: {one.label.lower()}", one.text) for one in raw_file_facts(step, self.lineage)
                ]
        facts += [Fact("Audit", self.standing.verdict), Fact("Root of all records", self.standing.root)]
        facts += self.beside
        return ["## Where it comes from", "", *_fact_table(facts)]

    def _limits(self) -> list[str]:
        lines = ["## Limits", "", f"- {self.standing.meaning}"]
        if self.own is None:
            lines.append("- Its own accuracy was not measured by attacks.")
        else:
            failed_checks = sorted({name for one in self.own.measured for name in one.failed})
            lines.append("- Robustness is known only against the attacks, norms and radii in the table above.")
            if failed_checks:
                lines.append(
                    f"- Sanity checks failed ({', '.join(failed_checks)}): do not trust those measurements yet."
                )
        return [*lines, "- For research on robustness; not for decisions about people or things.", ""]

    def _licence(self) -> list[str]:
        config, lines = self.lineage.plan.config, ["## Licence", "", "- Code: Apache-2.0."]
        for step in self.lineage.closure([self.step]):
            if step.kind == "data":
                source = config.sources[step.id]
                lines.append(f"- Data {step.id}: {source.get('licence', 'not on record')}.")
            elif step.kind == "weights":
                lines.append(f"- Weights {step.id}: {config.weights[step.id].get('licence', 'not on record')}.")
        return [*lines, ""]

    def _citation(self) -> list[str]:
        lines = ["## Citation", ""]
        for paper in dict.fromkeys(self.papers):
            about = self.lineage.plan.config.papers[paper].values
            arxiv = f", arXiv:{about['arxiv']}" if "arxiv" in about else ""
            lines.append(f"- {', '.join(about['authors'])}. {about['title']}. {about.get('venue', '')}{arxiv}.")
        return [*lines, "- This re-run: see CITATION.cff.", ""]
