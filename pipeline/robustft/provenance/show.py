"""`robustft show`: the resolved specification of one step, each value with the layer that it comes from.

Never imports torch. `experiment_page.py` shows an experiment.
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator
from typing import Any

from robustft.errors import RobustftError, nearest
from robustft.plan import Origin, Plan, origins_of
from robustft.plan.step import Step

WIDTH = 120
KINDS = ("train", "attack", "weights", "data", "download")
"""The kinds of steps that can be shown by their id alone."""


def find_step(plan: Plan, name: str) -> Step:
    """Return the step of a name: an id, `kind:id`, or a run that is derived and so has evaluations alone.

    Raises RobustftError with the nearest name.
    """
    if name in plan.steps:
        return plan.steps[name]
    for kind in KINDS:
        if step := plan.get(kind, name):
            return step
    for evaluation in plan.evaluations:
        if evaluation.run.id == name:
            return evaluation.step
    ids = [step.id for kind in KINDS for step in plan.of_kind(kind)]
    names = [*ids, *(f"{run.paper}/{run.experiment}" for run in plan.runs)]
    raise RobustftError(
        f"the plan of scale '{plan.scale}' has no run, step or experiment '{name}'", next_step=nearest(name, set(names))
    )


def step_as_json(plan: Plan, step: Step) -> dict[str, Any]:
    """Return a step with its specification by path: {value, layer, keys, basis, source}; layer None: computed."""
    origins = origins_of(plan, step)
    return {
        "kind": step.kind,
        "id": step.id,
        "scale": plan.scale,
        "digest": step.digest,
        "inputs": step.inputs,
        "outputs": step.outputs,
        "command": command(plan, step),
        "values": {path: {"value": value, **as_json(origins.get(path))} for path, value in leaves(step.spec)},
    }


def as_json(origin: Origin | None) -> dict[str, Any]:
    """Return an origin as it stands in JSON."""
    if origin is None:
        return {"layer": None, "keys": None, "basis": None, "source": None}
    return {"layer": origin.layer, "keys": origin.keys, "basis": origin.basis, "source": origin.source}


def describe_step(plan: Plan, step: Step) -> str:
    """Return a step in words and columns, at most 120 wide."""
    origins = origins_of(plan, step)
    lines = [f"{step.kind} {step.id}, scale {plan.scale}", f"  digest  {step.digest}"]
    lines += [f"  reads   {path}" for path in step.inputs.values()]
    lines += [f"  writes  {path}" for path in step.outputs.values()]
    lines += [
        "run it",
        f"  {command(plan, step)}",
        "",
        "Each value, the line of config/ that gives it, and its basis if it has one; (plan) is computed or a default.",
    ]
    groups: dict[str, list[tuple[str, Any, Origin | None]]] = {}
    for path, value in leaves(step.spec):
        group, key = _group(step.spec, path)
        groups.setdefault(group, []).append((key, value, origins.get(path)))
    for group, rows in sorted(groups.items(), key=lambda item: item[0] != ""):
        lines += ["", group] if group else [""]
        lines += value_lines(rows)
    return "\n".join(lines)


def command(plan: Plan, step: Step) -> str:
    """Return the shell command that makes the outputs of a step, and all that it needs before."""
    paper = step.id.split("/")[0]
    papers = f" papers={paper}" if paper in plan.config.papers else ""
    return f"snakemake --cores all --config scale={plan.scale}{papers} -- {next(iter(step.outputs.values()))}"


def leaves(tree: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield path and value of every leaf of a specification; a list is a leaf unless it holds mappings."""
    if isinstance(tree, list) and any(isinstance(one, dict) for one in tree):
        tree = dict(enumerate(tree))
    if not isinstance(tree, dict) or not tree:
        yield path, tree
        return
    for key, value in tree.items():
        yield from leaves(value, f"{path}.{key}" if path else str(key))


def value_lines(rows: list[tuple[str, Any, Origin | None]]) -> list[str]:
    """Return rows of key, value and origin as lines of four columns: key, value, layer, basis with source."""
    cells = [(key, _text(value), _layer(origin), _basis(origin)) for key, value, origin in rows]
    widths = [min(max(len(row[column]) for row in cells), most) for column, most in ((0, 40), (1, 34), (2, 42))]
    widths.append(max(WIDTH - sum(widths) - 2 * 4, 20))
    lines = []
    for row in cells:
        wrapped = [textwrap.wrap(cell, width) or [""] for cell, width in zip(row, widths, strict=True)]
        for number in range(max(map(len, wrapped))):
            parts = [part[number] if number < len(part) else "" for part in wrapped]
            lines.append(
                "  " + "  ".join(part.ljust(width) for part, width in zip(parts, widths, strict=True)).rstrip()
            )
    return lines


def _group(spec: dict[str, Any], path: str) -> tuple[str, str]:
    """Split a path into the heading that it stands under and the rest: `recipe` and `lr`, `attack fgsm` and `steps`."""
    head, _, rest = path.partition(".")
    number, _, inner = rest.partition(".")
    if head == "attacks" and inner:
        return f"attack {spec['attacks'][int(number)]['name']}", inner
    return (head, rest) if rest else ("", head)


def _text(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 160 else f"{text[:150]}... ({len(value)} in all)"


def _layer(origin: Origin | None) -> str:
    return origin.layer.removeprefix("config/") if origin else "(plan)"


def _basis(origin: Origin | None) -> str:
    if origin is None or origin.basis is None:
        return ""
    return f"{origin.basis}: {origin.source}" if origin.source else origin.basis
