"""One evaluation from end to end: what is missing is attacked, everything is judged, and the card is written."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from robustft.assess.folder import FORM, Folder, ledger_name
from robustft.assess.images import ImageSet
from robustft.assess.request import Settings, attack_entries, check_norm
from robustft.assess.results import Results, read_results, write_results
from robustft.assess.subject import PROBED, Fitted, fitted, model_probes
from robustft.attacks.pgd import evaluating
from robustft.attacks.threat import ThreatModel
from robustft.evaluate.probes import Probe
from robustft.evaluate.step import Evaluator
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
    with left_as_it_was(loaded.model), device_for(settings.device, threads=settings.threads, log=log) as device:
        torch.set_deterministic_debug_mode("warn")  # a model of anyone's may hold what has no deterministic kernel
        log(f"model: {loaded.title}")
        log(f"normalisation: {loaded.normalisation}")
        for note in loaded.notes:
            log(note)
        fit = fitted(loaded, images, device, side=side)
        resized = fit.identity["images"]["side"]
        log(f"images: {images}" + (f", resized and cut to {resized} x {resized} pixels" if resized else ""))
        if not fit.differentiable:
            log("the model has no gradient: gradient attacks stand still, and the card will say so")
        folder = Folder(to, fit.identity, modules=modules)
        plans = ledgers_of(settings)
        about = {
            "form": FORM,
            "identity": fit.identity,
            "files": loaded.files,
            "title": loaded.title,
            "normalisation": str(loaded.normalisation),
            "notes": list(loaded.notes),
            "images": str(images),
            "data": images.title,
            "norm": settings.norm,
            "device": describe(device),
        }
        folder.write_index(about)
        _attack(fit, folder, plans, settings, device, log)
        _probe(fit, folder, settings, log)
        folder.write_index(about)
    results = read_results(to)
    write_results(results)
    return results


@contextlib.contextmanager
def left_as_it_was(model: nn.Module) -> Iterator[None]:
    """Put back, afterwards, the modes and `requires_grad` of a model, and torch's settings of this process."""
    threads, determinism = torch.get_num_threads(), torch.get_deterministic_debug_mode()
    benchmark, tf32 = torch.backends.cudnn.benchmark, torch.backends.cudnn.allow_tf32
    learning = [parameter for parameter in model.parameters() if parameter.requires_grad]
    with evaluating(model):
        try:
            yield
        finally:
            for parameter in learning:
                parameter.requires_grad_(True)
            torch.set_num_threads(threads)
            torch.set_deterministic_debug_mode(determinism)
            torch.backends.cudnn.benchmark, torch.backends.cudnn.allow_tf32 = benchmark, tf32


def ledgers_of(settings: Settings) -> list[Plan]:
    """Return every ledger that is asked for: the clean one, then each attack at each eps."""
    plans = []
    for attack in attack_entries(settings.attacks):
        own = attack.get("threat")
        for eps in settings.eps:
            threat = {"norm": settings.norm, "eps": str(eps)}
            if attack["algorithm"] == "none":
                threat = {"norm": "linf", "eps": "0"}  # whatever is asked for, so that it is computed once
            elif own:
                threat = {key: str(own[key]) for key in threat}
            plans.append(Plan(ledger_name(attack["name"], threat["norm"], threat["eps"]), attack, threat))
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


def _probe(fit: Fitted, folder: Folder, settings: Settings, log: Log) -> None:
    """Probe the model and its gradients; stored values are not made again."""
    x, y = fit.opened.take(slice(0, min(PROBED, len(fit.images.labels))))
    with torch.no_grad():
        right = fit.model(x).argmax(1) == y
    # Gradients are probed at the largest eps alone: what masks them does so at every eps.
    threat = ThreatModel(settings.norm, max(settings.eps))
    probe = Probe(fit.model, x[right], y[right], threat, settings.seed)

    def under() -> dict[str, Any]:
        log(f"probing gradients at {threat}")
        return {"images": len(probe.x), **probe.values()}

    def of_model() -> dict[str, Any]:
        adversarial = probe.adversarial() if len(probe.x) else x[:0]
        return {"images": len(x) + len(adversarial), **model_probes(fit, adversarial)}

    key = {"threat": str(threat), "seed": settings.seed}
    folder.stored(f"{threat.norm}-{str(threat.eps).replace('/', '_')}", key, under)
    folder.stored("model", {"norm": settings.norm, "seed": settings.seed}, of_model)
