"""Part 2: training steps and AutoAttack against the textbook's, PGD alone, and one step of PGD as a CUDA graph."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, replace
from fractions import Fraction
from functools import partial
from typing import Any

import torch

from benchmarks import autoattack, training_step
from benchmarks.cases import CASES
from benchmarks.gpu.machine import matrix_products, seconds
from benchmarks.sides import Problem, Setting
from robustft.attacks.autoattack import AutoAttackShard
from robustft.attacks.inner_maximization import attack_mode
from robustft.attacks.objectives import cross_entropy
from robustft.attacks.pgd import Budget, pgd
from robustft.attacks.threat import ThreatModel

ORDER = (
    *("resnet18_at", "resnet50_at", "vit_s_adapt", "clip_pmg_aft"),
    *("resnet18_twins", "vit_s_hyperat", "resnet18_trades"),
)
"""The cases that say most come first: the part may end before the last ones."""

BATCH = 256
BUDGET = Budget(ThreatModel("linf", Fraction(8, 255)), 10, Fraction(1, 4))


def pieces(device: torch.device, *, quick: bool) -> dict[str, Callable[[], Any]]:
    """Return the pieces of the part."""
    cases = ("resnet18_at",) if quick else ORDER
    found: dict[str, Callable[[], Any]] = {name: partial(step, name, device, quick=quick) for name in cases}
    found["pgd10"] = partial(pgd_rate, device, batch=1 if quick else 512)
    found["autoattack"] = partial(against_the_driver, device, quick=quick)
    if device.type == "cuda":
        found["cuda_graph"] = partial(cuda_graph, device)
    return found


def step(name: str, device: torch.device, *, quick: bool) -> list[dict[str, Any]]:
    """Return the rows of one training step against the textbook's, both under bfloat16 autocast on a GPU.

    The share is of the dense bfloat16 rate that this machine reached just before.
    """
    on_gpu = device.type == "cuda"
    rows = training_step.rows(
        quick=quick,
        cases=[name],
        setting=Setting(device.type, torch.get_num_threads(), amp=on_gpu),
        batch=BATCH if on_gpu else 2 if quick else None,
        optimizations=False,
        peak=matrix_products(device, size=8192)["bfloat16"] if on_gpu else None,
    )
    return [asdict(row) for row in rows]


def pgd_rate(device: torch.device, *, batch: int) -> float:
    """Return images a second of PGD-10 on ResNet-18, in evaluation mode, in the precision that evaluations have."""
    model, x, y = _resnet18(device, batch)
    with attack_mode(model, x):
        run = partial(pgd, model, x, budget=BUDGET, objective=partial(cross_entropy, y=y), start="none")
        return batch / min(seconds(run, device))


def _resnet18(device: torch.device, batch: int) -> tuple[Any, torch.Tensor, torch.Tensor]:
    problem = Problem.of(replace(CASES["resnet18_at"], batch=batch))
    return problem.initial.to(device).eval(), problem.pixels.to(device).float() / 255, problem.labels.to(device)


def against_the_driver(device: torch.device, *, quick: bool) -> dict[str, Any]:
    """Return seconds of AutoAttack by the package's driver and by us, and on how many images they agree."""
    from pyautoattack import AutoAttack

    case = (
        autoattack.QUICK[-1] if quick else replace(autoattack.LARGE, backbone="resnet10v2_cifar", scale=4, channels=3)
    )
    case = replace(case, queries=20 if quick else 1000, steps=20 if quick else case.steps)
    x, y = (one.to(device) for one in autoattack.digits(case, train=False))
    model = autoattack.trained(case).to(device)
    classes = autoattack.targeted_classes(autoattack.CLASSES)

    def theirs() -> torch.Tensor:
        driver = AutoAttack(model, device=device, norm="Linf", eps=float(case.eps), seed=1, version="standard")
        driver.apgd_targeted.n_target_classes = driver.fab.n_target_classes = classes
        driver.square.n_queries = case.queries
        return driver.run_standard_evaluation(x, y, batch_size=len(x))[1].to(device) == y

    def ours() -> torch.Tensor:
        shard = AutoAttackShard(
            model,
            threat=case.threat,
            classes=autoattack.CLASSES,
            seed=1,
            device=device,
            square_queries=case.queries,
        )
        return shard.run(x, y, shard.clean(x)).robust(y)

    found: dict[str, Any] = {"case": case.name, "images": len(x)}
    kept = {}
    for name, run in (("driver", theirs), ("ours", ours)):
        model.requires_grad_(name == "driver")
        training_step.allow_any_kernel(name == "driver")
        start = time.perf_counter()
        kept[name] = run().cpu()
        found[f"{name}_s"] = time.perf_counter() - start
    training_step.allow_any_kernel(False)
    return {**found, "equal_outcomes": int((kept["driver"] == kept["ours"]).sum()), "hold": int(kept["ours"].sum())}


def cuda_graph(device: torch.device) -> dict[str, float]:
    """Return seconds of one step of PGD on ResNet-18, launched kernel by kernel and as one CUDA graph."""
    found = {}
    for batch in (32, 256):
        model, x, y = _resnet18(device, batch)
        model.requires_grad_(False)
        image = x.clone().requires_grad_()

        def one_step(model: Any = model, x: torch.Tensor = x, y: torch.Tensor = y, image: torch.Tensor = image) -> None:
            gradient = torch.autograd.grad(cross_entropy(model(image), y).sum(), image)[0]
            with torch.no_grad():
                image.copy_(BUDGET.threat.project(image + gradient.sign() * (2 / 255), x).clamp(0, 1))

        found[f"launched_{batch}"] = min(seconds(one_step, device))
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(3):
                one_step()
        torch.cuda.current_stream().wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            one_step()
        found[f"graph_{batch}"] = min(seconds(graph.replay, device))
    return found
