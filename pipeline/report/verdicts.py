"""The `verdicts` step: what our numbers say of each claim, by rules fixed before the run.

An ordering ("left is more robust than right") is judged at every scale: it holds if the whole 95 % interval of the
difference is above zero, does not hold if the whole interval is below, and is inconclusive otherwise or with fewer
than three seeds. A published value is judged only at the paper's own scale: reproduced if the interval of the
difference lies inside the margin, differs if it lies outside, inconclusive otherwise.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.context import Context
from pipeline.evaluate.ledger import Outcome, read_ledger
from pipeline.files import write_json, write_text
from pipeline.report.numbers import joined
from pipeline.report.statistics import Z95, mean, sample_sd, student_t975
from pipeline.report.tables import Grid, to_html, to_markdown

MINIMUM_SEEDS = 3


@dataclass(frozen=True)
class Interval:
    """An estimate with its 95 % interval, as shares (0.01 is one point)."""

    estimate: float
    low: float
    high: float


def combined(estimate: float, *halves: float, rounding: float = 0.0) -> Interval:
    """Return the interval whose half-width is the root of the summed squares of independent ones, plus rounding.

    Rounding is no random error, so it is added in full.
    """
    half = math.hypot(*halves) + rounding
    return Interval(estimate, estimate - half, estimate + half)


def seed_half_width(values: list[float]) -> float:
    """Return the 95 % half-width of the mean of a few values by Student's t."""
    sd = sample_sd(values)
    assert sd is not None, "needs two values"
    return student_t975(len(values) - 1) * sd / math.sqrt(len(values))


def difference(left: np.ndarray, right: np.ndarray) -> Interval:
    """Return mean(left) - mean(right) for outcomes (seeds, images) on the same images, paired by seed and image.

    Two independent sources of error are combined: the seeds (Student's t over the seeds' differences) and the test
    images (normal, over the images' differences averaged over seeds).
    """
    delta = left.astype(float) - right.astype(float)
    per_seed, per_image = delta.mean(axis=1), delta.mean(axis=0)
    images = Z95 * float(per_image.std(ddof=1)) / math.sqrt(len(per_image))
    return combined(float(delta.mean()), seed_half_width(per_seed.tolist()), images)


def judge_ordering(interval: Interval) -> str:
    """Return holds, does not hold, or inconclusive, for the claim that the difference is above zero."""
    if interval.low > 0:
        return "holds"
    return "does not hold" if interval.high < 0 else "inconclusive"


def judge_value(interval: Interval, margin: float) -> str:
    """Return reproduced, differs, or inconclusive, for an interval of (measured - published)."""
    if -margin <= interval.low and interval.high <= margin:
        return "reproduced"
    return "differs" if interval.low > margin or interval.high < -margin else "inconclusive"


def value_interval(accuracies: list[float], images: int, published: float, decimals: int) -> Interval:
    """Return measured - published with seeds, test sampling on both sides, and print rounding; all as shares."""
    measured = mean(accuracies)

    def sampling(share: float) -> float:
        return Z95 * math.sqrt(max(share * (1 - share), 0.0) / images)

    rounding = 0.5 * 10.0**-decimals / 100
    halves = (seed_half_width(accuracies), sampling(measured), sampling(published))
    return combined(measured - published, *halves, rounding=rounding)


class Judge:
    """Judges claims from the ledgers of one paper."""

    def __init__(self, spec: dict[str, Any], ledgers: dict[str, Path]) -> None:
        self._spec, self._ledgers = spec, ledgers
        self._cache: dict[str, dict[str, Outcome]] = {}

    def _outcomes(
        self, experiment: str, method: str, metric: str, dataset: str | None
    ) -> dict[tuple[str, int], Outcome]:
        """Return the outcomes of one method under one attack by (data set, seed)."""
        parts: dict[tuple[str, int], list[Outcome]] = {}
        for member in self._spec["members"]:
            fits = member["experiment"] == experiment and member["method"] == method and metric in member["attacks"]
            if fits and dataset in (None, member["dataset"]):
                name = member["ledger"]
                if name not in self._cache:
                    self._cache[name] = read_ledger(self._ledgers[name])
                parts.setdefault((member["dataset"], member["seed"]), []).append(self._cache[name][metric])
        return {key: joined(found) for key, found in parts.items()}

    def judge(self, claim: dict[str, Any]) -> dict[str, Any]:
        """Return the claim's verdict, with its interval where there is one."""
        found = self._ordering(claim) if claim["kind"] == "ordering" else self._value(claim)
        return {
            "id": claim["id"],
            "statement": claim["statement"],
            "source": claim["source"],
            "confidence": claim["confidence"],
            **found,
        }

    def _ordering(self, claim: dict[str, Any]) -> dict[str, Any]:
        left = self._outcomes(claim["experiment"], claim["left"], claim["metric"], None)
        right = self._outcomes(claim["experiment"], claim["right"], claim["metric"], None)
        pairs = sorted(set(left) & set(right))
        seeds = sorted({seed for _, seed in pairs})
        if not pairs:
            return {"verdict": "not run"}
        datasets = sorted({dataset for dataset, _ in pairs})
        rows = []
        for side in (left, right):
            ordered = [[side[d, s] for d in datasets if (d, s) in side and (d, s) in pairs] for s in seeds]
            rows.append([np.concatenate([o.correct[np.argsort(o.image)] for o in per_seed]) for per_seed in ordered])
        if len(seeds) < 2:
            return {"verdict": "inconclusive", "seeds": len(seeds)}
        interval = difference(np.array(rows[0]), np.array(rows[1]))
        verdict = judge_ordering(interval) if len(seeds) >= MINIMUM_SEEDS else "inconclusive"
        return {"verdict": verdict, "seeds": len(seeds), **vars(interval)}

    def _value(self, claim: dict[str, Any]) -> dict[str, Any]:
        if claim["value"] == "missing":
            return {"verdict": "no published value on record"}
        if not self._spec["reproduces"]:
            return {"verdict": "not comparable", "published": claim["value"]}
        found = self._outcomes(claim["experiment"], claim["method"], claim["metric"], claim["dataset"])
        if not found:
            return {"verdict": "not run", "published": claim["value"]}
        accuracies = [float(outcome.correct.mean()) for outcome in found.values()]
        if len(accuracies) < MINIMUM_SEEDS:
            return {"verdict": "inconclusive", "published": claim["value"], "seeds": len(accuracies)}
        images = len(next(iter(found.values())).image)
        interval = value_interval(accuracies, images, claim["value"] / 100, claim["decimals"])
        margin = claim["margin"] / 100
        return {
            "verdict": judge_value(interval, margin),
            "at_half_margin": judge_value(interval, margin / 2),
            "at_double_margin": judge_value(interval, margin * 2),
            "published": claim["value"],
            "seeds": len(accuracies),
            **vars(interval),
        }


def _row(verdict: dict[str, Any]) -> list[str]:
    interval = ""
    if "estimate" in verdict:
        interval = f"{100 * verdict['estimate']:+.1f} [{100 * verdict['low']:+.1f}, {100 * verdict['high']:+.1f}]"
    return [verdict["statement"], verdict["verdict"], interval, verdict["confidence"], verdict["source"]]


def build_grid(spec: dict[str, Any], found: list[dict[str, Any]]) -> Grid:
    """Lay the verdicts out as a table."""
    notes = ["Orderings: seeds (Student's t) and test images are combined; fewer than three seeds is inconclusive."]
    if not spec["reproduces"]:
        notes.append("Published values are not comparable with this scale's stand-ins.")
    return Grid(
        title=f"Claims of {spec['paper']} at scale {spec['scale']}",
        header=["Claim", "Verdict", "Difference in points [95 %]", "Confidence", "Source"],
        rows=[_row(verdict) for verdict in found],
        notes=notes,
        row_names=[verdict["id"] for verdict in found],
        column_names=["verdict", "difference", "confidence", "source"],
        alignment="llrll",
    )


def verdicts(spec: dict[str, Any], context: Context) -> None:
    """Write the verdicts as JSON, Markdown and HTML."""
    judge = Judge(spec, {role: path for role, path in context.inputs.items() if role != "numbers"})
    found = [judge.judge(claim) for claim in spec["claims"]]
    write_json(context.outputs["json"], {"scale": spec["scale"], "paper": spec["paper"], "verdicts": found})
    grid = build_grid(spec, found)
    write_text(context.outputs["md"], to_markdown(grid))
    write_text(context.outputs["html"], to_html(grid))
