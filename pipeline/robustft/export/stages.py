"""The first picture of report.html: the stages of a plan and how many steps each has, not one node a rule."""

from __future__ import annotations

import json
import re
from typing import Any

from robustft.errors import RobustftError
from robustft.plan import Plan

SPEC = re.compile(r"(var rulegraph_spec = ).*?(;\s*</script>)", re.DOTALL)

Stage = tuple[str, str, int]
"""Name, what it makes, and number of steps."""

WIDTH, HEIGHT, GAP = 460, 34, 22


def stages(plan: Plan) -> list[Stage]:
    """Return the stages of a plan that have steps, each after those that it reads from."""
    trained = plan.of_kind("train")
    pretrained = [step for step in trained if step.id.startswith("pretraining/")]
    counts = [
        ("downloads", "published files, by their hash", len(plan.of_kind("download"))),
        ("data", "decoded images of each source", len(plan.of_kind("data"))),
        ("published weights", "checkpoints in this project's form", len(plan.of_kind("weights"))),
        ("pre-training", "models to start from", len(pretrained)),
        ("training", "one checkpoint a run", len(trained) - len(pretrained)),
        ("attacks", "a ledger of single images each", len(plan.of_kind("attack"))),
        ("numbers", "accuracies, counted from the ledgers", len(plan.of_kind("numbers"))),
        ("tables", "with what they rest on", len(plan.of_kind("table"))),
        ("figures", "drawn from the same numbers", len(plan.of_kind("figure"))),
        ("verdicts", "on the papers' claims", len(plan.of_kind("verdicts"))),
        ("manifests", "one hash over all records of a paper", len(plan.of_kind("manifest"))),
    ]
    return [stage for stage in counts if stage[2]]


def with_stages(page: str, plan: Plan) -> str:
    """Return Snakemake's report with the stages as its first picture.

    Raises RobustftError if the page has no picture of rules to replace.
    """
    spec = json.dumps(_vega(stages(plan))).replace("<", "\\u003c")
    changed, count = SPEC.subn(lambda match: match[1] + spec + match[2], page, count=1)
    if not count:
        raise RobustftError(
            "the report has no picture of rules", expected="the page of the locked Snakemake", next_step="make install"
        )
    return changed


def _vega(found: list[Stage]) -> dict[str, Any]:
    """Return a Vega specification: a box for each stage, from top to bottom."""
    boxes = [
        {"y": place * (HEIGHT + GAP), "name": f"{name}: {count} step{'' if count == 1 else 's'}", "about": about}
        for place, (name, about, count) in enumerate(found)
    ]
    middle = {"signal": f"datum.y + {HEIGHT // 2}"}

    def text(field: str, x: int, **style: Any) -> dict[str, Any]:
        place = {"x": {"value": x}, "y": middle, "text": {"field": field}, "baseline": {"value": "middle"}}
        return {"type": "text", "from": {"data": "stages"}, "encode": {"enter": place | style}}

    line = {"x": {"value": 18}, "y": {"signal": f"datum.y + {HEIGHT}"}, "y2": {"signal": f"datum.y + {HEIGHT + GAP}"}}
    box = {"x": {"value": 0}, "width": {"value": WIDTH}, "y": {"field": "y"}, "height": {"value": HEIGHT}}
    box |= {"fill": {"value": "#eef2f7"}, "stroke": {"value": "#64748b"}, "cornerRadius": {"value": 6}}
    return {
        "$schema": "https://vega.github.io/schema/vega/v5.json",
        "width": WIDTH,
        "height": len(boxes) * (HEIGHT + GAP),
        "padding": 8,
        "data": [{"name": "stages", "values": boxes}, {"name": "steps", "values": boxes[:-1]}],
        "marks": [
            {"type": "rule", "from": {"data": "steps"}, "encode": {"enter": line | {"stroke": {"value": "#64748b"}}}},
            {"type": "rect", "from": {"data": "stages"}, "encode": {"enter": box}},
            text("name", 12, fontWeight={"value": "bold"}, fontSize={"value": 13}, fill={"value": "#0f172a"}),
            text("about", 200, fontSize={"value": 12}, fill={"value": "#475569"}),
        ],
    }
