"""`robustft show PAPER/EXPERIMENT`: one experiment on one page, as it is at a scale. Never imports torch."""

from __future__ import annotations

import textwrap
from collections import Counter
from typing import Any

from robustft.plan import Origin, Plan, origins_of
from robustft.plan.step import Evaluation, Run, Step
from robustft.provenance.show import WIDTH, as_json, leaves, value_lines
from robustft.report.claim_matching import datasets_of, experiments_of
from robustft.report.claims import MISSING, expanded

SHARED = ("threat", "training_attack", "recipe", "monitor", "diagnostics")
"""What of a training's specification the page shows for all methods together."""

METRICS_SHOWN = 12
"""Metrics, or metrics on data sets, of one source whose published values are listed; `--json` has all of them."""


class ExperimentPage:
    """What a reader wants to know of an experiment, gathered from the steps that are planned for it."""

    def __init__(self, plan: Plan, paper: str, experiment: str) -> None:
        self.plan, self.paper, self.experiment = plan, paper, experiment
        self.values = plan.config.papers[paper].values["experiments"][experiment]
        self.runs = [run for run in plan.runs if (run.paper, run.experiment) == (paper, experiment)]
        self.evaluations: list[Evaluation] = list(plan.paper_evaluations(paper, experiment))

    @property
    def steps(self) -> list[Step]:
        """The trainings and attacks of the experiment, each once."""
        steps = [run.step for run in self.runs if run.trained] + [one.step for one in self.evaluations]
        return list({step.key: step for step in steps}.values())

    @property
    def command(self) -> str:
        """The command that makes the experiment's tables, or its ledgers if no table shows it."""
        tables = [
            step.outputs["md"]
            for step in self.plan.of_kind("table")
            if step.spec["paper"] == self.paper and step.spec["table"]["experiment"] == self.experiment
        ]
        targets = tables or list(dict.fromkeys(one.step.outputs["ledger"] for one in self.evaluations))
        return f"snakemake --cores all --config scale={self.plan.scale} papers={self.paper} -- {' '.join(targets[:3])}"

    def as_json(self, cost: str) -> dict[str, Any]:
        """Return all of the page."""
        return {
            "experiment": f"{self.paper}/{self.experiment}",
            "scale": self.plan.scale,
            "facts": dict(self._facts()),
            "shared": {path: {"value": value, **as_json(origin)} for path, value, origin in self._shared()},
            "methods": {name: self._method(name) for name in self._methods()},
            "evaluations": dict(self._evaluated()),
            "claims": self._claims(),
            "cost": cost,
            "command": self.command,
        }

    def text(self, cost: str) -> str:
        """Return the page, at most 120 columns wide."""
        title = self.plan.config.papers[self.paper].values["title"]
        lines = [f"{self.paper}/{self.experiment} at scale {self.plan.scale}", *_wrapped(title), ""]
        lines += _items([*self._facts(), ("cost", cost), ("run it", self.command)])
        groups: dict[str, list[tuple[str, Any, Origin | None]]] = {}
        for path, value, origin in self._shared():
            group, _, key = path.partition(".")
            groups.setdefault(group, []).append((key, value, origin))
        for group, rows in groups.items():
            lines += ["", f"{group}, of most methods" if group == "recipe" else group, *value_lines(rows)]
        lines += ["", "methods", *_items([(name, self._method(name)) for name in self._methods()])]
        lines += ["", "evaluations", *_items(list(self._evaluated()))]
        lines += ["", "claims on record", *self._claim_lines()]
        return "\n".join(lines)

    # -- parts -------------------------------------------------------------------------------------------------------

    def _methods(self) -> dict[str, list[Run]]:
        methods: dict[str, list[Run]] = {}
        for run in self.runs:
            methods.setdefault(run.method, []).append(run)
        return methods

    def _facts(self) -> list[tuple[str, str]]:
        config, entries = self.plan.config, self.plan.resolver.entries
        if not self.runs:
            return [("runs", f"none: scale {self.plan.scale} leaves this experiment out")]
        datasets = list(dict.fromkeys(run.dataset for run in self.runs))
        splits = [
            f"{name} ({config.datasets[name]['title']}): "
            + ", ".join(f"{size:,} {split}" for split, size in config.datasets[name]["splits"].items())
            for name in datasets
        ]
        facts = [("data", "; ".join(splits) + _instead(self.values["datasets"], datasets))]
        backbone = entries.stand_ins(self.paper, "backbones").get(self.values["backbone"], self.values["backbone"])
        title = config.backbones[backbone]["title"]
        facts.append(("backbone", f"{backbone} ({title}){_instead([self.values['backbone']], [backbone])}"))
        named = self.values["pretraining"]
        pretraining = entries.stand_ins(self.paper, "pretraining").get(named, named)
        facts.append(("pre-training", pretraining + _instead([named], [pretraining])))
        facts.append(("seeds", ", ".join(map(str, dict.fromkeys(run.seed for run in self.runs)))))
        if self.values.get("control"):
            facts.append(("control", f"{self.paper}/{self.values['control']}"))
        return facts

    def _trained(self) -> list[Step]:
        return [runs[0].step for runs in self._methods().values() if runs[0].trained]

    def _usual(self) -> dict[str, Any]:
        """Return the value that most methods have, for each leaf of the shared parts."""
        counts: dict[str, Counter[str]] = {}
        values: dict[tuple[str, str], Any] = {}
        for step in self._trained():
            for path, value in leaves({part: step.spec[part] for part in SHARED}):
                counts.setdefault(path, Counter())[repr(value)] += 1
                values[path, repr(value)] = value
        return {path: values[path, count.most_common(1)[0][0]] for path, count in counts.items()}

    def _shared(self) -> list[tuple[str, Any, Origin | None]]:
        usual, rows = self._usual(), {}
        specs = [(dict(leaves({part: step.spec[part] for part in SHARED})), step) for step in self._trained()]
        origins = {step.key: origins_of(self.plan, step) for _, step in specs}
        for path, value in usual.items():
            step = next(step for values, step in specs if values.get(path, ...) == value)
            rows[path] = (path, value, origins[step.key].get(path))
        return [row for path, row in rows.items() if not path.startswith("monitor.attack.") or path.endswith(".name")]

    def _method(self, name: str) -> str:
        """Say what a method is: title, implementation, parameters, and what of its recipe is its own."""
        run, title = self._methods()[name][0], self.plan.config.methods(self.paper)[name]["title"]
        if not run.trained:
            made = run.derivation["implementation"] if run.derivation else "as it is"
            return f"{title}; not trained, {made} from {', '.join(step.id for step in run.steps)}"
        spec, usual = run.step.spec, self._usual()
        method = spec["method"]
        parts = [f"{title}; {_short(method['implementation'])}({_named(method['parameters'])})"]
        if method["tuning"]:
            tuning = method["tuning"]
            parts.append(f"tuning {_short(tuning['implementation'])}({_named(tuning.get('parameters', {}))})")
        own = {key: value for key, value in spec["recipe"].items() if usual.get(f"recipe.{key}", ...) != value}
        return "; ".join([*parts, *([f"recipe {_named(own)}"] if own else [])])

    def _evaluated(self) -> list[tuple[str, str]]:
        texts: dict[str, str] = {}
        for name in dict.fromkeys(one.name for one in self.evaluations):
            members = [one for one in self.evaluations if one.name == name]
            spec = members[0].step.spec
            images = max(one.step.spec["images"][1] for one in members)
            datasets = ", ".join(dict.fromkeys(one.dataset for one in members))
            attacks = ", ".join(attack["title"] for attack in spec["attacks"])
            texts[name] = f"{attacks}; up to {images:,} {spec['split']} images of {datasets}"
        return list(texts.items())

    def _claims(self) -> list[dict[str, Any]]:
        """Return the claims about this experiment, with the names of the paper's own data: no stand-in's."""
        config, claims = self.plan.config, []
        claims += config.papers[self.paper].values["claims"]
        if (tables := config.claims[self.paper]) is not None:
            claims += expanded(tables)
        return [claim for claim in claims if self.experiment in experiments_of(claim)]

    def _claim_lines(self) -> list[str]:
        lines: list[str] = []
        values: dict[str, dict[str, list[str]]] = {}
        unread: Counter[str] = Counter()
        for claim in self._claims():
            if claim["kind"] != "value":
                lines += _wrapped(f"{claim['statement']} ({claim['confidence']})")
                continue
            where = f" on {', '.join(datasets_of(claim) or [])}" if datasets_of(claim) else ""
            if claim["value"] == MISSING:
                unread[claim["source"]] += 1
                continue
            by_metric = values.setdefault(f"Values of {claim['source']} ({claim['confidence']}):", {})
            by_metric.setdefault(f"{claim['metric']}{where}", []).append(f"{claim['method']} {claim['value']}")
        for source, by_metric in values.items():
            lines += _wrapped(source)
            for metric, cells in list(by_metric.items())[:METRICS_SHOWN]:
                lines += ["  " + line for line in _wrapped(f"{metric}: {', '.join(cells)}")]
            more = sum(len(cells) for cells in list(by_metric.values())[METRICS_SHOWN:])
            lines += [f"    ... and {more:,} more (--json has all)"] if more else []
        for source, count in unread.items():
            lines += _wrapped(f"{count:,} values without a number on record: {source}")
        return lines or ["  none"]


def _instead(named: list[str], here: list[str]) -> str:
    others = [name for name in named if name not in here]
    return f", in the place of {', '.join(others)}" if others else ""


def _short(implementation: str) -> str:
    module, _, name = implementation.partition(":")
    return f"{module.rsplit('.', 1)[-1]}.{name}" if name else implementation


def _named(values: dict[str, Any]) -> str:
    text = ", ".join(f"{key}={value}" for key, value in values.items())
    return text if len(text) <= 200 else f"{text[:190]}..."


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent="  ", subsequent_indent="    ")


def _items(items: list[tuple[str, str]]) -> list[str]:
    width = max((len(name) for name, _ in items), default=0) + 2
    return [
        line
        for name, text in items
        for line in textwrap.wrap(
            text,
            WIDTH,
            initial_indent=f"  {name.ljust(width)}",
            subsequent_indent=" " * (width + 4),
            break_long_words=False,
            break_on_hyphens=False,
        )
    ]
