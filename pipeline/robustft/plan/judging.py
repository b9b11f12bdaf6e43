"""What a paper's verdicts rest on: its claims at this scale, the measurements, and what each run's model comes from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from robustft.config.load import Config
from robustft.plan.graph import Graph
from robustft.plan.step import Evaluation, Run, Step
from robustft.report.claim_matching import experiments_of, judged_parts, require_one_measurement, sides


def judged(
    graph: Graph,
    config: Config,
    paper: str,
    *,
    stand_ins: Mapping[str, str],
    runs: Sequence[Run],
    evaluations: Sequence[Evaluation],
    members: Sequence[dict[str, Any]],
) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the parts of a verdicts step's specification, and the histories that it reads, by role.

    `members` are the entries of the numbers step, one for each of `evaluations`. Raises ConfigError for a margin
    without a reason, and for a claim about two measurements.
    """
    datasets = config.datasets
    parts = judged_parts(
        config.papers[paper].values,
        config.claims[paper],
        stand_ins=stand_ins,
        datasets=datasets,
        sources=config.sources,
    )
    claims = [*parts["claims"], *(claim for table in parts.get("tables", []) for claim in table["claims"])]
    require_one_measurement(claims, members)
    chosen = _chosen(claims)
    histories = {
        one.step.id: one.step.outputs["history"]
        for one in runs
        if one.trained and (one.experiment, one.method) in chosen
    }
    attacks = {attack for evaluation in evaluations for attack in evaluation.attacks}
    parts |= {
        "members": [
            {**member, "split_images": datasets[one.dataset]["splits"][one.step.spec["split"]]}
            for member, one in zip(members, evaluations, strict=True)
        ],
        "runs": [_about(graph, run, histories) for run in runs],
        "classes": {one.dataset: _number(datasets[one.dataset]["classes"]) for one in evaluations},
        "clean": [name for name, attack in config.attacks.items() if name in attacks and attack["algorithm"] == "none"],
    }
    return parts, histories


def _chosen(claims: Sequence[dict[str, Any]]) -> set[tuple[str, str]]:
    """Return the (experiment, method) pairs of which a claim takes the best one on validation images."""
    return {
        (experiment, method)
        for claim in claims
        for methods, _ in sides(claim)
        if len(methods) > 1
        for experiment in experiments_of(claim)
        for method in methods
    }


def _about(graph: Graph, run: Run, histories: Mapping[str, str]) -> dict[str, Any]:
    """Return what a run's model comes from. Two runs whose models share a training are not independent."""
    behind = {step.key: step for step in _behind(graph, run.steps)}.values()
    about = {
        "experiment": run.experiment,
        "dataset": run.dataset,
        "method": run.method,
        "seed": run.seed,
        "models": [step.id for step in behind if not _is_pretraining(step)],
        "given": sorted(step.id.rpartition("/")[2] for step in behind if _is_pretraining(step)),
    }
    if not run.trained and all(step.kind == "weights" for step in behind):
        about["published"] = True
    if run.step.id in histories:
        about |= {"history": run.step.id, "selection": run.step.spec["recipe"]["selection"]}
    return about


def _behind(graph: Graph, steps: Sequence[Step]) -> Iterator[Step]:
    """Yield trainings and those that they start from, back to the pre-trained checkpoints."""
    for step in steps:
        yield step
        if not _is_pretraining(step):
            makers = map(graph.producer, step.inputs.values())
            yield from _behind(graph, [one for one in makers if one is not None and one.kind in ("train", "weights")])


def _is_pretraining(step: Step) -> bool:
    return step.kind == "weights" or step.id.startswith("pretraining/")


def _number(classes: int | list[int]) -> int:
    return classes if isinstance(classes, int) else len(classes)
