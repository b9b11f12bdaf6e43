"""`robustft finetune`: a paper's method with its recipe on a model and pictures of one's own, as a project."""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robustft.cli.common import place
from robustft.cli.new_files import write_new
from robustft.errors import RobustftError, lookup

if TYPE_CHECKING:
    from robustft.config.load import Config

BASELINE_OF = "twins"
"""The paper whose recipe a method of config/methods.yaml has."""


def add_finetune(add) -> None:  # type: ignore[no-untyped-def]
    """Add the subcommand to the parser."""
    text = "fine-tune a model of yours on your pictures by a method of the papers, as a project of its own"
    command = add("finetune", text, finetune_command, plans=False)
    command.add_argument("--method", required=True, action="append", help="such as twins_at; several, one by one")
    command.add_argument("--model", required=True, help="a file of weights, or a name of config/weights.yaml")
    command.add_argument("--arch", help="of a file of weights: LIBRARY:NAME such as timm:resnet18, or MODULE:FUNCTION")
    command.add_argument("--normalisation", help="imagenet, none, ..., or MEAN/STD; default: what the library says")
    command.add_argument("--data", required=True, type=place, help="a folder of pictures, FOLDER/CLASS/PICTURE")
    command.add_argument("--size", type=int, help="side in pixels to which pictures are resized and cropped")
    command.add_argument("--eps", default="8/255", help="of the threat model, an exact fraction (default: 8/255)")
    command.add_argument("--norm", default="linf", choices=("linf", "l2"))
    command.add_argument("--epochs", type=int, help="default: the paper's; its milestones move with them")
    command.add_argument("--seeds", type=int, default=1, help="how many (default: 1; three tell methods apart)")
    command.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    command.add_argument("--to", type=place, help="the new project (default: finetune-METHOD)")
    command.add_argument("--no-run", action="store_true", help="only write the project")


def finetune_command(arguments: argparse.Namespace) -> int:  # noqa: RET503 (execv does not return)
    """Write the project, after a check that each method can be applied, and run it."""
    from robustft.config.load import Config
    from robustft.files import ROOT

    config = Config(scale="paper", folder=ROOT / "config")
    owners = {method: owner_of(config, method) for method in arguments.method}
    data = _name(arguments.data.name)
    network, entry = _model(arguments, config)
    spec = _backbone(config, network, entry)
    classes = _classes(arguments.data)
    for method, owner in owners.items():
        refuse_unfit(config.methods(owner)[method], spec, classes=classes)
    folder = arguments.to or Path(f"finetune-{'-'.join(arguments.method)}")
    write_new(_files(arguments, config, owners, data=data, network=network, entry=entry, folder=folder))
    print(f"the project is in {folder}: papers/finetune.yaml says what is trained, and how it is measured")
    if arguments.no_run:
        print(f"  robustft run --project {folder}")
        return 0
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-P", "-m", "robustft", "run", "--project", str(folder)])


def owner_of(config: Config, method: str) -> str | None:
    """Return the paper whose method this is, None for a baseline. Raises ConfigError with the nearest name."""
    owners: dict[str, str | None] = {
        name: paper for paper, document in config.papers.items() for name in document.values.get("methods", {})
    }
    return lookup({**owners, **dict.fromkeys(config.baselines)}, method, kind="method", where="--method")


def refuse_unfit(method: Mapping[str, Any], backbone: dict[str, Any], *, classes: list[str]) -> None:
    """Raise RobustftError with the reason if a method cannot be applied to a network."""
    import torch
    from torch import nn

    from robustft.methods.protocol import build_method
    from robustft.models.classifier import build_classifier

    def refuse(reason: str, to_do: str | None = None) -> RobustftError:
        return RobustftError(f"{method['title']} cannot be applied: {reason}", next_step=to_do)

    if "implementation" not in method:
        raise refuse("it trains nothing; its model is made of other runs", "name the methods that it is made of")
    if method.get("uses_auxiliary"):
        raise refuse("it trains on a second data set too", "write an experiment with `auxiliary` (robustft init)")
    if ".adv_ss_pretraining:" in method["implementation"] or ".contrastive:" in method["implementation"]:
        raise refuse("it is a pre-training, without labels", "fine-tune with `at` from weights that it made")
    texts = [f"a photo of a {name}." for name in classes]
    torch.manual_seed(0)
    model = build_classifier(
        backbone, shape=[len(backbone["normalisation"]["mean"]), 8, 8], classes=len(classes), prompts=texts
    )
    norms = [module for module in model.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    if ".twins:" in method["implementation"] and not norms:
        raise refuse("its two wings differ in batch norm, and the network has none", "choose another method or network")
    reads = getattr(model.head, "transfers", False)
    if not reads and any(f".{name}:" in method["implementation"] for name in ("pmg_aft", "fare")):
        raise refuse("it needs a text tower, and the network has none", "choose a CLIP of config/weights.yaml")
    if method.get("pretraining") and method.get("from"):
        raise refuse("it starts from other runs of its paper")
    try:
        built = build_method({"name": "checked", "parameters": {}, **method})
        if not built.uses_source:
            built.prepare(model)
    except RobustftError as error:
        raise refuse(str(error).splitlines()[0], "choose another method or network") from error


def _model(arguments: argparse.Namespace, config: Config) -> tuple[str, dict[str, Any] | None]:
    """Return the name of the weights, and their entry in robustft.yaml for a file of this machine."""
    if arguments.model in config.weights:
        return arguments.model, None
    from robustft.models.foreign.load import load_model

    if arguments.arch is None:
        known = f"a file of weights with --arch, or one of {', '.join(sorted(config.weights)[:6])}, ..."
        raise RobustftError("nothing says which network the weights are for", where="--model", expected=known)
    loaded = load_model(arguments.model, arch=arguments.arch, normalisation=arguments.normalisation)
    stated = loaded.normalisation.for_channels(3)
    print(f"normalisation: {stated}")
    side = arguments.size or _first_size(arguments.data)
    entry = {
        "checkpoint": str(Path(arguments.model).expanduser().absolute()),
        "arch": arguments.arch,
        "mean": list(stated.mean),
        "std": list(stated.std),
        "size": side,
        **_measured(loaded.model, side),
    }
    return _name(Path(arguments.model).stem), entry


def _measured(model: Any, side: int) -> dict[str, Any]:
    """Return the work of one forward pass in 1e9 operations, and the number of weights."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(torch.zeros(1, 3, side, side))
    work = counter.get_total_flops() / 1e9
    return {"gflop": round(work, 6), "parameters": sum(one.numel() for one in model.parameters())}


def _first_size(folder: Path) -> int:
    from robustft.data.own.folder import read_folder

    return min(read_folder(folder, hashed=False).size_of(0))


def _classes(folder: Path) -> list[str]:
    from robustft.data.own.folder import read_folder

    if not folder.is_dir():
        raise RobustftError("there is no such folder of pictures", where=folder, expected="FOLDER/CLASS/PICTURE")
    return list(read_folder(folder, hashed=False).classes or ())


def _backbone(config: Config, network: str, entry: dict[str, Any] | None) -> dict[str, Any]:
    """Return what builds the network."""
    if entry is None:
        backbone: dict[str, Any] = config.backbones[config.weights[network]["backbone"]]
        return backbone
    return {
        "implementation": "robustft.models.backbones.library:LibraryBackbone",
        "parameters": {"arch": entry["arch"]},
        "normalisation": {"mean": entry["mean"], "std": entry["std"]},
    }


def _files(
    arguments: argparse.Namespace,
    config: Config,
    owners: Mapping[str, str | None],
    *,
    data: str,
    network: str,
    entry: dict[str, Any] | None,
    folder: Path,
) -> dict[Path, str]:
    """Return the files of the project."""
    import yaml

    paper = next(filter(None, owners.values()), BASELINE_OF)
    base = "main" if "main" in config.papers[paper].values["experiments"] else next(
        iter(config.papers[paper].values["experiments"])
    )  # fmt: skip
    values = config.papers[paper].values["experiments"][base]
    splits = {"validation": 0.1, "test": 0.2}
    project: dict[str, Any] = {
        "scale": "own",
        "data": {data: {"folder": str(arguments.data.absolute()), "splits": splits}},
    }
    if arguments.size:
        project["data"][data]["size"] = arguments.size
    if entry is not None:
        project["weights"] = {network: entry}
    experiment = {
        "extends": f"{paper}/{base}",
        "title": "Fine-tuned models",
        "datasets": [data],
        "backbone": network if entry is not None else config.weights[network]["backbone"],
        "pretraining": network,
        "seeds": list(range(arguments.seeds)),
        "methods": list(owners),
        "recipe": _recipe(values["recipe"], arguments.epochs),
        "evaluations": {
            **dict.fromkeys(values["evaluations"]),
            "robustness": {
                "attacks": ["clean", "pgd20", "autoattack"],
                "split": "test",
                "shard_images": 100,
                "parts": 1,
            },
        },
    }
    content = {
        "paper": "finetune",
        "title": f"{', '.join(owners)} on {data}",
        "threat": {"norm": arguments.norm, "eps": arguments.eps},
        "experiments": {"main": experiment},
        "methods": {
            method: _method(config.methods(owner)[method], f"{owner}/{method}", values["recipe"], arguments.epochs)
            for method, owner in owners.items()
            if owner is not None
        },
    }
    files = {
        folder / "robustft.yaml": yaml.safe_dump(project, sort_keys=False),
        folder / "papers" / "finetune.yaml": yaml.safe_dump(content, sort_keys=False),
        folder / ".gitignore": "/results/\n/logs/\n/scratch/\n.snakemake/\n",
    }
    if arguments.device != "cpu":
        files[folder / "scales" / "own.yaml"] = f"extends: own\ndevice: {arguments.device}\n"
    return files


def _method(method: Mapping[str, Any], base: str, recipe: Mapping[str, Any], epochs: int | None) -> dict[str, Any]:
    """Return a method laid over the paper's: with the network of the user, and as many epochs as are asked for."""
    own = {**recipe, **method.get("recipe", {})}
    return {
        "extends": base,
        **({"pretraining": None} if "pretraining" in method else {}),
        **({"recipe": _recipe(own, epochs)} if epochs is not None and "epochs" in method.get("recipe", {}) else {}),
    }


def _recipe(recipe: Mapping[str, Any], epochs: int | None) -> dict[str, Any]:
    """Return what of a recipe changes with the number of epochs."""
    if epochs is None:
        return {}
    moved = sorted({max(1, round(one * epochs / recipe["epochs"])) for one in recipe["milestones"]})
    return {"epochs": epochs, "milestones": [one for one in moved if one < epochs]}


def _name(text: str) -> str:
    """Return a name for the configuration: small letters, digits and underscores."""
    return re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_") or "mine"
