"""`robustft evaluate`: a checkpoint of anyone's on images of anyone's."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from robustft.cli.common import place

HERE = Path.cwd()
"""Where the command was typed: modules of the user's are looked for there."""


def add_evaluate(add: Callable[..., argparse.ArgumentParser]) -> None:
    """Add the command to the command line."""
    text = "attack a model of your own on images of your own, and say on a card whether to trust the numbers"
    command = add("evaluate", text, evaluate_command, plans=False)
    command.epilog = "Exit status: 0 nothing speaks against the numbers, 1 a check failed, 2 an error. docs/evaluate.md"
    command.add_argument(
        "--model", required=True, action="append", metavar="FILE",
        help="a checkpoint, a file of weights (.pt, .pth, .ckpt, .safetensors), or MODULE:FUNCTION; "
        "several checkpoints of one training give the front over its epochs",
    )  # fmt: skip
    command.add_argument(
        "--arch", help="timm:NAME, torchvision:NAME, open_clip:NAME, robustbench:NAME, MODULE:FUNCTION"
    )
    command.add_argument("--weights", type=place, metavar="FILE", help="weights of the model that a function builds")
    command.add_argument("--entry", metavar="NAME", help="entry of the file that holds the weights, such as model")
    command.add_argument(
        "--normalisation", "--normalization", metavar="NAME|MEAN/STD",
        help="none, half, imagenet, cifar10, cifar100, clip, mnist, bytes, or 0.49,0.48,0.45/0.25,0.24,0.26",
    )  # fmt: skip
    command.add_argument("--data", required=True, help="a folder of class folders, an .npz, or a name of the catalogue")
    command.add_argument("--split", help="such as test (default: test if there is one, else all)")
    command.add_argument("--images", type=int, metavar="N", help="the first N of the split (default: all)")
    command.add_argument("--size", type=int, metavar="PIXELS", help="resize pictures and cut the middle square")
    command.add_argument("--norm", default="linf", help="linf (default), l2 or l1")
    command.add_argument("--eps", default="8/255", help="such as 8/255, a list 2/255,4/255, or a range 1/255..16/255")
    command.add_argument("--attacks", help="names of config/attacks.yaml (default: pgd20,cw,autoattack)")
    command.add_argument(
        "--device", default="auto", help="auto (default), cpu or cuda; one device, several GPUs not yet"
    )
    command.add_argument("--threads", type=int, help="of the CPU (default: all cores of this process)")
    command.add_argument("--shard", type=int, default=250, help="images attacked at a time (default 250)")
    command.add_argument("--seed", type=int, default=0)
    command.add_argument("--template", help="text of a class for open_clip, such as 'a photo of a {}.'")
    command.add_argument("--to", type=place, metavar="FOLDER", help="default: evaluations/MODEL-DATA")


def _here(name: str) -> str:
    """Return the path of a file or folder, as seen from where the command was typed; another name stays as it is."""
    path = HERE / Path(name).expanduser()
    return str(path) if path.exists() and Path.cwd() != HERE else name


def evaluate_command(arguments: argparse.Namespace) -> int:
    """Evaluate one model, or several checkpoints of one training. The exit status is 1 if a check failed."""
    print("robustft evaluate: loading", file=sys.stderr, flush=True)
    sys.path.insert(0, str(HERE))
    from robustft.assess.card import as_text
    from robustft.assess.evaluation import evaluate_files

    def log(text: str) -> None:
        print(f"[evaluate] {text}", file=sys.stderr, flush=True)

    named = vars(arguments)
    keys = (
        "arch",
        "weights",
        "entry",
        "normalisation",
        "split",
        "images",
        "norm",
        "eps",
        "device",
        "seed",
        "shard",
        "to",
    )
    options: dict[str, Any] = {key: named[key] for key in keys}
    options["attacks"] = arguments.attacks.split(",") if arguments.attacks else None
    options["threads"] = arguments.threads or len(os.sched_getaffinity(0))
    models, data = [_here(one) for one in arguments.model], _here(arguments.data)
    found = evaluate_files(models, data, size=arguments.size, template=arguments.template, log=log, **options)
    for results in found:
        print(as_text(results))
    return 0 if all(results.trusted for results in found) else 1
