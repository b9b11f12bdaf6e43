"""What a step was, in labelled facts: what the page and the cards show of it."""

from __future__ import annotations

from typing import Any

from robustft.plan.step import Step
from robustft.provenance.lineage import Lineage
from robustft.report.claims import MISSING

Facts = list[tuple[str, str]]
"""Labels with what is said under them."""

NAMED = ("name", "title", "source", "target", "threat", "implementation")
"""What of an attack's specification is said elsewhere than among its settings."""


def listed(settings: dict[str, Any], *, without: tuple[str, ...] = ()) -> str:
    """Return settings as `key value, key value`."""
    return ", ".join(f"{key} {_shown(value)}" for key, value in settings.items() if key not in without) or "none"


def _shown(value: Any) -> str:
    return f"({listed(value)})" if isinstance(value, dict) else str(value)


def threat_text(threat: dict[str, Any]) -> str:
    """Return a threat model as `linf, eps 8/255`."""
    return f"{threat['norm']}, eps {threat['eps']}"


def attack_texts(step: Step) -> dict[str, str]:
    """Return of each attack of an attack step how it was made, by its name."""
    found = {}
    for attack in step.spec["attacks"]:
        seen = attack.get("target", "exported_model")
        what = "the exported model" if seen == "exported_model" else f"what {seen} makes of the exported model"
        threat = threat_text(attack.get("threat", step.spec["threat"]))
        found[attack["name"]] = f"{attack['title']}: {listed(attack, without=NAMED)}; {threat}; attacks {what}"
    return found


def facts_of(step: Step, lineage: Lineage) -> Facts:
    """Return what is to be said of a step, by its kind."""
    told = {"train": _train, "attack": _attack, "data": _data, "weights": _weights, "download": _download}
    circumstances = lineage.record(step).values["circumstances"]
    ran = f"{circumstances['seconds']:g} s on {circumstances.get('device', 'cpu')}, "
    ran += f"{circumstances['processor'] or circumstances['machine']}; ended {circumstances['ended']}"
    attempts = circumstances.get("attempt", 1)
    if attempts > 1:
        ran += f"; attempt {attempts}"
    return [*(told[step.kind](step, lineage) if step.kind in told else []), ("Ran", ran)]


def _train(step: Step, lineage: Lineage) -> Facts:
    spec, method = step.spec, step.spec["method"]
    epoch = lineage.record(step).values["circumstances"].get("selected_epoch")
    tuning = method["tuning"]
    facts = [
        ("Method", f"{method['implementation']}; {listed(method['parameters'])}"),
        ("Trains", f"{tuning['implementation']}; {listed(tuning.get('parameters', {}))}" if tuning else "everything"),
        ("Backbone", f"{spec['backbone']['name']}: {spec['backbone']['implementation']}"),
        (
            "Data",
            f"{spec['dataset']['name']}, split {spec['split']}: {spec['dataset']['splits'][spec['split']]} images",
        ),
        ("Threat model", threat_text(spec["threat"])),
        ("Training attack", listed(spec["training_attack"])),
        ("Recipe", listed(spec["recipe"])),
        ("Seed", str(spec["seed"])),
    ]
    return facts + ([("Kept", f"epoch {epoch}, best on the validation split")] if epoch else [])


def _attack(step: Step, _: Lineage) -> Facts:
    spec = step.spec
    first, last = spec["images"]
    return [
        ("Images", f"{first} to {last - 1} of {spec['dataset']}, split {spec['split']}"),
        *(("Attack", text) for text in attack_texts(step).values()),
        ("Seed", str(spec["seed"])),
    ]


def _data(step: Step, lineage: Lineage) -> Facts:
    source = lineage.plan.config.sources[step.id]
    made = [(f"Origin {place}", text) for place, text in enumerate(origin_texts(step, lineage), start=1)]
    return [
        ("Source", source["title"]),
        ("Licence", str(source.get("licence", source.get("terms", "not on record")))),
        *made,
    ]


def _weights(step: Step, lineage: Lineage) -> Facts:
    about = lineage.plan.config.weights[step.id]
    made = [(f"Origin {place}", text) for place, text in enumerate(origin_texts(step, lineage), start=1)]
    return [("Weights", about["title"]), ("Licence", about.get("licence", "not on record")), *made]


def _download(step: Step, lineage: Lineage) -> Facts:
    came = lineage.record(step).values["circumstances"].get("came_from", "elsewhere")
    return [("File", step.spec["file"]["name"]), ("Came from", came)]


def origin_texts(step: Step, lineage: Lineage) -> list[str]:
    """Say of each thing that a source or weights were made from what it is, with its hash."""
    return [
        f"{origin.name}, SHA-256 {origin.sha256}"
        + (f", from {origin.came_from}, {origin.published}" if origin.published else "")
        for origin in lineage.origins(step)
    ]


def published_text(claim: dict[str, Any]) -> str | None:
    """Return a claim's published value as printed; None for an ordering, which has none."""
    if claim["kind"] == "ordering":
        return None
    if claim["value"] == MISSING:
        return "not on record"
    return (
        f"{claim['value']:.{claim.get('decimals', 2)}f}" if isinstance(claim["value"], float) else str(claim["value"])
    )


def tone(verdict: str, *, reproduces: bool) -> str:
    """Return how a verdict is coloured. Green (`good`) is for the papers' own scale: a stand-in shows nothing of it."""
    if verdict in ("reproduced", "holds"):
        return "good" if reproduces else "plain"
    return {"differs": "bad", "does not hold": "bad", "inconclusive": "open"}.get(verdict, "none")
