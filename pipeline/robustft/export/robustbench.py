"""`robustft export robustbench`: one JSON for each evaluated model, in the shape of RobustBench's leaderboard entries.

The shape is that of `model_info/<data set>/<threat>/<model>.json` in github RobustBench/robustbench (read at commit
ae5814d): strings `link`, `name`, `authors`, `venue`, `dataset`, `architecture` and `eps` (a fraction); accuracies in
percent with two decimals, as strings: `clean_acc`, `autoattack_acc` (standard AutoAttack), `reported` (by the paper)
and `external`, if others measured less; `additional_data` (whether it was trained on more than the data set);
`number_forward_passes`; `footnote`; `unreliable`.

A value that was not measured is null. So is `autoattack_acc` of an AutoAttack with fewer queries or on fewer than 1,000
images: it stands under `robustft`, named for what it is. Values beyond the shape are under `robustft`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from robustft.export.audit_gate import Standing, audited
from robustft.export.folder import whole_folder
from robustft.export.models import Measured, Model, Threat, models, trained_on
from robustft.files import write_json
from robustft.plan import Plan
from robustft.provenance.lineage import Lineage
from robustft.report.claims import MISSING, expanded

INDEX = "index.json"
FOLDERS = {"linf": "Linf", "l2": "L2", "l1": "L1"}
"""RobustBench's names of norms."""

SEVERAL = "robustft.models.ensemble:mean_of_softmax"
"""The derivation whose model runs each of its members; the other derivations give one network."""


def export_robustbench(
    plan: Plan, target: Path, *, unaudited: bool = False, log: Callable[[str], None] = print
) -> Path:
    """Write an entry for each model, data set and threat model with a clean accuracy, and an index, into a folder."""
    standing, lineage = audited(plan, unaudited=unaudited, log=log), Lineage(plan)
    index = []
    with whole_folder(target, mark=INDEX) as folder:
        for model in models(plan, lineage):
            for (dataset, threat), measured in _grouped(model).items():
                path = Path(dataset) / FOLDERS.get(threat[0], threat[0]) / f"{model.run.id.replace('/', '-')}.json"
                write_json(folder / path, _Entry(lineage, standing, model, dataset, threat, measured).values())
                index.append(path.as_posix())
        about = {"scale": plan.scale, "meaning": standing.meaning, "audit": standing.verdict, "root": standing.root}
        write_json(folder / INDEX, {**about, "entries": index})
    log(f"{target}: {len(index)} entries")
    return target


def _grouped(model: Model) -> dict[tuple[str, Threat], list[Measured]]:
    """Return a model's measurements on test images by data set and threat model.

    A threat model without an attack has no entry. A clean accuracy belongs to every threat model of its data set.
    """
    grouped: dict[tuple[str, Threat], list[Measured]] = {}
    tested = [one for one in model.measured if one.values["split"] == "test"]
    for one in tested:
        if one.attack["algorithm"] != "none":
            grouped.setdefault((one.values["dataset"], one.threat), []).append(one)
    for one in tested:
        if one.attack["algorithm"] == "none":
            for (dataset, _), group in grouped.items():
                if dataset == one.values["dataset"]:
                    group.append(one)
    return grouped


def _percent(one: Measured | None) -> str | None:
    return f"{100 * one.values['accuracy']:.2f}" if one else None


class _Entry:
    """One model under one threat model on one data set."""

    def __init__(
        self, lineage: Lineage, standing: Standing, model: Model, dataset: str, threat: Threat, measured: list[Measured]
    ) -> None:
        self.lineage, self.standing, self.model = lineage, standing, model
        self.dataset, self.threat, self.measured = dataset, threat, measured
        self.paper = lineage.plan.config.papers[model.run.paper].values
        self.failed_checks = sorted({name for one in measured for name in one.failed})

    def values(self) -> dict[str, Any]:
        """Return the entry."""
        run, plan = self.model.run, self.lineage.plan
        clean = self._one(lambda one: one.attack["algorithm"] == "none")
        autoattack = self._one(lambda one: one.standard_autoattack)
        backbone = plan.config.backbones[run.step.spec["backbone"]["name"]]["title"]
        data = trained_on(self.lineage.closure(run.steps))
        several = run.derivation is not None and run.derivation["implementation"] == SEVERAL
        return {
            "link": f"https://arxiv.org/abs/{self.paper['arxiv']}" if "arxiv" in self.paper else None,
            "name": f"{self.model.title} (re-run for: {self.paper['title']})",
            "authors": ", ".join(self.paper["authors"]),
            "additional_data": bool(data - {self.dataset}),
            "number_forward_passes": len(run.steps) if several else 1,
            "dataset": self.dataset,
            "venue": self.paper.get("venue"),
            "architecture": backbone,
            "eps": self.threat[1],
            "clean_acc": _percent(clean),
            "reported": self._reported(autoattack),
            "autoattack_acc": _percent(autoattack),
            "footnote": self._footnote(autoattack, data),
            "unreliable": bool(self.failed_checks) or not self.standing.report.ok,
            "robustft": self._ours(),
        }

    def _one(self, matches: Callable[[Measured], bool]) -> Measured | None:
        """Return the matching measurement on the most images."""
        return max(filter(matches, self.measured), key=lambda one: one.values["images"], default=None)

    def _reported(self, autoattack: Measured | None) -> str | None:
        """Return the published accuracy under AutoAttack; None if it is not on record or the setting differs."""
        document, run = self.lineage.plan.config.claims[self.model.run.paper], self.model.run
        if not self.standing.reproduces or document is None or autoattack is None:
            return None
        for claim in expanded(document):
            same = (claim["method"], claim["metric"], claim.get("dataset"), claim["experiment"])
            if same == (run.method, autoattack.values["attack"], self.dataset, run.experiment):
                return None if claim["value"] == MISSING else f"{claim['value']:.2f}"
        return None

    def _footnote(self, autoattack: Measured | None, data: set[str]) -> str:
        run = self.model.run
        notes = [f"Seed {run.seed} of method {run.method} in experiment {run.experiment}.", self.standing.meaning]
        others = sorted(data - {self.dataset})
        if others:
            notes.append(f"Also trained on: {', '.join(others)}.")
        if self.dataset != run.dataset:
            notes.append(f"Fine-tuned on {run.dataset}, measured on {self.dataset}.")
        if autoattack is None:
            reduced = self._one(lambda one: bool(one.reductions))
            notes.append(
                f"{reduced.title}: {_percent(reduced)} %; this is no accuracy under AutoAttack."
                if reduced
                else "AutoAttack was not run under this threat model."
            )
        if self.failed_checks:
            notes.append(f"Sanity checks failed: {', '.join(self.failed_checks)}.")
        if not self.standing.report.ok:
            notes.append(f"{self.standing.verdict}.")
        return " ".join(notes)

    def _ours(self) -> dict[str, Any]:
        run = self.model.run
        return {
            "scale": self.lineage.plan.scale,
            "reproduces": self.standing.reproduces,
            "audit": self.standing.verdict,
            "root": self.standing.root,
            "run": run.id,
            "seed": run.seed,
            "norm": self.threat[0],
            "checkpoints": [
                {"path": file.path, "sha256": file.observed}
                for file in (self.lineage.file(step, "checkpoint") for step in run.steps)
            ],
            "derivation": run.derivation,
            "measurements": [self._measurement(one) for one in self.measured],
        }

    def _measurement(self, one: Measured) -> dict[str, Any]:
        keys = ("attack", "images", "correct", "accuracy", "interval", "ledgers")
        return {**{key: one.values[key] for key in keys}, "title": one.title, "failed_checks": one.failed}
