"""What a plan would cost, from a stated model: image passes, and microseconds for one pass of each backbone.

One pass is one image once forward and backward. Estimates only: they order machines, they enter no result.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import Any

from pipeline.plan import Plan
from pipeline.steps import Step

START_UP_S = 3.0
"""Starting Python and importing torch, for each training or attack job."""

IN_BUNDLE_S = 0.15
"""Reading the inputs and writing the record of a step that shares its process with others."""

AUTOATTACK_PASSES = {"apgd-ce": 100, "apgd-t": 100, "fab-t": 170}
"""Passes for an image that no attack breaks; the targeted ones for each target."""

SQUARE_PASSES = 1 / 3
"""Passes for each query of AutoAttack's Square: it only needs forward passes."""

ROBUST_SHARE = 0.6
"""Share of images that AutoAttack has to work on to the end; a guess made before anything is run."""


def training_passes(spec: dict[str, Any]) -> float:
    """Return the passes of one training run, monitoring included."""
    images = spec["dataset"]["splits"]
    epochs = spec["recipe"]["epochs"]
    attack = spec["training_attack"]["steps"]
    monitored = sum(min(spec["monitor"]["images"], images[split]) for split in ("train", "validation", "test"))
    checks = epochs / spec["monitor"]["every_epochs"]
    return images["train"] * epochs * (attack + 1.5) + monitored * checks * (
        spec["monitor"]["attack"].get("steps", 0) + 1
    )


def attack_passes(spec: dict[str, Any], classes: int) -> float:
    """Return the passes of one attack job."""
    images = spec["images"][1] - spec["images"][0]
    total = 0.0
    for attack in spec["attacks"]:
        if attack["algorithm"] == "autoattack":
            targets = min(9, classes - 1)
            per_image = sum(
                passes * (targets if name.endswith("-t") else 1) for name, passes in AUTOATTACK_PASSES.items()
            )
            per_image += attack.get("square_queries", 5000) * SQUARE_PASSES
            total += images * ROBUST_SHARE * per_image
        else:
            total += images * (attack.get("steps", attack.get("parameters", {}).get("steps", 0)) + 1)
    return total


def _start_up(plan: Plan, step: Step) -> float:
    """Return the seconds before a step's own work begins: the first step of a bundle starts Python and torch."""
    if plan.config.scale["bundle"] and step.key in plan.bundled and not plan.bundled[step.key]:
        return IN_BUNDLE_S
    return START_UP_S


def step_seconds(plan: Plan, step: Step) -> float:
    """Return the estimated seconds of one step on one core or GPU."""
    if step.kind == "train":
        cost = plan.config.backbones[step.spec["backbone"]["name"]]["pass_us"]
        return _start_up(plan, step) + training_passes(step.spec) * cost / 1e6
    if step.kind == "attack":
        paths = [path for role, path in step.inputs.items() if role.startswith("checkpoint")]
        producers = [producer for path in paths if (producer := plan.producer(path))]
        # A model made from several checkpoints may be all of them at once (an ensemble) or one (a merge): at most all.
        cost = sum(plan.config.backbones[producer.spec["backbone"]["name"]]["pass_us"] for producer in producers)
        classes = len(step.spec["prompts"] or producers[0].spec["dataset"]["classes"])
        return _start_up(plan, step) + attack_passes(step.spec, classes) * cost / 1e6
    return 1.0


def critical_path(plan: Plan) -> float:
    """Return the estimated seconds of the longest chain of steps: the wall time with unlimited machines."""
    finish: dict[str, float] = {}
    for key, step in plan.steps.items():
        producers = [plan.producer(path) for path in step.inputs.values()]
        ready = max((finish[p.key] for p in producers if p is not None), default=0.0)
        finish[key] = ready + step_seconds(plan, step)
    return max(finish.values(), default=0.0)


def urgency(plan: Plan) -> dict[str, int]:
    """Return for each bundle about how many seconds pass from its start to the end of the last one that needs it.

    Run by this, the most urgent first, few jobs are left to run alone at the end.
    """
    bundles = plan.bundles()
    maker = {path: bundle.name for bundle in bundles for step in bundle.steps for path in step.outputs.values()}
    after: dict[str, float] = defaultdict(float)
    found = {}
    for bundle in reversed(bundles):
        seconds = sum(step_seconds(plan, step) for step in bundle.steps) + after[bundle.name]
        found[bundle.name] = round(seconds)
        for source in {maker[path] for step in bundle.steps for path in step.inputs.values() if path in maker}:
            after[source] = max(after[source], seconds)
    return found


def _time(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def describe(plan: Plan, *, details: bool = False) -> str:
    """Return what would run and what it would cost, for a terminal."""
    scale = plan.config.scale
    lines = [f"scale {plan.scale}: {' '.join(scale['about'].split())}", ""]
    seconds: dict[str, float] = defaultdict(float)
    counts: Counter[tuple[str, str]] = Counter()
    for step in plan.steps.values():
        owner = step.id.split("/")[0] if "/" in step.id or step.kind in ("numbers", "verdicts") else step.kind
        counts[owner, step.kind] += 1
        seconds[owner] += step_seconds(plan, step)
        if details:
            lines.append(f"  {_time(step_seconds(plan, step)):>9}  {step.kind:<9} {step.id}")
    if details:
        lines.append("")
    lines.append(f"{'':<14}{'train':>7}{'attack':>8}{'report':>8}   one core or GPU")
    for owner, total in seconds.items():
        report = sum(counts[owner, kind] for kind in ("numbers", "verdicts", "table", "figure", "seal"))
        lines.append(f"{owner:<14}{counts[owner, 'train']:>7}{counts[owner, 'attack']:>8}{report:>8}   {_time(total)}")
    measurements = sum(len(evaluation.attacks) for evaluation in plan.evaluations)
    lines += [
        "",
        f"{len(plan.runs)} runs, {measurements} measurements, {len(plan.steps)} steps",
        f"about {_time(sum(seconds.values()))} on one {scale['device']} device with {scale['threads']} thread(s); "
        f"{_time(critical_path(plan))} on the longest chain",
        "An estimate from config/backbones.yaml and pipeline/cost.py, made before anything ran.",
    ]
    for paper, document in plan.config.papers.items():
        wanted = {d for e in document.values["experiments"].values() for d in e["datasets"]}
        own = scale["papers"].get(paper, {}).get("stand_ins", {})
        known = {*own.get("datasets", scale["stand_ins"]["datasets"]), *plan.config.datasets}
        if wanted - known:
            lines.append(f"{paper}: no stand-in at this scale for {', '.join(sorted(wanted - known))}")
    return "\n".join(lines)
