"""Steps that report: a paper's numbers, verdicts, tables and figures, and the manifest of its records."""

from __future__ import annotations

import functools
from typing import Any

from robustft.plan.deviations import Touched
from robustft.plan.graph import RESULTS, Graph
from robustft.plan.judging import judged
from robustft.plan.layers import Parts
from robustft.plan.resolve import Resolver
from robustft.plan.shown import Shown, monitored, refuse_overlaps, shown
from robustft.plan.step import Evaluation, Run, Step
from robustft.report.claims import beside
from robustft.report.training_metrics import TRAINING_METRICS


class Report:
    """Plans the report of one paper into a graph, from the runs and evaluations that are planned for it."""

    def __init__(
        self, graph: Graph, resolver: Resolver, paper: str, runs: list[Run], evaluations: list[Evaluation]
    ) -> None:
        self.graph, self.config, self.paper = graph, resolver.config, paper
        self.runs, self.evaluations = runs, evaluations
        self.values, self.where = self.config.papers[paper].values, self.config.papers[paper].path
        refuse_overlaps(evaluations, where=self.where)
        self.stand_ins = resolver.entries.stand_ins(paper, "datasets")
        self.folder = f"{RESULTS}/{self.config.scale_name}/{paper}"
        reproduces = self.config.reproduces(paper)
        self.head = {"scale": self.config.scale_name, "reproduces": reproduces, "paper": paper}
        self.ledgers = {evaluation.step.id: evaluation.step.outputs["ledger"] for evaluation in evaluations}
        # Only the attacks of this paper, so that a new attack elsewhere does not change this report.
        names = {attack for evaluation in evaluations for attack in evaluation.attacks}
        self.attacks = {name: attack for name, attack in self.config.attacks.items() if name in names}

    def add(self) -> None:
        """Add every step of the report."""
        numbers = self._numbers()
        self._verdicts(numbers)
        for name, table in self.values["tables"].items():
            self._table(name, table, numbers)
        self._deviations()
        experiments = {run.experiment for run in self.runs}
        for name, figure in self.values["figures"].items():
            if figure["experiment"] in experiments:
                self._figure(name, figure, numbers)
        self._manifest()

    # -- numbers and verdicts --------------------------------------------------------------------------------------

    @functools.cached_property
    def controls(self) -> dict[str, str | None]:
        """The control of each experiment, if it has one."""
        return {name: experiment.get("control") for name, experiment in self.values["experiments"].items()}

    @functools.cached_property
    def trained(self) -> list[Run]:
        """The runs with a history: those that train, and those derived from them."""
        return [run for run in self.runs if run.trained or not run.pretrained]

    @functools.cached_property
    def members(self) -> list[dict[str, Any]]:
        """The measurement in each ledger."""
        return [
            {
                "ledger": evaluation.step.id,
                "experiment": evaluation.run.experiment,
                "trained_on": evaluation.run.dataset,
                "transfer_eval": evaluation.transfer_eval,
                "dataset": evaluation.dataset,
                "method": evaluation.run.method,
                "seed": evaluation.run.seed,
                "evaluation": evaluation.name,
                "split": evaluation.step.spec["split"],
                "threat": evaluation.step.spec["threat"],
                "attacks": list(evaluation.attacks),
            }
            for evaluation in self.evaluations
        ]

    def _numbers(self) -> Step:
        trainings = [
            {
                "histories": [step.id for step in run.steps],
                "trained": run.trained,
                "experiment": run.experiment,
                "dataset": run.dataset,
                "method": run.method,
                "seed": run.seed,
            }
            for run in self.trained
        ]
        histories = {step.id: step.outputs["history"] for run in self.trained for step in run.steps}
        checks = {name: attack["checks"] for name, attack in self.attacks.items() if "checks" in attack}
        return self.graph.add(
            "numbers",
            self.paper,
            Parts(**self.head, members=self.members, trainings=trainings, controls=self.controls, checks=checks),
            inputs={**self.ledgers, **histories},
            outputs={name: f"{self.folder}/{name}.json" for name in ("numbers", "metrics")},
        )

    def _verdicts(self, numbers: Step) -> None:
        parts, histories = judged(
            self.graph,
            self.config,
            self.paper,
            stand_ins=self.stand_ins,
            runs=self.runs,
            evaluations=self.evaluations,
            members=self.members,
        )
        self.graph.add(
            "verdicts",
            self.paper,
            Parts(**self.head, **parts, **({"subset": True} if "subset" in self.config.scale else {})),
            inputs={"numbers": numbers.outputs["numbers"], **self.ledgers, **histories},
            outputs={kind: f"{self.folder}/verdicts.{kind}" for kind in ("json", "md", "html")},
        )

    # -- tables and figures ----------------------------------------------------------------------------------------

    @functools.cached_property
    def common(self) -> dict[str, Any]:
        """The shared specification of tables and figures: titles, and the attacks' budgets at this scale."""
        datasets = self.config.datasets
        metrics = {name: metric.title for name, metric in TRAINING_METRICS.items()}
        return {
            **self.head,
            "methods": {name: method["title"] for name, method in self.config.methods(self.paper).items()},
            "attacks": {name: attack["title"] for name, attack in self.attacks.items()} | metrics,
            "budgets": {k: v for k, v in self.config.scale.get("attacks", {}).items() if k in self.attacks},
            "datasets": {one.dataset: datasets[one.dataset]["title"] for one in self.evaluations},
        }

    @functools.cached_property
    def by_experiment(self) -> dict[str, list[Evaluation]]:
        """The evaluations of each experiment."""
        found: dict[str, list[Evaluation]] = {}
        for evaluation in self.evaluations:
            found.setdefault(evaluation.run.experiment, []).append(evaluation)
        return found

    def _shown(self, display: dict[str, Any], what: str) -> tuple[dict[str, Any], Shown]:
        """Return a table or figure with the columns that this scale measures, and what each attack among them shows."""
        found = shown(display, self.by_experiment.get(display["experiment"], []), where=self.where, what=what)
        trained = any(run.experiment == display["experiment"] for run in self.trained)
        measured = {*found, *(TRAINING_METRICS if trained else ())}
        if "columns" in display:
            display = {**display, "columns": [column for column in display["columns"] if column in measured]}
        return display, found

    @functools.cached_property
    def touched(self) -> Touched:
        """The deviations that touch a table."""
        return Touched(self.graph, self.config, self.paper, self.runs)

    def _deviations(self) -> None:
        """Add the page of all deviations, if the paper has any."""
        tables = [step for step in self.graph.of_kind("table") if step.spec["paper"] == self.paper]
        touching = {step.spec["table"]["name"]: {one["key"] for one in step.spec["deviations"]} for step in tables}
        deviations = [
            {
                "key": one["key"],
                "text": one["text"],
                "tables": [name for name in touching if one["key"] in touching[name]],
            }
            for one in self.values["deviations"]
        ]
        if deviations:
            self.graph.add(
                "deviations",
                self.paper,
                Parts(**self.head, title=self.values["title"], deviations=deviations),
                inputs={},
                outputs={kind: f"{self.folder}/deviations.{kind}" for kind in ("md", "html")},
            )

    def _table(self, name: str, table: dict[str, Any], numbers: Step) -> None:
        """Add a table, unless it would be empty at this scale."""
        experiment = table["experiment"]
        table, found = self._shown(table, f"the table '{name}'")
        if not (found or table.get("columns")):
            return
        measured = self.by_experiment.get(experiment, [])
        methods = list(dict.fromkeys(one.run.method for one in measured))
        rows = [method for method in rows_of(table, methods) if method in methods]
        names = {one["evaluation"] for one in found.values()}
        shown_by = [one for one in measured if one.run.method in rows and one.name in names]
        datasets = {name for one in shown_by for name in (one.dataset, one.run.dataset)}
        columns = [*found, *table.get("columns", [])]
        touching = self.touched.by(experiment, rows, columns, datasets)
        self.graph.add(
            "table",
            f"{self.paper}/{name}",
            Parts(
                **self.common,
                table={"name": name, **table, **_groups(table)},
                shown=found,
                rows=rows,
                control=self.controls[experiment],
                deviations=[{"key": one["key"], "text": one["text"]} for one in touching],
                deviations_elsewhere=len(self.values["deviations"]) - len(touching),
            ),
            inputs={"numbers": numbers.outputs["numbers"]},
            outputs={kind: f"{self.folder}/tables/{name}.{kind}" for kind in ("md", "csv", "tex", "html")},
        )

    def _figure(self, name: str, figure: dict[str, Any], numbers: Step) -> None:
        """Add a figure, unless this scale does not run any of its methods, or not measure all that it shows."""

        def in_figure(run: Run) -> bool:
            return run.experiment == figure["experiment"] and run.method in figure["methods"]

        def about(run: Run, dataset: str) -> dict[str, Any]:
            return {"dataset": dataset, "method": run.method, "seed": run.seed}

        wanted = figure.get("columns", [])
        figure, found = self._shown(figure, f"the figure '{name}'")
        if figure.get("columns", []) != wanted or not any(in_figure(run) for run in self.runs):
            return
        others: dict[str, Any] = {}
        if "metric" in figure:
            elsewhere = {"experiment": figure["experiment"], "across": "datasets", "metric": figure["metric"]}
            others["elsewhere"] = self._shown(elsewhere, f"the figure '{name}'")[1]
        tables = self.config.claims[self.paper]
        if "published" in figure and tables is not None and self.head["reproduces"]:
            others["published"] = beside(tables, figure["published"])
        runs = [run for run in self.runs if in_figure(run) and run.trained]
        names = {one["evaluation"] for one in found.values()} if figure.get("ledgers", False) else set()
        evaluations = [one for one in self.evaluations if in_figure(one.run) and one.name in names]
        self.graph.add(
            "figure",
            f"{self.paper}/{name}",
            Parts(
                **self.common,
                figure={"name": name, **figure},
                shown=found,
                monitored=None if "columns" in figure or not runs else monitored(runs),
                **others,
                members=[{"history": run.id, **about(run, run.dataset)} for run in runs],
                ledgers=[
                    {"ledger": one.step.id, "evaluation": one.name, **about(one.run, one.dataset)}
                    for one in evaluations
                ],
                colors=colors_of(self.config.methods(self.paper)),
            ),
            inputs={
                "numbers": numbers.outputs["numbers"],
                **{run.id: run.step.outputs["history"] for run in runs},
                **{one.step.id: one.step.outputs["ledger"] for one in evaluations},
            },
            outputs={
                "svg": f"{self.folder}/figures/{name}.svg",
                "pdf": f"{self.folder}/figures/{name}.pdf",
                "caption": f"{self.folder}/figures/{name}.caption.md",
            },
            implementations=(figure["kind"],),
        )

    def _manifest(self) -> None:
        """Add the step that hashes the record of every step that the paper's results need into one root."""
        ends = [
            step
            for kind in ("numbers", "verdicts", "table", "deviations", "figure")
            for step in self.graph.of_kind(kind)
            if step.spec["paper"] == self.paper
        ]
        self.graph.add(
            "manifest",
            self.paper,
            Parts(
                scale=self.config.scale_name,
                paper=self.paper,
                records=[step.record for step in self.graph.needed(ends)],
            ),
            inputs={step.key: next(iter(step.outputs.values())) for step in ends},
            outputs={"manifest": f"{self.folder}/manifest.json"},
        )


def _groups(table: dict[str, Any]) -> dict[str, Any]:
    """Return the groups of a table as lists: the keys of a specification have no order."""
    if "groups" not in table:
        return {}
    return {"groups": [[label, [list(pair) for pair in methods.items()]] for label, methods in table["groups"].items()]}


PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#999999", "#8C510A")
"""The colours of methods without one, of Okabe and Ito (2008) but for black, grey in its place, and brown."""


def colors_of(methods: dict[str, Any]) -> dict[str, str]:
    """Return a colour for each method: its own, or else those of the palette in turn."""
    without = [name for name, method in methods.items() if "color" not in method]
    given = {name: PALETTE[number % len(PALETTE)] for number, name in enumerate(without)}
    return {name: method.get("color") or given[name] for name, method in methods.items()}


def rows_of(table: dict[str, Any], methods: list[str]) -> list[str]:
    """Return the methods of a table, each once."""
    grouped = [method for row in table.get("groups", {}).values() for method in row.values()]
    return list(dict.fromkeys(grouped)) or list(table.get("rows", methods))
