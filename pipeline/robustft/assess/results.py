"""What a folder of an evaluation says: numbers counted from its ledgers, findings, and the files that tell them.

It never imports torch: numbers and card are made again from ledgers and probes alone.
"""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from robustft.assess.card import as_html, as_markdown
from robustft.assess.folder import FORM, INDEX
from robustft.errors import IntegrityError, RobustftError
from robustft.evaluate.ledger import read_checks, read_ledger
from robustft.files import read_json, write_json, write_text
from robustft.provenance.record import read_record
from robustft.report.sanity_checks import Expected, Judged, judge
from robustft.report.statistics import wilson
from robustft.report.trust import Finding, beside, failed_reasons, found, headline

NUMBERS, CARD, PAGE, ENTRY, CURVE = "numbers.csv", "card.md", "card.html", "robustbench.json", "curve"
PAIRED = ("not_weaker_than", "black_box", "overstates")
STANDARD_IMAGES = 1000
"""Fewest images of a number that RobustBench's leaderboard would call an accuracy under AutoAttack."""


@dataclass(frozen=True)
class Number:
    """One accuracy."""

    ledger: str
    attack: str
    title: str
    algorithm: str
    norm: str
    eps: str
    images: int
    correct: int

    @property
    def accuracy(self) -> float:
        """As a share."""
        return self.correct / self.images

    def row(self) -> dict[str, Any]:
        """Return the row of the table of numbers."""
        low, high = wilson(self.correct, self.images)
        return {**vars(self), "accuracy": self.accuracy, "low": low, "high": high}


@dataclass(frozen=True)
class Results:
    """All that a folder says."""

    folder: Path
    index: dict[str, Any]
    numbers: list[Number]
    findings: list[Finding]
    advice: str = ""
    """The normalisation that would make more images right, if there is one."""

    @property
    def headline(self) -> str:
        """Whether to trust the numbers, and why, in one line."""
        autoattack = any(one.algorithm == "autoattack" for one in self.numbers)
        text = headline(self.findings, autoattack=autoattack)
        return f"{text} It is '{self.advice}' that does better." if self.advice else text

    @property
    def trusted(self) -> bool:
        """Whether no check failed."""
        return not self.reasons

    @property
    def reasons(self) -> list[str]:
        """The reasons against the numbers by name, the one that explains the others first."""
        return failed_reasons(self.findings)

    @property
    def card(self) -> str:
        """The card in Markdown."""
        return as_markdown(self)

    def accuracy(self, attack: str, eps: str | None = None) -> float:
        """Return the accuracy under an attack, as a share; of several eps `eps` names one. Raises RobustftError."""
        wanted = None if eps is None else str(Fraction(eps))
        for one in self.numbers:
            if one.attack == attack and wanted in (None, one.eps):
                return one.accuracy
        raise RobustftError(
            f"there is no accuracy under '{attack}'" + (f" at eps {eps}" if eps else ""),
            next_step=f"there are {', '.join(sorted({one.attack for one in self.numbers}))}",
        )


def read_results(folder: Path) -> Results:
    """Count the numbers of a folder again and judge them. Raises IntegrityError for a folder of something else."""
    if not (folder / INDEX).is_file():
        raise IntegrityError(
            "this is no folder of an evaluation", where=folder, expected=INDEX, next_step="make it: robustft evaluate"
        )
    index = read_json(folder / INDEX)
    if index.get("form") != FORM:
        raise IntegrityError("the index is of another form", where=folder / INDEX, expected=FORM)
    if not index["ledgers"] or not index["probes"]:
        raise IntegrityError(
            "the evaluation is not finished", where=folder, next_step="give the same command again; it goes on"
        )
    judged: dict[str, Judged] = {}
    specs: dict[str, dict[str, Any]] = {}
    for name in index["ledgers"]:
        path = folder / "ledgers" / f"{name}.parquet"
        (outcome,) = read_ledger(path).values()
        judged[name] = Judged(outcome, list(read_checks(path).values()), [name])
        specs[name] = read_record(path.with_suffix(".record.json")).values["step"]["spec"]
    titles = _titles()
    numbers = sorted(
        (_number(name, judged[name], specs[name], titles) for name in judged),
        key=lambda one: (one.algorithm != "none", Fraction(one.eps), one.algorithm == "autoattack", one.attack),
    )
    findings, advice = _findings(folder, index, judged, numbers, titles)
    return Results(folder, index, numbers, findings, advice)


def _titles() -> dict[str, dict[str, Any]]:
    from robustft.config.load import load_document
    from robustft.files import project_path

    attacks: dict[str, dict[str, Any]] = load_document(project_path("config/attacks.yaml"), "attacks").values["attacks"]
    return attacks


def _number(name: str, judged: Judged, spec: dict[str, Any], titles: dict[str, dict[str, Any]]) -> Number:
    (attack,) = spec["attacks"]
    threat = {**spec["threat"], **attack.get("threat", {})}
    outcome, clean = judged.outcome, attack["algorithm"] == "none"
    return Number(
        ledger=name,
        attack=attack["name"],
        title=titles.get(attack["name"], {}).get("title", attack["name"]),
        algorithm=attack["algorithm"],
        norm="" if clean else threat["norm"],
        eps="0" if clean else str(Fraction(str(threat["eps"]))),
        images=len(outcome.image),
        correct=int(np.sum(outcome.correct)),
    )


def _findings(
    folder: Path,
    index: dict[str, Any],
    judged: dict[str, Judged],
    numbers: list[Number],
    titles: dict[str, dict[str, Any]],
) -> tuple[list[Finding], str]:
    """Return every check: of the model, of the gradients under each threat, of each attack, and between attacks."""
    findings, advice = [], ""
    for name in index["probes"]:
        stored = read_json(folder / "probes" / f"{name}.json")["values"]
        values = {key: value for key, value in stored.items() if isinstance(value, float)}
        findings += found(values, images=stored["images"], where="" if name == "model" else name)
        advice = stored.get("better_normalisation_name") or advice
    during: dict[str, float] = {}
    for one in judged.values():
        for checks in one.checks:
            for key, value in checks.items():
                during[key] = max(during.get(key, 0.0), value)
    for key in ("zero_gradients", "batch_difference"):  # the probes measure both more closely
        during.pop(key, None)
    findings += found(during, images=len(next(iter(judged.values())).outcome.image))
    for number in numbers:
        beside_it = {
            other.attack: judged[other.ledger]
            for other in numbers
            if other.algorithm == "none" or (other.norm, other.eps) == (number.norm, number.eps)
        }
        bare = {name: Judged(one.outcome, [], one.sources) for name, one in beside_it.items()}
        expected = Expected.of(titles.get(number.attack, {}).get("checks"))
        for entry in judge(number.attack, bare, None, expected):
            if entry["check"].startswith(PAIRED):
                findings.append(beside(entry, number.ledger))
    return findings, advice


def numbers_text(results: Results) -> str:
    """Return the table of numbers as CSV."""
    rows, stream = [one.row() for one in results.numbers], io.StringIO()
    writer = csv.DictWriter(stream, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return stream.getvalue()


def write_results(results: Results) -> None:
    """Write numbers, card, the entry in RobustBench's form, and the curve if there are several eps."""
    folder = results.folder
    write_text(folder / NUMBERS, numbers_text(results))
    write_json(folder / "findings.json", [one.as_json() for one in results.findings])
    write_json(folder / ENTRY, robustbench_entry(results))
    if len({one.eps for one in results.numbers if one.algorithm != "none"}) > 1:
        from robustft.assess.curve import draw_curve

        draw_curve(results.numbers, svg=folder / f"{CURVE}.svg", pdf=folder / f"{CURVE}.pdf")
    write_text(folder / CARD, as_markdown(results))
    write_text(folder / PAGE, as_html(results))


def robustbench_entry(results: Results) -> dict[str, Any]:
    """Return an entry in the shape of RobustBench's `model_info`, of the largest eps; what was not measured is null."""

    def percent(one: Number | None) -> str | None:
        return f"{100 * one.accuracy:.2f}" if one else None

    clean = next((one for one in results.numbers if one.algorithm == "none"), None)
    attacked = [one for one in results.numbers if one.algorithm != "none"]
    automatic = [one for one in attacked if one.algorithm == "autoattack"]
    shown = max(automatic or attacked, key=lambda one: Fraction(one.eps), default=None)
    whole = shown is not None and shown.algorithm == "autoattack" and shown.images >= STANDARD_IMAGES
    notes = [] if whole else [f"Not a leaderboard number: {shown.title} on {shown.images} images." if shown else ""]
    return {
        "link": None,
        "name": results.index["title"],
        "authors": None,
        "additional_data": None,
        "number_forward_passes": 1,
        "dataset": results.index["data"],
        "venue": None,
        "architecture": results.index["title"],
        "eps": shown.eps if shown else None,
        "clean_acc": percent(clean),
        "reported": None,
        "autoattack_acc": percent(shown) if whole else None,
        "footnote": " ".join([*notes, results.headline]),
        "unreliable": not results.trusted,
        "robustft": {"numbers": [one.row() for one in results.numbers], "reasons": results.reasons},
    }
