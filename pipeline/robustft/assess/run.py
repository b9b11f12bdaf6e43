"""One evaluation from end to end: what is missing is attacked, everything is judged, and the card is written."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from robustft.assess.folder import FORM, INDEX, Folder, ledger_name
from robustft.assess.images import ImageSet
from robustft.assess.request import Settings, attack_entries, check_norm
from robustft.assess.results import Results, read_results, write_results
from robustft.assess.subject import PROBED, Fitted, fitted, model_probes
from robustft.attacks.threat import ThreatModel
from robustft.evaluate.probes import Probe
from robustft.evaluate.step import Evaluator
from robustft.files import write_json
from robustft.models.foreign.load import Loaded
from robustft.runtime.context import Context
from robustft.runtime.device import describe, device_for
from robustft.speed.optimizations import Optimizations, optimizations_of

Log = Callable[[str], None]


@dataclass(frozen=True)
class Plan:
    """One ledger: an attack under a threat."""

    name: str
    attack: dict[str, Any]
    threat: dict[str, str]


def evaluate_model(
    loaded: Loaded,
    images: ImageSet,
    settings: Settings,
    to: Path,
    *,
    side: int | None = None,
    modules: tuple[str, ...] = (),
    log: Log = print,
) -> Results:
    """Attack a model on images, judge it, and write the folder `to`. Return what was found.

    Args:
        loaded: the model.
        images: the images.
        settings: norm, eps, attacks, device.
        to: the folder; what it holds of the same model and images is not computed again.
        side: of the images in pixels, to which pictures are resized.
        modules: further modules whose source decides the numbers: those of the user's model.
        log: gets each line of progress.
    """
    check_norm(settings.norm, settings.attacks)
    with device_for(settings.device, threads=settings.threads, log=log) as device:
        log(f"model: {loaded.title}")
        log(f"normalisation: {loaded.normalisation}")
        for note in loaded.notes:
            log(note)
        fit = fitted(loaded, images, device, side=side)
        log(f"images: {images}")
        if not fit.differentiable:
            log("the model has no gradient: gradient attacks stand still, and the card will say so")
        folder = Folder(to, fit.identity, modules=modules)
        plans = ledgers_of(settings)
        _attack(fit, folder, plans, settings, device, log)
        probes = _probe(fit, folder, settings, log)
        index = {
            "form": FORM,
            "identity": fit.identity,
            "title": loaded.title,
            "normalisation": str(loaded.normalisation),
            "notes": list(loaded.notes),
            "images": str(images),
            "data": images.title,
            "norm": settings.norm,
            "ledgers": sorted({plan.name for plan in plans} | _earlier(folder)),
            "probes": sorted({*probes, *_earlier_probes(folder)}),
            "device": describe(device),
        }
        write_json(to / INDEX, index)
    results = read_results(to)
    write_results(results)
    return results


def ledgers_of(settings: Settings) -> list[Plan]:
    """Return every ledger that is asked for: the clean one, then each attack at each eps."""
    plans = []
    for attack in attack_entries(settings.attacks):
        own = attack.get("threat")
        for eps in settings.eps:
            threat = {"norm": settings.norm, "eps": str(eps)}
            shown = {**threat, **{key: str(value) for key, value in (own or {}).items() if key in threat}}
            plans.append(Plan(ledger_name(attack["name"], shown["norm"], shown["eps"]), attack, threat))
            if own or attack["algorithm"] == "none":
                break
    return plans


def _attack(fit: Fitted, folder: Folder, plans: list[Plan], settings: Settings, device: torch.device, log: Log) -> None:
    for number, plan in enumerate(plans, start=1):
        spec = _spec(fit, plan, settings)
        if folder.has(plan.name, spec):
            log(f"{plan.name} is there ({number} of {len(plans)})")
            continue

        def work(context: Context, spec: dict[str, Any] = spec) -> None:
            context.facts.update(describe(device))
            Evaluator(spec, context, fit.subject, device).run()

        told = f"[{number} of {len(plans)}] "
        folder.make(plan.name, spec, work, lambda text, told=told: log(told + text))  # type: ignore[misc]
        log(f"{told}{plan.name}: {100 * folder.outcome(plan.name).correct.mean():.1f} %")


def _spec(fit: Fitted, plan: Plan, settings: Settings) -> dict[str, Any]:
    optimizations: Optimizations = optimizations_of(fit.loaded.model)
    attack = {key: value for key, value in plan.attack.items() if key not in ("title", "checks", "source")}
    return {
        "identity": fit.identity,
        "images": [0, len(fit.images.labels)],
        "shard_images": settings.shard,
        "threat": plan.threat,
        "attacks": [attack],
        "seed": settings.seed,
        "optimizations": vars(optimizations),
    }


def _probe(fit: Fitted, folder: Folder, settings: Settings, log: Log) -> dict[str, dict[str, Any]]:
    """Probe the model, and its gradients under each threat; stored values are not made again."""
    x, y = fit.opened.take(slice(0, min(PROBED, len(fit.images.labels))))
    with torch.no_grad():
        right = fit.model(x).argmax(1) == y
    probes = {}
    for eps in settings.eps:
        threat = ThreatModel(settings.norm, eps)
        name = f"{settings.norm}-{str(eps).replace('/', '_')}"
        probe = Probe(fit.model, x[right], y[right], threat, settings.seed)

        def under(probe: Probe = probe) -> dict[str, Any]:
            log(f"probing gradients at {probe.threat}")
            return {"images": len(probe.x), **probe.values()}

        probes[name] = folder.stored(name, {"threat": str(threat), "seed": settings.seed}, under)

    def of_model() -> dict[str, Any]:
        largest = Probe(fit.model, x[right], y[right], ThreatModel(settings.norm, max(settings.eps)), settings.seed)
        adversarial = largest.adversarial() if len(largest.x) else x[:0]
        return {"images": len(x) + len(adversarial), **model_probes(fit, adversarial)}

    probes["model"] = folder.stored("model", {"norm": settings.norm, "seed": settings.seed}, of_model)
    return probes


def _earlier(folder: Folder) -> set[str]:
    """Return the ledgers that earlier evaluations of the same model and images have left in a folder."""
    return {path.stem for path in (folder.path / "ledgers").glob("*.parquet")}


def _earlier_probes(folder: Folder) -> set[str]:
    return {path.stem for path in (folder.path / "probes").glob("*.json")}
