"""From configuration to steps: what there is to run, from what, into which files. Never imports torch.

A `Step` is one job of the DAG. Snakemake asks the plan for a step's inputs while it parses, the command line asks
it for the step to run, and the audit asks it for the records that must exist: one list, three readers.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

from pipeline.config import Config, merged
from pipeline.errors import ConfigError, RobustftError, lookup, nearest
from pipeline.steps import Evaluation, Run, Step

RESULTS = "results"


class Plan:
    """Every step of one scale."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.scale = config.scale_name
        self.steps: dict[str, Step] = {}
        self.runs: list[Run] = []
        self.evaluations: list[Evaluation] = []
        for source in config.sources:
            self._add(self._data_step(source))
        for name in config.scale["pretraining"]:
            self._add(self._pretraining_step(name))
        for paper in config.papers:
            self._paper(paper)
        self._seal()

    # -- looking steps up ------------------------------------------------------------------------------------------

    def step(self, kind: str, id: str) -> Step:
        """Return one step; an unknown name is an error that offers the nearest one."""
        ids = [step.id for step in self.steps.values() if step.kind == kind]
        if id not in ids:
            raise RobustftError(f"the plan of scale '{self.scale}' has no {kind} '{id}'", next_step=nearest(id, ids))
        return self.steps[f"{kind}:{id}"]

    def of_kind(self, kind: str) -> list[Step]:
        """Return the steps of one kind, in plan order."""
        return [step for step in self.steps.values() if step.kind == kind]

    def producer(self, path: str) -> Step | None:
        """Return the step that writes `path`, if one does."""
        return self._producers.get(path)

    @cached_property
    def _producers(self) -> dict[str, Step]:
        return {path: step for step in self.steps.values() for path in step.outputs.values()}

    def paper_evaluations(self, paper: str, experiment: str | None = None) -> Iterator[Evaluation]:
        """Yield the evaluations of one paper (of one of its experiments)."""
        for evaluation in self.evaluations:
            if evaluation.run.paper == paper and experiment in (None, evaluation.run.experiment):
                yield evaluation

    # -- building --------------------------------------------------------------------------------------------------

    def _add(self, step: Step) -> Step:
        if step.key in self.steps:
            raise ConfigError(f"two steps are named {step.key}", where=self.config.folder)
        self.steps[step.key] = step
        return step

    def _make(self, kind: str, id: str, *, inputs: dict[str, str], **parts: Any) -> Step:
        producers = {path: step for step in self.steps.values() for path in step.outputs.values()}
        upstream = {role: producers[path].record for role, path in inputs.items()}
        return Step(kind=kind, id=id, inputs=inputs, upstream=upstream, **parts)

    def _data_step(self, source: str) -> Step:
        views = {name: view for name, view in self.config.datasets.items() if view["source"] == source}
        spec = {"source": {"name": source, **self.config.sources[source]}, "datasets": views}
        return self._make(
            "data",
            source,
            spec=spec,
            inputs={},
            outputs={"data": f"{RESULTS}/data/{source}.safetensors"},
            implementations=(self.config.sources[source]["loader"],),
        )

    def _train_step(
        self, id: str, folder: str, values: dict[str, Any], *, method: dict[str, Any], initial: Step | None
    ) -> Step:
        """Make the step that trains one run; `values` holds the resolved parts of its specification."""
        config = self.config
        where = config.folder / "scales" / f"{self.scale}.yaml"
        dataset = lookup(config.datasets, values["dataset"], kind="data set", where=where)
        backbone = lookup(config.backbones, values["backbone"], kind="backbone", where=where)
        monitor = values["monitor"]
        monitor_attack = lookup(config.attacks, monitor["attack"], kind="attack", where=where)
        built = {key: backbone[key] for key in ("implementation", "parameters", "normalisation")}
        source = config.sources[dataset["source"]]
        spec = {
            "scale": self.scale,
            "dataset": {"name": values["dataset"], "shape": source["shape"], **dataset},
            "backbone": {"name": values["backbone"], **built},
            "initial": initial.digest if initial else None,
            "method": {key: method[key] for key in ("name", "implementation", "parameters")},
            "threat": values["threat"],
            "training_attack": values["training_attack"],
            "recipe": values["recipe"],
            "monitor": {**monitor, "attack": {"name": monitor["attack"], **monitor_attack}},
            "diagnostics": values["diagnostics"],
            "seed": values["seed"],
            "device": config.scale["device"],
            "threads": config.scale["threads"],
            "processes": config.scale["processes"],
        }
        inputs = {"data": self.steps[f"data:{dataset['source']}"].outputs["data"]}
        if initial:
            inputs["initial"] = initial.outputs["checkpoint"]
        return self._make(
            "train",
            id,
            spec=spec,
            inputs=inputs,
            outputs={"checkpoint": f"{folder}/checkpoint.safetensors", "history": f"{folder}/history.csv"},
            implementations=(method["implementation"], backbone["implementation"]),
            settings={"save_every_steps": config.scale["save_every_steps"]},
        )

    def _method(self, paper: str | None, name: str, where: Path) -> dict[str, Any]:
        method = lookup(self.config.methods(paper), name, kind="method", where=where)
        return {"name": name, "parameters": {}, **method}

    def _pretraining_step(self, name: str) -> Step:
        values = dict(self.config.scale["pretraining"][name])
        method = self._method(None, values["method"], self.config.folder / "scales" / f"{self.scale}.yaml")
        id = f"pretraining/{name}"
        return self._train_step(id, f"{RESULTS}/{self.scale}/{id}", values, method=method, initial=None)

    def _paper(self, paper: str) -> None:
        document = self.config.papers[paper]
        override = self.config.scale["papers"].get(paper, {})
        for name, experiment in document.values["experiments"].items():
            for part in ("recipe", "training_attack", "monitor", "diagnostics"):
                experiment = {**experiment, part: merged(experiment[part], override.get(part, {}))}
            self._experiment(paper, name, experiment, override)
        self._report(paper)

    def _experiment(self, paper: str, name: str, experiment: dict[str, Any], override: dict[str, Any]) -> None:
        document = self.config.papers[paper]
        stand_ins = self.config.scale["stand_ins"]
        threat = merged(document.values["threat"], override.get("threat", {}))
        backbone = stand_ins["backbones"].get(experiment["backbone"], experiment["backbone"])
        initial = self._initial(experiment["pretraining"], document.path)
        chosen = override.get("methods", experiment["methods"])
        seeds = [seed for seed in experiment["seeds"] if seed in override.get("seeds", experiment["seeds"])]
        for dataset in self._datasets(experiment["datasets"]):
            for method in (method for method in experiment["methods"] if method in chosen):
                for seed in seeds:
                    values = {
                        "dataset": dataset,
                        "backbone": backbone,
                        "threat": threat,
                        "seed": seed,
                        **{key: experiment[key] for key in ("recipe", "training_attack", "monitor", "diagnostics")},
                    }
                    id = f"{paper}/{name}/{dataset}/{method}/seed{seed}"
                    folder = f"{RESULTS}/{self.scale}/{id}"
                    details = self._method(paper, method, document.path)
                    step = self._add(self._train_step(id, folder, values, method=details, initial=initial))
                    run = Run(paper, name, dataset, method, seed, step)
                    self.runs.append(run)
                    for evaluation in experiment["evaluations"]:
                        self._evaluation(run, evaluation, folder, override)

    def _datasets(self, names: list[str]) -> list[str]:
        """Return the data sets of this scale, each once, for a paper's list; those without one are left out."""
        stand_ins = self.config.scale["stand_ins"]["datasets"]
        found = [stand_ins.get(name, name) for name in names]
        return list(dict.fromkeys(name for name in found if name in self.config.datasets))

    def _initial(self, pretraining: str, where: Path) -> Step | None:
        if pretraining == "none":
            return None
        name = self.config.scale["stand_ins"]["pretraining"].get(pretraining, pretraining)
        lookup(self.config.scale["pretraining"], name, kind="pretraining", where=where)
        return self.steps[f"train:pretraining/{name}"]

    def _evaluation(self, run: Run, name: str, folder: str, override: dict[str, Any]) -> None:
        document = self.config.papers[run.paper]
        evaluation = lookup(document.values["evaluations"], name, kind="evaluation", where=document.path)
        evaluation = merged(evaluation, override.get("evaluations", {}).get(name, {}))
        attacks = [
            {"name": attack, **lookup(self.config.attacks, attack, kind="attack", where=document.path)}
            for attack in evaluation["attacks"]
        ]
        view = self.config.datasets[run.dataset]
        images = min(evaluation.get("images", view["splits"][evaluation["split"]]), view["splits"][evaluation["split"]])
        parts = evaluation["parts"]
        for part in range(parts):
            spec = {
                "run": run.step.digest,
                "dataset": run.dataset,
                "split": evaluation["split"],
                "images": [images * part // parts, images * (part + 1) // parts],
                "shard_images": evaluation["shard_images"],
                "threat": run.step.spec["threat"],
                "attacks": attacks,
                "seed": run.seed,
                "device": run.step.spec["device"],
                "threads": run.step.spec["threads"],
            }
            step = self._make(
                "attack",
                f"{run.step.id}/{name}.{part + 1}of{parts}",
                spec=spec,
                inputs={
                    "data": run.step.inputs["data"],
                    "checkpoint": run.step.outputs["checkpoint"],
                },
                outputs={"ledger": f"{folder}/{name}.{part + 1}of{parts}.ledger.parquet"},
                implementations=(run.step.spec["backbone"]["implementation"],),
            )
            self._add(step)
            self.evaluations.append(Evaluation(run, name, tuple(evaluation["attacks"]), step))

    def _report(self, paper: str) -> None:
        values = self.config.papers[paper].values
        folder = f"{RESULTS}/{self.scale}/{paper}"
        evaluations = list(self.paper_evaluations(paper))
        methods = {name: method["title"] for name, method in self.config.methods(paper).items()}
        head = {"scale": self.scale, "reproduces": self.config.scale["reproduces"], "paper": paper}
        ledgers = {evaluation.step.id: evaluation.step.outputs["ledger"] for evaluation in evaluations}
        members = [
            {
                "ledger": evaluation.step.id,
                "experiment": evaluation.run.experiment,
                "dataset": evaluation.run.dataset,
                "method": evaluation.run.method,
                "seed": evaluation.run.seed,
                "evaluation": evaluation.name,
                "attacks": list(evaluation.attacks),
            }
            for evaluation in evaluations
        ]
        controls = {name: experiment.get("control") for name, experiment in values["experiments"].items()}
        numbers = self._add(
            self._make(
                "numbers",
                paper,
                spec={**head, "members": members, "controls": controls},
                inputs=ledgers,
                outputs={"numbers": f"{folder}/numbers.json", "metrics": f"{folder}/metrics.json"},
            )
        )
        common = {**head, "methods": methods, "attacks": {k: v["title"] for k, v in self.config.attacks.items()}}
        self._verdicts(paper, head, numbers, members, ledgers)
        for name, table in values["tables"].items():
            rows = list(dict.fromkeys(e.run.method for e in self.paper_evaluations(paper, table["experiment"])))
            self._add(
                self._make(
                    "table",
                    f"{paper}/{name}",
                    spec={
                        **common,
                        "table": {"name": name, **table},
                        "rows": rows,
                        "control": controls[table["experiment"]],
                        "deviations": values["deviations"],
                    },
                    inputs={"numbers": numbers.outputs["numbers"]},
                    outputs={kind: f"{folder}/tables/{name}.{kind}" for kind in ("md", "csv", "tex", "html")},
                )
            )
        for name, figure in values["figures"].items():
            self._figure(paper, name, figure, common, folder)

    def _verdicts(
        self, paper: str, head: dict[str, Any], numbers: Step, members: list[dict[str, Any]], ledgers: dict[str, str]
    ) -> None:
        claims = self.config.papers[paper].values["claims"]
        stand_ins = self.config.scale["stand_ins"]["datasets"]
        resolved = [
            {**claim, "dataset": stand_ins.get(claim["dataset"], claim["dataset"])} if "dataset" in claim else claim
            for claim in claims
        ]
        folder = f"{RESULTS}/{self.scale}/{paper}"
        self._add(
            self._make(
                "verdicts",
                paper,
                spec={**head, "claims": resolved, "members": members},
                inputs={"numbers": numbers.outputs["numbers"], **ledgers},
                outputs={kind: f"{folder}/verdicts.{kind}" for kind in ("json", "md", "html")},
            )
        )

    def _figure(self, paper: str, name: str, figure: dict[str, Any], common: dict[str, Any], folder: str) -> None:
        runs = [
            run
            for run in self.runs
            if run.paper == paper and run.experiment == figure["experiment"] and run.method in figure["methods"]
        ]
        colors = {name: method["color"] for name, method in self.config.methods(paper).items()}
        members = [
            {"history": run.step.id, "dataset": run.dataset, "method": run.method, "seed": run.seed} for run in runs
        ]
        self._add(
            self._make(
                "figure",
                f"{paper}/{name}",
                spec={**common, "figure": {"name": name, **figure}, "members": members, "colors": colors},
                inputs={run.step.id: run.step.outputs["history"] for run in runs},
                outputs={
                    "svg": f"{folder}/figures/{name}.svg",
                    "pdf": f"{folder}/figures/{name}.pdf",
                    "caption": f"{folder}/figures/{name}.caption.md",
                },
                implementations=(figure["kind"],),
            )
        )

    def _seal(self) -> None:
        ends = self.of_kind("verdicts") + self.of_kind("table") + self.of_kind("figure")
        self._add(
            self._make(
                "seal",
                self.scale,
                spec={"scale": self.scale, "records": [step.record for step in self.steps.values()]},
                inputs={step.key: next(iter(step.outputs.values())) for step in ends},
                outputs={"seal": f"{RESULTS}/{self.scale}/seal.json"},
            )
        )
