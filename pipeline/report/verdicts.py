"""The `verdicts` step: what our numbers say of each claim, by rules fixed before the run.

An ordering ("left is more robust than right") is judged at every scale: it holds if the whole 95 % interval of the
difference is above zero, does not hold if the whole interval is below, and is inconclusive otherwise or with fewer
than three seeds. A published value is judged only at the paper's own scale: reproduced if the interval of the
difference lies inside the margin, differs if it lies outside, inconclusive otherwise.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.context import Context
from pipeline.evaluate.ledger import Outcome, read_ledger
from pipeline.files import read_json, write_json, write_text
from pipeline.report.numbers import TRAINING, joined
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
    """Judges claims from the files of one paper, by role: its ledgers, and numbers.json for what training logged."""

    def __init__(self, spec: dict[str, Any], files: dict[str, Path]) -> None:
        self._spec, self._ledgers = spec, files
        self._cache: dict[str, dict[str, Outcome]] = {}
        self._trainings = read_json(files["numbers"])["trainings"] if "numbers" in files else []

    def _outcomes(
        self, claim: dict[str, Any], method: str, metric: str, dataset: str | None = None
    ) -> dict[tuple[str, int], Outcome]:
        """Return the outcomes of one method under one attack by (data set, seed)."""
        experiment, evaluation = claim["experiment"], claim.get("evaluation")
        parts: dict[tuple[str, int], list[Outcome]] = {}
        for member in self._spec["members"]:
            fits = member["experiment"] == experiment and member["method"] == method and metric in member["attacks"]
            # Unless a claim names an evaluation, it is about the data set that the run was trained on.
            if (evaluation is None and member["elsewhere"]) or evaluation not in (None, member["evaluation"]):
                continue
            if fits and dataset in (None, member["dataset"]):
                name = member["ledger"]
                if name not in self._cache:
                    self._cache[name] = read_ledger(self._ledgers[name])
                parts.setdefault((member["dataset"], member["seed"]), []).append(self._cache[name][metric])
        return {key: joined(found) for key, found in parts.items()}

    def judge(self, claim: dict[str, Any]) -> dict[str, Any]:
        """Return the claim's verdict, with its interval where there is one."""
        found = {"ordering": self._ordering, "value": self._value, "difference": self._difference}[claim["kind"]](claim)
        return {
            "id": claim["id"],
            "statement": claim["statement"],
            "source": claim["source"],
            "confidence": claim["confidence"],
            **found,
        }

    def _paired(self, claim: dict[str, Any]) -> tuple[np.ndarray, np.ndarray] | None:
        """Return both sides' outcomes (seeds, images) on the seeds, data sets, images that both have."""
        left = self._outcomes(claim, claim["left"], claim.get("left_metric") or claim["metric"], claim.get("dataset"))
        right = self._outcomes(
            claim, claim["right"], claim.get("right_metric") or claim["metric"], claim.get("dataset")
        )
        pairs = set(left) & set(right)
        datasets = sorted({dataset for dataset, _ in pairs})
        seeds = sorted({seed for _, seed in pairs if all((dataset, seed) in pairs for dataset in datasets)})
        if not seeds:
            return None

        shared = {(d, s): np.intersect1d(left[d, s].image, right[d, s].image) for d in datasets for s in seeds}

        def rows(side: dict[tuple[str, int], Outcome]) -> np.ndarray:
            return np.array([np.concatenate([_correct(side[d, s], shared[d, s]) for d in datasets]) for s in seeds])

        return rows(left), rows(right)

    def _ordering(self, claim: dict[str, Any]) -> dict[str, Any]:
        if claim["metric"] in TRAINING:
            return self._training_ordering(claim)
        paired = self._paired(claim)
        if paired is None:
            return {"verdict": "not run"}
        return self._judged(lambda: difference(*paired), seeds=len(paired[0]))

    def _judged(self, interval_of: Callable[[], Interval], *, seeds: int) -> dict[str, Any]:
        if seeds < 2:
            return {"verdict": "inconclusive", "seeds": seeds}
        interval = interval_of()
        verdict = judge_ordering(interval) if seeds >= MINIMUM_SEEDS else "inconclusive"
        return {"verdict": verdict, "seeds": seeds, **vars(interval)}

    def _training_ordering(self, claim: dict[str, Any]) -> dict[str, Any]:
        """Judge that the left side needs less of a metric of training than the right one, paired by seed."""
        sides: list[dict[tuple[str, int], float]] = []
        for method in (claim["left"], claim["right"]):
            wanted = {"experiment": claim["experiment"], "method": method, "metric": claim["metric"]}
            wanted |= {"dataset": claim["dataset"]} if "dataset" in claim else {}
            told = [entry for entry in self._trainings if wanted.items() <= entry.items()]
            sides.append({(entry["dataset"], entry["seed"]): entry["value"] for entry in told})
        pairs = sorted(set(sides[0]) & set(sides[1]))
        if not pairs:
            return {"verdict": "not run"}
        seeds = sorted({seed for _, seed in pairs})
        saved = [mean([sides[1][p] - sides[0][p] for p in pairs if p[1] == seed]) for seed in seeds]
        unit = TRAINING[claim["metric"]]
        found = self._judged(lambda: combined(mean(saved), seed_half_width(saved)), seeds=len(seeds))
        return {**found, "unit": unit}

    def _difference(self, claim: dict[str, Any]) -> dict[str, Any]:
        """Judge a published difference between two methods."""
        if claim["value"] == "missing":
            return {"verdict": "no published value on record"}
        if not self._spec["reproduces"]:
            return {"verdict": "not comparable", "published": claim["value"]}
        paired = self._paired(claim)
        if paired is None or len(paired[0]) < MINIMUM_SEEDS:
            verdict = "not run" if paired is None else "inconclusive"
            return {"verdict": verdict, "published": claim["value"]}
        measured, rounding = difference(*paired), 0.5 * 10 ** -claim["decimals"] / 100
        half = (measured.high - measured.low) / 2
        interval = combined(measured.estimate - claim["value"] / 100, half, rounding=rounding)
        return self._against(interval, claim, seeds=len(paired[0]))

    def _value(self, claim: dict[str, Any]) -> dict[str, Any]:
        if claim["value"] == "missing":
            return {"verdict": "no published value on record"}
        if not self._spec["reproduces"]:
            return {"verdict": "not comparable", "published": claim["value"]}
        if claim["metric"] in TRAINING:
            return {"verdict": "inconclusive", "published": claim["value"]}
        found = self._outcomes(claim, claim["method"], claim["metric"], claim.get("dataset"))
        if not found:
            return {"verdict": "not run", "published": claim["value"]}
        # Over several data sets a paper prints the plain mean of their accuracies.
        by_seed: dict[int, list[float]] = {}
        for (_, seed), outcome in found.items():
            by_seed.setdefault(seed, []).append(float(outcome.correct.mean()))
        accuracies = [mean(values) for values in by_seed.values()]
        if len(accuracies) < MINIMUM_SEEDS:
            return {"verdict": "inconclusive", "published": claim["value"], "seeds": len(accuracies)}
        images = sum(len(outcome.image) for outcome in found.values()) // len(by_seed)
        interval = value_interval(accuracies, images, claim["value"] / 100, claim["decimals"])
        return self._against(interval, claim, seeds=len(accuracies))

    def _against(self, interval: Interval, claim: dict[str, Any], *, seeds: int) -> dict[str, Any]:
        margin = claim["margin"] / 100
        return {
            "verdict": judge_value(interval, margin),
            "at_half_margin": judge_value(interval, margin / 2),
            "at_double_margin": judge_value(interval, margin * 2),
            "published": claim["value"],
            "seeds": seeds,
            **vars(interval),
        }


def _correct(outcome: Outcome, images: np.ndarray) -> np.ndarray:
    """Return which of some images, in order, are still classified correctly."""
    order = np.argsort(outcome.image)
    return outcome.correct[order][np.searchsorted(outcome.image[order], images)]


def _row(verdict: dict[str, Any]) -> list[str]:
    interval = ""
    if "estimate" in verdict:
        factor = 1 if "unit" in verdict else 100
        low, high = f"{factor * verdict['low']:+.1f}", f"{factor * verdict['high']:+.1f}"
        interval = f"{factor * verdict['estimate']:+.1f} [{low}, {high}] {verdict.get('unit', '')}".strip()
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
    judge = Judge(spec, context.inputs)
    found = [judge.judge(claim) for claim in spec["claims"]]
    write_json(context.outputs["json"], {"scale": spec["scale"], "paper": spec["paper"], "verdicts": found})
    grid = build_grid(spec, found)
    write_text(context.outputs["md"], to_markdown(grid))
    write_text(context.outputs["html"], to_html(grid))
