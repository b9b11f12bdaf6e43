"""From configuration to steps: what there is to run, from what, into which files. Never imports torch.

A `Step` is one job of the DAG. Snakemake asks the plan for a step's inputs while it parses, the command line asks
it for the step to run, and the audit asks it for the records that must exist: one list, three readers.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from robustft.config.load import Config, merged
from robustft.errors import ConfigError, RobustftError, lookup, nearest
from robustft.plan.step import Bundle, Evaluation, Run, Step, implementations
from robustft.report.claim_matching import judged_parts

RESULTS = "results"

TRAINING_METRICS = {"epochs_to_best": "Epochs to best", "trained_parameters": "Trained parameters"}
"""Titles of what a table can show of a run besides its accuracies (see robustft/report/numbers.py)."""

PRETRAINING = (
    *("dataset", "backbone", "method", "seed", "threat"),
    *("recipe", "training_attack", "monitor", "diagnostics"),
)
"""What must be known of a pre-training."""

BUILT = ("implementation", "parameters", "normalisation", "head")
"""What of a backbone's entry decides the model that is built."""


IDENTITY = ("name", "bytes", "md5", "sha256", "sha256_prefix")
"""What of a file's entry says which bytes it holds; where they come from changes nothing of them."""

CATALOGUED = ("download", "weights", "data")
"""Kinds of steps that follow from the lists of files, weights and data sets alone."""

PROSE = ("terms", "note", "source")
"""What an entry says to people only."""


def prompts(dataset: dict[str, Any]) -> list[str] | dict[str, str] | None:
    """Return a text for each class of a data set, in class order, or None if it has no texts.

    Where the class names come with the data it is the template alone, {template: ...}.
    """
    if "template" not in dataset:
        return None
    template = dataset["template"]
    return [template.format(name) for name in dataset["names"]] if "names" in dataset else {"template": template}


def checkpoint_roles(run: Run) -> list[str]:
    """Name the input roles of the checkpoints that make a run's model."""
    return ["checkpoint"] if len(run.steps) == 1 else [f"checkpoint{n}" for n in range(1, len(run.steps) + 1)]


@dataclass(frozen=True)
class InitialWeights:
    """What a training starts from: `spec` in its specification, and the checkpoints by role."""

    spec: dict[str, Any]
    inputs: dict[str, str]
    implementations: tuple[str, ...] = ()

    @classmethod
    def pretraining(cls, step: Step, parts: list[str] | None) -> InitialWeights:
        """Start from a pre-trained model, or from the named parts of it."""
        built = implementations([step.spec["backbone"], step.spec["method"]["tuning"]])
        spec = {"digests": [step.digest], "from": [], "parts": parts, "derivation": None}
        return cls(spec, {"initial": step.outputs["checkpoint"]}, built)

    @classmethod
    def runs(cls, names: list[str], steps: list[Step], derivation: dict[str, Any] | None) -> InitialWeights:
        """Start from what a derivation makes of other runs' models; `initial` is the pre-trained one."""
        roles = {name if name == "initial" else f"from_{name}": step for name, step in zip(names, steps, strict=True)}
        built = implementations([[step.spec["backbone"], step.spec["method"]["tuning"]] for step in steps])
        spec = {
            "digests": [step.digest for step in steps],
            "from": list(roles),
            "parts": None,
            "derivation": derivation,
        }
        return cls(spec, {role: step.outputs["checkpoint"] for role, step in roles.items()}, built)


class Plan:
    """Every step of one scale."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.scale = config.scale_name
        self.steps: dict[str, Step] = {}
        self.runs: list[Run] = []
        self.evaluations: list[Evaluation] = []
        self._producers: dict[str, Step] = {}
        self._owners: dict[str, str] = {}
        checks = [entry.get("checks", {}) for entry in config.attacks.values()] if config.papers else []
        for name in [
            n for c in checks for n in (*c.get("not_weaker_than", []), *[c[k] for k in ("gap_to",) if k in c])
        ]:
            lookup(config.attacks, name, kind="attack", where=config.folder / "attacks.yaml")
        if config.scale.get("nodes", 1) > 1 and config.scale["bundle"]:
            raise ConfigError(
                "a bundle runs its steps in one process, on one node",
                where=f"config/scales/{self.scale}.yaml",
                expected="`bundle: 0` where `nodes` is more than 1",
                observed=f"bundle: {config.scale['bundle']}, nodes: {config.scale['nodes']}",
            )
        for paper in config.papers:
            self._paper(paper)
        self._seal()

    # -- looking steps up ------------------------------------------------------------------------------------------

    def step(self, kind: str, id: str) -> Step:
        """Return one step; an unknown name is an error that offers the nearest one."""
        found = self.steps.get(f"{kind}:{id}")
        if found is None:
            ids = [step.id for step in self.of_kind(kind)]
            raise RobustftError(f"the plan of scale '{self.scale}' has no {kind} '{id}'", next_step=nearest(id, ids))
        return found

    def catalogued(self, kind: str, id: str) -> Step:
        """Return a step of `CATALOGUED` kind, which is the same whatever papers need it; it may be planned by none."""
        make = {"download": self._download, "weights": self._weights, "data": self._source}
        return make[kind](id)

    def of_kind(self, kind: str) -> list[Step]:
        """Return the steps of one kind, in plan order."""
        return [step for step in self.steps.values() if step.kind == kind]

    def producer(self, path: str) -> Step | None:
        """Return the step that writes `path`, if one does."""
        return self._producers.get(path)

    def paper_evaluations(self, paper: str, experiment: str | None = None) -> Iterator[Evaluation]:
        """Yield the evaluations of one paper (of one of its experiments)."""
        for evaluation in self.evaluations:
            if evaluation.run.paper == paper and experiment in (None, evaluation.run.experiment):
                yield evaluation

    def bundle(self, name: str) -> Bundle:
        """Return one bundle; an unknown name is an error that offers the nearest one."""
        return lookup({bundle.name: bundle for bundle in self.bundles()}, name, kind="bundle", where=self.config.folder)

    def bundles(self) -> list[Bundle]:
        """Return the training and attack steps of the runs as jobs of up to `bundle` methods, over all seeds.

        A bundle holds neighbours of one experiment and data set, in plan order, so what it reads is there before it.
        """
        attacks: dict[str, list[Step]] = {}
        for evaluation in self.evaluations:
            attacks.setdefault(evaluation.run.id, []).append(evaluation.step)
        grouped: dict[tuple[str, str, str], dict[str, list[Step]]] = {}
        for run in self.runs:
            methods = grouped.setdefault((run.paper, run.experiment, run.dataset), {})
            own = [*([run.step] if run.trained else []), *attacks.get(run.id, [])]
            if own:
                methods.setdefault(run.method, []).extend(own)
        bundles, most = [], self.config.scale["bundle"] or 1
        for key, methods in grouped.items():
            names = list(methods)
            for first in range(0, len(names), most):
                steps = [step for name in names[first : first + most] for step in methods[name]]
                bundles.append(Bundle("_".join((*key, names[first])), key[0], tuple(steps)))
        return bundles

    @cached_property
    def bundled(self) -> dict[str, bool]:
        """Tell of each step in a bundle whether it is the first one there."""
        return {step.key: number == 0 for bundle in self.bundles() for number, step in enumerate(bundle.steps)}

    # -- building --------------------------------------------------------------------------------------------------

    def _add(self, step: Step) -> Step:
        if step.key in self.steps:
            raise ConfigError(f"two steps are named {step.key}", where=self.config.folder)
        self.steps[step.key] = step
        self._producers |= dict.fromkeys(step.outputs.values(), step)
        return step

    def _make(self, kind: str, id: str, *, inputs: dict[str, str], **parts: Any) -> Step:
        upstream = {role: self._producers[path].record for role, path in inputs.items()}
        return Step(kind=kind, id=id, inputs=inputs, upstream=upstream, **parts)

    def _data(self, dataset: str) -> Step:
        """Return the step that decodes a data set's source, planning it when it is first needed."""
        where = self.config.folder / "datasets.yaml"
        return self._source(lookup(self.config.datasets, dataset, kind="data set", where=where)["source"])

    def _source(self, source: str) -> Step:
        if f"data:{source}" in self.steps:
            return self.steps[f"data:{source}"]
        views = {name: view for name, view in self.config.datasets.items() if view["source"] == source}
        details = lookup(self.config.sources, source, kind="source", where=self.config.folder / "datasets.yaml")
        told = {key: value for key, value in details.items() if key not in PROSE}
        spec = {"source": {"name": source, **told}, "datasets": views}
        clean = details.get("corrupted_from")
        inputs = {"clean": self._data(clean["dataset"]).outputs["data"]} if clean else {}
        inputs |= {role: self._download(file).outputs["file"] for role, file in details.get("files", {}).items()}
        return self._add(
            self._make(
                "data",
                source,
                spec=spec,
                inputs=inputs,
                outputs={"data": f"{RESULTS}/data/{source}.safetensors"},
                implementations=(self.config.sources[source]["loader"],),
                settings={"threads": self.config.scale["resources"]["data"].get("threads", 1)},
            )
        )

    def _download(self, name: str) -> Step:
        """Return the step that fetches a file, planning it when it is first needed."""
        file = lookup(self.config.files, name, kind="file", where=self.config.folder)
        if f"download:{name}" in self.steps:
            return self.steps[f"download:{name}"]
        return self._add(
            self._make(
                "download",
                name,
                spec={"file": {"key": name, **{key: file[key] for key in IDENTITY if key in file}}},
                inputs={},
                outputs={"file": f"{RESULTS}/downloads/{name}.download"},
                settings={"urls": file.get("urls", []), "manual": file.get("manual")},
            )
        )

    def _weights(self, name: str) -> Step:
        """Return the step that makes a checkpoint of published weights, planning it when it is first needed."""
        if f"weights:{name}" in self.steps:
            return self.steps[f"weights:{name}"]
        where = self.config.folder / "weights.yaml"
        published = lookup(self.config.weights, name, kind="weights", where=where)
        entry = {key: value for key, value in published.items() if key not in (*PROSE, "title")}
        backbone = lookup(self.config.backbones, entry["backbone"], kind="backbone", where=where)
        spec = {
            "backbone": {"name": entry.pop("backbone"), **{key: backbone[key] for key in BUILT if key in backbone}},
            "shape": entry.pop("shape"),
            "classes": entry.pop("classes"),
            "method": {"tuning": None},
            "weights": {"name": name, **entry},
        }
        return self._add(
            self._make(
                "weights",
                name,
                spec=spec,
                inputs={"file": self._download(entry["file"]).outputs["file"]} if "file" in entry else {},
                outputs={"checkpoint": f"{RESULTS}/weights/{name}.safetensors"},
                implementations=(entry["reader"], *implementations(spec)),
            )
        )

    def _dataset(self, name: str, where: Path) -> dict[str, Any]:
        """Return what a training step must know of a data set."""
        dataset = lookup(self.config.datasets, name, kind="data set", where=where)
        source = self.config.sources[dataset["source"]]
        return {"name": name, "shape": source["shape"], **dataset, "prompts": prompts(dataset)}

    def _train_step(
        self, id: str, values: dict[str, Any], *, method: dict[str, Any], initial: InitialWeights | None
    ) -> Step:
        """Make the step that trains one run; `values` holds the resolved parts of its specification."""
        config = self.config
        where = config.folder / "scales" / f"{self.scale}.yaml"
        backbone = lookup(config.backbones, values["backbone"], kind="backbone", where=where)
        monitor = values["monitor"]
        # Only the methods that train on it wait for it: ImageNet is no small matter.
        auxiliary = values.get("auxiliary") if method.get("uses_auxiliary", False) else None
        if method.get("uses_auxiliary", False) and auxiliary is None:
            raise ConfigError(
                f"the method '{method['name']}' needs an auxiliary data set, and {id} has none at this scale",
                where=where,
                next_step="name a stand-in for it, or leave the method out",
            )
        data = {"data": self._data(values["dataset"])}
        if auxiliary:
            data["auxiliary"] = self._data(auxiliary)
        spec = {
            "scale": self.scale,
            "dataset": self._dataset(values["dataset"], where),
            "auxiliary": self._dataset(auxiliary, where) if auxiliary else None,
            "backbone": {"name": values["backbone"], **{key: backbone[key] for key in BUILT if key in backbone}},
            "split": method.get("trains_on", "train"),
            "initial": initial.spec if initial else None,
            "method": {key: method.get(key) for key in ("name", "implementation", "parameters", "tuning")},
            "threat": values["threat"],
            "training_attack": values["training_attack"],
            "recipe": merged(values["recipe"], method.get("recipe", {})),
            "monitor": {**monitor, "attack": self._attack(monitor["attack"], where)},
            "diagnostics": values["diagnostics"],
            "seed": values["seed"],
            "device": config.scale["device"],
            "threads": config.scale["threads"],
            "optimizations": config.optimizations,
            "fused_optimizer": config.scale.get("fused_optimizer", True),
            "processes": config.scale["processes"],
        }
        folder = f"{RESULTS}/{self.scale}/{id}"
        return self._add(
            self._make(
                "train",
                id,
                spec=spec,
                inputs={role: step.outputs["data"] for role, step in data.items()}
                | (initial.inputs if initial else {}),
                outputs={"checkpoint": f"{folder}/checkpoint.safetensors", "history": f"{folder}/history.csv"},
                implementations=(*implementations(spec), *(initial.implementations if initial else ())),
                settings={
                    "save_every_steps": config.scale["save_every_steps"],
                    "nodes": config.scale.get("nodes", 1),
                },
            )
        )

    def _attack(self, name: str, where: Path) -> dict[str, Any]:
        """Return an attack's specification, with what the scale says of it."""
        attack = lookup(self.config.attacks, name, kind="attack", where=where)
        # What is checked of an attack afterwards changes nothing of the attack itself.
        attack = {key: value for key, value in attack.items() if key != "checks"}
        return {"name": name, **merged(attack, self.config.scale.get("attacks", {}).get(name, {}))}

    def _method(
        self, paper: str | None, name: str, where: Path, *, experiment: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """Return a method's entry, with what the experiment and then the scale say of it."""
        method = {"parameters": {}, **lookup(self.config.methods(paper), name, kind="method", where=where)}
        for owner in (experiment or {}, self.config.scale["papers"].get(paper, {})):
            method = merged(method, owner.get("overrides", {}).get(name, {}))
        return {"name": name, **method}

    def _pretraining(self, name: str, paper: str) -> Step:
        """Return the step that makes a pre-trained model, planning it when it is first needed.

        It is published weights, or trained. A paper's own pre-trainings stand in its file, with what the scale says of
        them laid over it.
        """
        config, scale = self.config, self.config.scale
        name = self._stand_ins(paper, "pretraining").get(name, name)
        own = config.papers[paper].values.get("pretraining", {})
        known = {**config.weights, **own, **scale["pretraining"]}
        lookup(known, name, kind="pretraining", where=config.papers[paper].path)
        if name in config.weights:
            if name in own or name in scale["pretraining"]:
                raise ConfigError(
                    f"'{name}' is both published weights and a pre-training",
                    where=config.folder / "weights.yaml",
                    next_step="rename one",
                )
            return self._weights(name)
        id = f"pretraining/{name}"
        owner = self._owners.setdefault(name, paper if name in own else "")
        if name in own and owner != paper:
            raise ConfigError(
                f"the pretraining '{name}' is defined twice", where=config.papers[paper].path, next_step="rename one"
            )
        if f"train:{id}" in self.steps:
            return self.steps[f"train:{id}"]
        values = merged(own.get(name, {}), scale["pretraining"].get(name, {}))
        where = config.folder / "scales" / f"{self.scale}.yaml"
        for key in PRETRAINING:
            if key not in values:
                raise ConfigError(
                    f"pretraining.{name}: the key '{key}' is missing", where=where, next_step=f"add '{key}'"
                )
        for key in ("dataset", "backbone"):
            values[key] = self._stand_ins(paper, f"{key}s").get(values[key], values[key])
        method = self._method(paper if name in own else None, values["method"], where)
        initial = None
        if "pretraining" in values:  # it goes on from another one
            initial = InitialWeights.pretraining(self._pretraining(values["pretraining"], paper), None)
        return self._train_step(id, values, method=method, initial=initial)

    def _paper(self, paper: str) -> None:
        document = self.config.papers[paper]
        override = self.config.scale["papers"].get(paper, {})
        self._check_names(paper, override)
        for name, experiment in document.values["experiments"].items():
            if name in override.get("left_out", []):
                continue
            own = override.get("experiments", {}).get(name, {})
            for part in ("recipe", "training_attack", "monitor", "diagnostics"):
                experiment = {
                    **experiment,
                    part: merged(merged(experiment[part], override.get(part, {})), own.get(part, {})),
                }
            self._experiment(paper, name, experiment, override)
        self._report(paper)

    def _check_names(self, paper: str, override: dict[str, Any]) -> None:
        """Raise ConfigError for a name that nothing defines, where it would else do nothing."""
        document = self.config.papers[paper]
        values, methods = document.values, self.config.methods(paper)
        scale = self.config.folder / "scales" / f"{self.scale}.yaml"
        run = {method: None for experiment in values["experiments"].values() for method in experiment["methods"]}
        pretrained = [entry["method"] for entry in values.get("pretraining", {}).values()]
        shown = [
            name
            for part in ("tables", "figures")
            for entry in values[part].values()
            for name in entry.get("rows", entry.get("methods", []))
        ]
        experiments = values["experiments"].values()
        known_data = {**self.config.datasets, **self._stand_ins(paper, "datasets")}
        known_backbones = {**self.config.backbones, **self._stand_ins(paper, "backbones")}
        known_starts = {
            "none": None,
            **dict.fromkeys((*self.config.weights, *values.get("pretraining", {}))),
            **self.config.scale["pretraining"],
            **self._stand_ins(paper, "pretraining"),
        }
        judged = [claim[key] for claim in values["claims"] for key in ("left", "right", "method") if key in claim]
        for kind, names, known, where in (
            ("method", run, methods, document.path),
            ("data set", [name for e in experiments for name in e["datasets"]], known_data, document.path),
            ("backbone", [e["backbone"] for e in experiments], known_backbones, document.path),
            ("pretraining", [e["pretraining"] for e in experiments], known_starts, document.path),
            ("experiment", override.get("experiments", {}), values["experiments"], scale),
            ("experiment", override.get("left_out", []), values["experiments"], scale),
            ("evaluation", override.get("evaluations", {}), values["evaluations"], scale),
            ("method", [m for e in values["experiments"].values() for m in e.get("overrides", {})], run, document.path),
            ("method", override.get("overrides", {}), {**methods, **dict.fromkeys(pretrained)}, scale),
            ("method", override.get("methods", []), run, scale),
            ("method", [m for e in values["evaluations"].values() for m in e.get("methods", [])], run, document.path),
            ("method", shown, run, document.path),
            ("method", judged, run, document.path),
            ("attack", self.config.scale.get("attacks", {}), self.config.attacks, scale),
        ):
            for name in names:
                lookup(known, name, kind=kind, where=where)

    def _experiment(self, paper: str, name: str, experiment: dict[str, Any], override: dict[str, Any]) -> None:
        document, own = self.config.papers[paper], override.get("experiments", {}).get(name, {})
        auxiliary = experiment.get("auxiliary")
        values = {
            "threat": merged(document.values["threat"], override.get("threat", {})),
            "backbone": self._stands_for(paper, "backbones", experiment["backbone"]),
            "auxiliary": self._stands_for(paper, "datasets", auxiliary) if auxiliary else None,
            **{key: experiment[key] for key in ("recipe", "training_attack", "monitor", "diagnostics")},
        }
        if values["backbone"] is None or not self._starts(paper, experiment["pretraining"]):
            return
        chosen = own.get("methods", override.get("methods", experiment["methods"]))
        wanted = own.get("seeds", override.get("seeds", experiment["seeds"]))
        seeds = [seed for seed in experiment["seeds"] if seed in wanted]
        for dataset in self._datasets(paper, experiment["datasets"]):
            for method in (method for method in experiment["methods"] if method in chosen):
                for seed in seeds:
                    self._run(paper, name, experiment, {**values, "dataset": dataset, "seed": seed}, method)

    def _run(self, paper: str, name: str, experiment: dict[str, Any], values: dict[str, Any], method: str) -> None:
        """Plan one run: its training unless it is derived, and its evaluations."""
        document = self.config.papers[paper]
        details = self._method(paper, method, document.path, experiment=experiment)
        dataset, seed = values["dataset"], values["seed"]
        pretraining = details.get("pretraining", experiment["pretraining"])
        sources = [
            self._pretraining(pretraining, paper)
            if other == "initial"
            else self._earlier(Run(paper, name, dataset, other, seed, ()).id, method, document.path)
            for other in details.get("from", [])
        ]
        derivation = details.get("derivation")
        if "implementation" in details:
            initial = None
            if sources:
                initial = InitialWeights.runs(details["from"], sources, derivation)
            elif pretraining != "none":
                step = self._pretraining(pretraining, paper)
                initial = InitialWeights.pretraining(step, details.get("pretrained_parts"))
            id = Run(paper, name, dataset, method, seed, ()).id
            step = self._train_step(id, values, method=details, initial=initial)
            run = Run(paper, name, dataset, method, seed, (step,))
        else:
            run = Run(paper, name, dataset, method, seed, tuple(sources), trained=False, derivation=derivation)
        self.runs.append(run)
        for evaluation in experiment["evaluations"]:
            self._evaluations(run, evaluation, values["threat"])

    def _earlier(self, id: str, method: str, where: Path) -> Step:
        if f"train:{id}" not in self.steps:
            raise ConfigError(
                f"the method '{method}' starts from a run that is not planned before it",
                where=where,
                expected=id,
                next_step="list that method before it, and leave neither out at this scale",
            )
        return self.steps[f"train:{id}"]

    def _stand_ins(self, paper: str, kind: str) -> dict[str, str]:
        """Return what stands in for a paper's data sets, backbones or pre-trainings: its own map or the shared one."""
        shared = self.config.scale["stand_ins"]
        own = self.config.scale["papers"].get(paper, {}).get("stand_ins", {})
        found: dict[str, str] = own.get(kind, shared[kind])
        return found

    def _stands_for(self, paper: str, kind: str, name: str) -> str | None:
        """Return what this scale has in the place of a paper's data set or backbone; None if nothing.

        At the paper's own scale that is the thing itself.
        """
        return self._stand_ins(paper, kind).get(name, name if self.config.scale["reproduces"] else None)

    def _starts(self, paper: str, pretraining: str) -> bool:
        """Tell whether this scale has the pre-training that an experiment starts from."""
        own = self.config.papers[paper].values.get("pretraining", {})
        here = {"none": None, **own, **self.config.scale["pretraining"]}
        return pretraining in here or self._stands_for(paper, "pretraining", pretraining) is not None

    def _datasets(self, paper: str, names: list[str]) -> list[str]:
        """Return the data sets of this scale, each once, for a paper's list; those without one are left out."""
        found = [self._stands_for(paper, "datasets", name) for name in names]
        return list(dict.fromkeys(name for name in found if name is not None))

    def _evaluations(self, run: Run, name: str, threat: dict[str, Any]) -> None:
        """Plan one evaluation of a run: on its own data set, or on each of those that the evaluation lists."""
        document = self.config.papers[run.paper]
        evaluation = lookup(document.values["evaluations"], name, kind="evaluation", where=document.path)
        override = self.config.scale["papers"].get(run.paper, {}).get("evaluations", {}).get(name, {})
        evaluation = merged(evaluation, override)
        left_out = run.seed not in evaluation.get("seeds", [run.seed])
        if left_out or run.method not in evaluation.get("methods", [run.method]):
            return
        others = self._datasets(run.paper, evaluation["datasets"]) if "datasets" in evaluation else None
        for dataset in [run.dataset] if others is None else others:
            self._evaluation(run, name, evaluation, dataset, threat, elsewhere=others is not None)

    def _evaluation(
        self, run: Run, name: str, evaluation: dict[str, Any], dataset: str, threat: dict[str, Any], *, elsewhere: bool
    ) -> None:
        document = self.config.papers[run.paper]
        attacks = [self._attack(attack, document.path) for attack in evaluation["attacks"]]
        view, scale = lookup(self.config.datasets, dataset, kind="data set", where=document.path), self.config.scale
        inputs = {"data": self._data(dataset).outputs["data"]}
        inputs |= {
            role: step.outputs["checkpoint"] for role, step in zip(checkpoint_roles(run), run.steps, strict=True)
        }
        # A text head that no run was trained with on this data set is told the classes: elsewhere, or as pre-trained.
        reads = elsewhere or (run.pretrained and not run.trained and "template" in view)
        if reads:
            texts = run.step if "initial" not in run.step.inputs else self._producers[run.step.inputs["initial"]]
            inputs["texts"] = texts.outputs["checkpoint"]
        built = [{"backbone": step.spec["backbone"], "tuning": step.spec["method"]["tuning"]} for step in run.steps]
        images = min(evaluation.get("images", view["splits"][evaluation["split"]]), view["splits"][evaluation["split"]])
        parts, label = evaluation["parts"], f"{name}-{dataset}" if elsewhere else name
        for part in range(parts):
            spec = {
                "models": [step.digest for step in run.steps],
                "derivation": run.derivation,
                "dataset": dataset,
                "prompts": prompts(view) if reads else None,
                "split": evaluation["split"],
                "images": [images * part // parts, images * (part + 1) // parts],
                "shard_images": evaluation["shard_images"],
                "threat": threat,
                "attacks": attacks,
                "seed": run.seed,
                "device": scale["device"],
                "threads": scale["threads"],
                "optimizations": self.config.optimizations,
            }
            step = self._make(
                "attack",
                f"{run.id}/{label}.{part + 1}of{parts}",
                spec=spec,
                inputs=inputs,
                outputs={"ledger": f"{RESULTS}/{self.scale}/{run.id}/{label}.{part + 1}of{parts}.ledger.parquet"},
                implementations=(*implementations(built), *implementations(spec)),
            )
            self._add(step)
            self.evaluations.append(Evaluation(run, name, dataset, tuple(evaluation["attacks"]), step, elsewhere))

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
                "trained_on": evaluation.run.dataset,
                "elsewhere": evaluation.elsewhere,
                "dataset": evaluation.dataset,
                "method": evaluation.run.method,
                "seed": evaluation.run.seed,
                "evaluation": evaluation.name,
                "attacks": list(evaluation.attacks),
            }
            for evaluation in evaluations
        ]
        controls = {name: experiment.get("control") for name, experiment in values["experiments"].items()}
        runs = [run for run in self.runs if run.paper == paper]
        # Of the attacks that are run here only: a new one elsewhere changes nothing of this report.
        used = {attack for evaluation in evaluations for attack in evaluation.attacks}
        attacks = {name: attack for name, attack in self.config.attacks.items() if name in used}
        checks = {name: attack["checks"] for name, attack in attacks.items() if "checks" in attack}
        trained = [run for run in runs if run.trained or not run.pretrained]
        histories = {step.id: step.outputs["history"] for run in trained for step in run.steps}
        trainings = [
            {
                "histories": [step.id for step in run.steps],
                "trained": run.trained,
                "experiment": run.experiment,
                "dataset": run.dataset,
                "method": run.method,
                "seed": run.seed,
            }
            for run in trained
        ]
        numbers = self._add(
            self._make(
                "numbers",
                paper,
                spec={**head, "members": members, "trainings": trainings, "controls": controls, "checks": checks},
                inputs={**ledgers, **histories},
                outputs={"numbers": f"{folder}/numbers.json", "metrics": f"{folder}/metrics.json"},
            )
        )
        common = {
            **head,
            "methods": methods,
            "attacks": {**{name: attack["title"] for name, attack in attacks.items()}, **TRAINING_METRICS},
            "budgets": {k: v for k, v in self.config.scale.get("attacks", {}).items() if k in used},
            "datasets": {
                evaluation.dataset: self.config.datasets[evaluation.dataset]["title"] for evaluation in evaluations
            },
        }
        splits = [
            self.config.datasets[evaluation.dataset]["splits"][evaluation.step.spec["split"]]
            for evaluation in evaluations
        ]
        sized = [{**member, "split_images": size} for member, size in zip(members, splits, strict=True)]
        self._verdicts(paper, head, numbers, sized, ledgers)
        here = {run.experiment for run in runs}
        measured: dict[str, set[str]] = {run.experiment: set(TRAINING_METRICS) for run in trained}
        for evaluation in evaluations:
            measured.setdefault(evaluation.run.experiment, set()).update(evaluation.attacks)
        for name, table in values["tables"].items():
            known = measured.get(table["experiment"], set())
            if not known & {*table.get("columns", [table.get("metric")])}:
                continue  # this scale has nothing to show in it
            if "columns" in table:
                table = {**table, "columns": [column for column in table["columns"] if column in known]}
            run = list(dict.fromkeys(e.run.method for e in self.paper_evaluations(paper, table["experiment"])))
            rows = [method for method in table.get("rows", run) if method in run]
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
            if figure["experiment"] not in here:
                continue
            self._figure(paper, name, figure, common, numbers)

    def _verdicts(
        self, paper: str, head: dict[str, Any], numbers: Step, members: list[dict[str, Any]], ledgers: dict[str, str]
    ) -> None:
        config = self.config
        parts = judged_parts(
            config.papers[paper].values["claims"],
            config.claims[paper],
            stand_ins=self._stand_ins(paper, "datasets"),
            datasets=config.datasets,
            sources=config.sources,
        )
        folder = f"{RESULTS}/{self.scale}/{paper}"
        self._add(
            self._make(
                "verdicts",
                paper,
                spec={**head, **parts, "members": members},
                inputs={"numbers": numbers.outputs["numbers"], **ledgers},
                outputs={kind: f"{folder}/verdicts.{kind}" for kind in ("json", "md", "html")},
            )
        )

    def _figure(self, paper: str, name: str, figure: dict[str, Any], common: dict[str, Any], numbers: Step) -> None:
        folder = f"{RESULTS}/{self.scale}/{paper}"
        runs = [
            run
            for run in self.runs
            if run.paper == paper and run.experiment == figure["experiment"] and run.method in figure["methods"]
        ]
        colors = {name: method["color"] for name, method in self.config.methods(paper).items()}
        members = [
            {"history": run.id, "dataset": run.dataset, "method": run.method, "seed": run.seed}
            for run in runs
            if run.trained
        ]
        shown = [e for e in self.paper_evaluations(paper, figure["experiment"]) if e.run.method in figure["methods"]]
        ledgers = [
            {"ledger": e.step.id, "dataset": e.dataset, "method": e.run.method, "seed": e.run.seed}
            for e in shown
            if figure.get("ledgers", False)
        ]
        inputs = {"numbers": numbers.outputs["numbers"]}
        inputs |= {run.id: run.step.outputs["history"] for run in runs if run.trained}
        inputs |= {e.step.id: e.step.outputs["ledger"] for e in shown if figure.get("ledgers", False)}
        self._add(
            self._make(
                "figure",
                f"{paper}/{name}",
                spec={
                    **common,
                    "figure": {"name": name, **figure},
                    "members": members,
                    "ledgers": ledgers,
                    "colors": colors,
                },
                inputs=inputs,
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
