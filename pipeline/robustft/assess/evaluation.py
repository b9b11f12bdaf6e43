"""The two ways in: files named on the command line, and a module in Python."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from robustft.assess.front import write_front
from robustft.assess.images import find_images
from robustft.assess.request import DEFAULT_ATTACKS, Eps, Settings, default_folder, radii
from robustft.assess.results import Results
from robustft.assess.run import evaluate_model
from robustft.errors import RobustftError
from robustft.models.foreign.load import load_model, load_module
from robustft.models.foreign.text_classifier import TEMPLATE

Log = Callable[[str], None]


def settings_of(
    *,
    norm: str,
    eps: Eps | Sequence[Eps],
    attacks: Sequence[str] | None,
    images: int | None,
    split: str | None,
    device: str,
    seed: int,
    shard: int,
    threads: int | None,
) -> Settings:
    """Return checked settings. Raises RobustftError for a device that is not there, or a number that makes no sense."""
    kind = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
    if kind not in ("cpu", "cuda"):
        raise RobustftError("unknown device", expected="auto, cpu or cuda", observed=device)
    if shard < 1 or (threads is not None and threads < 1):
        raise RobustftError("--shard and --threads must be at least 1", observed=f"{shard}, {threads}")
    return Settings(
        norm=norm.lower(),
        eps=radii(eps),
        attacks=tuple(attacks or DEFAULT_ATTACKS),
        images=images,
        split=split,
        device=kind,
        seed=seed,
        shard=shard,
        threads=threads or torch.get_num_threads(),
    )


def evaluate_files(
    models: Sequence[str],
    data: str,
    *,
    to: Path | None,
    arch: str | None,
    weights: Path | None,
    entry: str | None,
    normalisation: str | None,
    template: str | None,
    size: int | None,
    log: Log,
    **options: Any,
) -> list[Results]:
    """Evaluate each of some models on the same images. Several are checkpoints of one training: they give a front."""
    settings = settings_of(**options)
    images = find_images(data, split=settings.split, images=settings.images, log=log)
    found = []
    for number, model in enumerate(models, start=1):
        loaded = load_model(
            model,
            arch=arch,
            weights=weights,
            normalisation=normalisation,
            entry=entry,
            classes=images.classes,
            template=template or TEMPLATE,
        )
        folder = to or default_folder(loaded.title if ":" in model else Path(model).stem, images.title)
        if len(models) > 1:
            loaded = replace(loaded, title=f"{loaded.title} ({Path(model).stem})")
            folder = (to or Path("evaluations") / f"front-{images.title}") / f"{number:03d}-{Path(model).stem}"
        own = [name.split(":")[0] for name in (model, arch or "") if ":" in name]
        modules = tuple(name for name in own if name not in ("timm", "torchvision", "open_clip", "robustbench"))
        found.append(evaluate_model(loaded, images, settings, folder, side=size, modules=modules, log=log))
    if len(models) > 1:
        area = write_front(found, found[0].folder.parent)
        log(f"front over {len(found)} checkpoints: area {area:.4f}; {found[0].folder.parent}/front.svg")
    return found


def evaluate(
    model: nn.Module | str | Path,
    data: Any,
    *,
    norm: str = "linf",
    eps: Eps | Sequence[Eps] = "8/255",
    attacks: Sequence[str] | None = None,
    images: int | None = None,
    split: str | None = None,
    arch: str | None = None,
    normalisation: str | None = None,
    to: str | Path | None = None,
    device: str = "cpu",
    seed: int = 0,
    shard: int = 250,
    threads: int | None = None,
    log: Log | None = None,
) -> Results:
    """Attack a model on images and judge the accuracies: `robustft evaluate` from Python.

    Args:
        model: a torch.nn.Module from images (n, C, H, W) in [0, 1] to logits (n, K), or what --model takes. A module is
            attacked in evaluation mode and left as it was.
        data: (images, labels) as arrays or tensors, a folder of class folders, an .npz, or a name of the catalogue.
        norm: linf, l2 or l1.
        eps: such as "8/255"; several as a list, or as "1/255..16/255".
        attacks: names of config/attacks.yaml; clean, PGD-20 on cross-entropy and on the margin, and AutoAttack.
        images: how many of the split.
        split: of the images.
        arch: the architecture, for a file of weights.
        normalisation: put before the model; a module has its own unless it is named.
        to: the folder for ledgers, records and cards; what it holds is not computed again. None keeps nothing.
        device: cpu, cuda or auto.
        seed: of every random draw.
        shard: images that are attacked at a time.
        threads: of the CPU.
        log: gets each line of progress; silent by default.

    Returns:
        numbers, `headline`, `trusted`, `reasons`, `findings` and `card`; `accuracy("autoattack")` is one number.

    Raises RobustftError if model, images and labels do not fit.

    >>> import robustft, torch
    >>> model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 5))
    >>> x, y = torch.rand(20, 1, 8, 8), torch.arange(20) % 5
    >>> found = robustft.evaluate(model, (x, y), norm="linf", eps="8/255", attacks=["pgd20"])
    >>> found.accuracy("pgd20") <= found.accuracy("clean")
    True
    """
    quiet: Log = log or (lambda _: None)
    settings = settings_of(
        norm=norm, eps=eps, attacks=attacks, images=images, split=split, device=device, seed=seed, shard=shard,
        threads=threads,
    )  # fmt: skip
    chosen = find_images(data, split=split, images=images, log=quiet)
    if isinstance(model, nn.Module):
        loaded = load_module(model, normalisation=normalisation)
    else:
        loaded = load_model(model, arch=arch, normalisation=normalisation, classes=chosen.classes)
    if to is not None:
        return evaluate_model(loaded, chosen, settings, Path(to), log=quiet)
    with tempfile.TemporaryDirectory(prefix="robustft-evaluate-") as folder:
        return evaluate_model(loaded, chosen, settings, Path(folder), log=quiet)
