"""Checks, before the configuration is resolved, that every name in a paper and in the scale is defined.

Without them an undefined name would have no effect: an override that changes no run, a row that is in no table.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from robustft.config import Config
from robustft.errors import ConfigError, lookup
from robustft.plan.deviations import touches_of
from robustft.plan.entries import Entries
from robustft.report.claim_matching import operands
from robustft.report.training_metrics import TRAINING_METRICS

Names = tuple[str, Iterable[str], Mapping[str, Any], Path]
"""Kind, used names, defined names, and the file that uses them."""


def check_names(config: Config) -> None:
    """Raise ConfigError for an undefined name, with the nearest defined one, and for a contradictory scale."""
    if config.papers:
        _check_attacks(config)
    if config.scale.get("nodes", 1) > 1 and config.scale["bundle"]:
        raise ConfigError(
            "a bundle runs its steps in one process, on one node",
            where=f"config/scales/{config.scale_name}.yaml",
            expected="`bundle: 0` where `nodes` is more than 1",
            observed=f"bundle: {config.scale['bundle']}, nodes: {config.scale['nodes']}",
        )


def check_paper(config: Config, paper: str, entries: Entries) -> None:
    """Raise ConfigError for an undefined name in a paper or in the scale's entry for it."""
    names = [*_used_by_paper(config, paper, entries), *_used_by_scale(config, paper)]
    for kind, used, defined, where in names:
        for name in used:
            lookup(defined, name, kind=kind, where=where)


def _check_attacks(config: Config) -> None:
    where = config.file("attacks")
    for attack in config.attacks.values():
        checks = attack.get("checks", {})
        others = [*checks.get("not_weaker_than", []), *([checks["gap_to"]] if "gap_to" in checks else [])]
        for name in others:
            lookup(config.attacks, name, kind="attack", where=where)
    scale = config.file(f"scales/{config.scale_name}")
    for name in config.scale.get("attacks", {}):
        lookup(config.attacks, name, kind="attack", where=scale)


def _methods_run(values: Mapping[str, Any]) -> dict[str, None]:
    return {method: None for experiment in values["experiments"].values() for method in experiment["methods"]}


def _used_by_paper(config: Config, paper: str, entries: Entries) -> list[Names]:
    document = config.papers[paper]
    values, where = document.values, document.path
    experiments, run = values["experiments"].values(), _methods_run(values)
    pretrainings = {
        **dict.fromkeys(("none", *config.weights, *values.get("pretraining", {}))),
        **config.scale["pretraining"],
        **entries.stand_ins(paper, "pretraining"),
    }
    displays = [display for part in ("tables", "figures") for display in values[part].values()]
    rows = [name for one in displays for name in one.get("rows", one.get("methods", []))]
    rows += [name for one in displays for row in one.get("groups", {}).values() for name in row.values()]
    judged = [method for claim in values["claims"] for method, _ in operands(claim)]
    evaluated = [name for one in values["evaluations"].values() for name in one.get("methods", [])]
    diagnosed = [
        name for one in experiments for name in one.get("diagnostics", {}).get("loss_along", {}).get("methods", [])
    ]
    overridden = [name for one in experiments for name in one.get("overrides", {})]
    shown = [
        (
            "evaluation",
            one.get("evaluations", []),
            dict.fromkeys(values["experiments"][one["experiment"]]["evaluations"]),
        )
        for one in displays
        if one["experiment"] in values["experiments"]
    ]
    touched = [touches_of(one) for one in values["deviations"]]
    metrics = {**config.attacks, **TRAINING_METRICS}
    beside = [figure["published"] for figure in values["figures"].values() if "published" in figure]
    published = (config.claims[paper] or {"tables": {}})["tables"]
    datasets = {**config.datasets, **entries.stand_ins(paper, "datasets")}
    backbones = {**config.backbones, **entries.stand_ins(paper, "backbones")}
    return [
        ("method", run, config.methods(paper), where),
        ("data set", [name for one in experiments for name in one["datasets"]], datasets, where),
        ("backbone", [one["backbone"] for one in experiments], backbones, where),
        ("pretraining", [one["pretraining"] for one in experiments], pretrainings, where),
        ("published table", beside, published, where),
        *(("method", names, run, where) for names in (overridden, evaluated, diagnosed, rows, judged)),
        *((kind, names, defined, where) for kind, names, defined in shown),
        ("method", [name for one in touched for name in one.get("methods", [])], config.methods(paper), where),
        ("experiment", [name for one in touched for name in one.get("experiments", [])], values["experiments"], where),
        ("metric", [name for one in touched for name in one.get("columns", [])], metrics, where),
        ("data set", [name for one in touched for name in one.get("datasets", [])], datasets, where),
    ]


def _used_by_scale(config: Config, paper: str) -> list[Names]:
    values, override = config.papers[paper].values, config.scale["papers"].get(paper, {})
    where = config.file(f"scales/{config.scale_name}")
    pretraining = dict.fromkeys(entry["method"] for entry in values.get("pretraining", {}).values())
    return [
        ("experiment", override.get("experiments", {}), values["experiments"], where),
        ("experiment", override.get("left_out", []), {**values["experiments"], **values["evaluations"]}, where),
        ("evaluation", override.get("evaluations", {}), values["evaluations"], where),
        ("method", override.get("overrides", {}), {**config.methods(paper), **pretraining}, where),
        ("method", override.get("methods", []), _methods_run(values), where),
    ]
