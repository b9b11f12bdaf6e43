"""How many image passes a step takes: the part of the cost model that holds on every machine.

| pass | what goes through the backbone | work, of one forward pass |
| --- | --- | --- |
| forward | an image, no gradient | 1 |
| attack | an image, and the gradient with respect to the image | 2 |
| learn | an image, and the gradient with respect to the weights | 3 |

Small beside k steps of an attack and not counted: heads and text towers, the optimiser's step, the diagnostics'
gradients, making the LoRA of a hypernetwork (once a batch).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import ceil
from typing import Any

FLOPS = {"forward": 1, "attack": 2, "learn": 3}
"""Work of each kind of pass in forward passes: each gradient of a layer, by input or by weight, costs one more."""

CLEAN_SHARE, ROBUST_SHARE = 0.8, 0.5
"""Shares of images that reach AutoAttack's first attack and its others; an assumption."""

ITERATIONS, SQUARE_QUERIES = 100, 5000
"""Settings of standard AutoAttack."""

CHECKED = 64
"""Images on which each evaluation first checks the model (robustft/evaluate/checks.py)."""

FROZEN = (
    "robustft.models.tunings.prompts:PromptTuning",
    "robustft.models.tunings.lora:Lora",
    "robustft.models.tunings.lora:FullLora",
)
"""Tunings that freeze the weights of the backbone: a learn pass costs as much as an attack pass."""

ONE_MODEL = (
    "robustft.models.tunings.merging:uniform",
    "robustft.models.tunings.merging:learnable",
    "robustft.models.tunings.hypernetwork:folded",
)
"""Derivations that make one network of several checkpoints. Any other derivation counts as running all of them."""


@dataclass(frozen=True)
class Passes:
    """How often one image goes through the backbone, by kind of pass."""

    forward: float = 0
    attack: float = 0
    learn: float = 0

    def __add__(self, other: Passes) -> Passes:
        return Passes(self.forward + other.forward, self.attack + other.attack, self.learn + other.learn)

    def __mul__(self, factor: float) -> Passes:
        return Passes(self.forward * factor, self.attack * factor, self.learn * factor)

    @property
    def flops(self) -> float:
        """The work in forward passes."""
        return sum(getattr(self, kind) * work for kind, work in FLOPS.items())


@dataclass(frozen=True)
class Work:
    """Passes of `images` images in batches of `batch`. An input is `size` times as long as the backbone's own."""

    passes: Passes
    images: float
    batch: float
    size: float = 1.0


Rule = Callable[[dict[str, Any], int], Passes]
"""From a method's parameters and the steps of its training attack to the passes of one training image."""


def _pretext(parameters: dict[str, Any], steps: int) -> Passes:
    clean, adversarial = bool(parameters["clean"]), bool(parameters["adversarial"])
    return Passes(attack=steps * adversarial, learn=clean + adversarial)


def _ensemble(parameters: dict[str, Any], steps: int) -> Passes:
    """Three tasks. Their gradients' diversity needs second derivatives; the factors are counts on a ResNet-18v2."""
    attack_factor, learn_factor = (2.5 if parameters["attack_diversity"] else 1), (2 if parameters["diversity"] else 1)
    return Passes(attack=3 * steps * attack_factor, learn=3 * (1 + learn_factor))


def _hyperat(parameters: dict[str, Any], steps: int) -> Passes:
    """The mean over the defences: each step draws one of them."""
    defences = list(parameters["defences"].values())
    each = [method_passes(d["implementation"], d.get("parameters", {}), steps) for d in defences]
    return sum(each, Passes()) * (1 / len(each))


def _kl_start(parameters: dict[str, Any]) -> int:
    """A KL attack needs one forward pass of the clean image."""
    return int(parameters["attack_loss"] == "kl")


def _repeated(parameters: dict[str, Any]) -> int:
    """A second pass of the same images moves running statistics; a network without batch norm is spared it."""
    return max(0, len(parameters.get("passes", ())) - 2)


RULES: dict[str, Rule] = {
    "standard:Standard": lambda p, k: Passes(learn=1),
    "linear_probe:LinearProbe": lambda p, k: Passes(forward=1, attack=k),
    "adversarial_training:AdversarialTraining": lambda p, k: Passes(attack=k, learn=1),
    "trades:Trades": lambda p, k: Passes(forward=_kl_start(p) + _repeated(p), attack=k, learn=2),
    "mart:Mart": lambda p, k: Passes(forward=_repeated(p), attack=k, learn=2),
    "n_fgsm:NFgsm": lambda p, k: Passes(attack=1, learn=1),
    "lwf:LwF": lambda p, k: Passes(forward=1, attack=k, learn=1),
    # Each batch comes with as many images of the auxiliary data set.
    "joint_finetuning:JointFinetuning": lambda p, k: Passes(attack=2 * k, learn=2),
    "twins:TwinsAT": lambda p, k: Passes(attack=k, learn=1),
    "twins:TwinsTrades": lambda p, k: Passes(forward=_kl_start(p) + _repeated(p), attack=k, learn=2),
    "adapt:AdaptCE": lambda p, k: Passes(attack=k, learn=2),
    "adapt:AdaptKL": lambda p, k: Passes(attack=k, learn=2),
    "prm:ArdPrm": lambda p, k: Passes(attack=k, learn=1),
    "hyperat:HyperAT": _hyperat,
    # The frozen original sees the adversarial image.
    "pmg_aft:PmgAft": lambda p, k: Passes(forward=1, attack=k, learn=2),
    # The frozen original's embedding is computed for the attack and again for the loss.
    "fare:Fare": lambda p, k: Passes(forward=2, attack=k, learn=1),
    "contrastive:Contrastive": lambda p, k: Passes(attack=k * bool(p["adversarial"]), learn=1),
    "adv_ss_pretraining:Rotation": _pretext,
    "adv_ss_pretraining:Jigsaw": _pretext,
    "adv_ss_pretraining:Selfie": _pretext,
    "adv_ss_pretraining:EnsemblePretraining": _ensemble,
}
"""For each method, `module:class` within robustft.methods."""


def method_passes(implementation: str, parameters: dict[str, Any], steps: int) -> Passes:
    """Return the passes of one image in a training step; a method without a rule counts as adversarial training."""
    rule = RULES.get(
        implementation.removeprefix("robustft.methods."), RULES["adversarial_training:AdversarialTraining"]
    )
    return rule(parameters, steps)


def has_rule(implementation: str) -> bool:
    """Return whether RULES holds the method."""
    return implementation.removeprefix("robustft.methods.") in RULES


def training_work(spec: dict[str, Any]) -> Iterator[Work]:
    """Yield the work of a training run: its steps, its monitor, and a pass over the data if classes are selected."""
    method, recipe, splits = spec["method"], spec["recipe"], spec["dataset"]["splits"]
    images = splits.get(spec["split"], 0)
    step = method_passes(method["implementation"], method["parameters"], spec["training_attack"]["steps"])
    tuning = method["tuning"] or {}
    if tuning.get("implementation") in FROZEN:
        step = Passes(step.forward, step.attack + step.learn, 0)
    size = token_factor(spec)
    yield Work(step, images * recipe["epochs"], recipe["batch_size"] / spec["processes"], size)
    monitor = spec["monitor"]
    monitored = sum(min(monitor["images"], splits.get(split, 0)) for split in ("train", "validation", "test"))
    inputs = 3 if method["implementation"].endswith(":EnsemblePretraining") else 1
    checks = ceil(recipe["epochs"] / monitor["every_epochs"])
    passes = Passes(forward=2, attack=monitor["attack"].get("steps", 0)) * inputs
    yield Work(passes, monitored * checks, min(monitored, 512), size)
    if method["parameters"].get("selection") == "transport":  # features of all images choose the source classes
        yield Work(Passes(forward=1), images + spec["auxiliary"]["splits"]["train"], recipe["batch_size"])


def token_factor(spec: dict[str, Any]) -> float:
    """Return the tokens of a vision transformer with its prompts over those without; 1 without prompts."""
    tuning = spec["method"]["tuning"] or {}
    length, sizes = tuning.get("parameters", {}).get("length"), spec["backbone"]["parameters"]
    if not tuning.get("implementation", "").endswith(":PromptTuning") or "patch_size" not in sizes:
        return 1.0
    side = sizes["image_size"] if isinstance(sizes["image_size"], list) else [sizes["image_size"]] * 2
    tokens = 1 + (side[0] // sizes["patch_size"]) * (side[1] // sizes["patch_size"])
    return (tokens + length) / tokens


def class_count(classes: int | list[int]) -> int:
    """Return the number of classes of a data set, which states that number or the labels."""
    return classes if isinstance(classes, int) else len(classes)


def attack_work(spec: dict[str, Any], classes: int) -> Iterator[Work]:
    """Yield the work of one attack job on a model of `classes` classes: its checks, then each attack."""
    images = spec["images"][1] - spec["images"][0]
    shard = min(spec["shard_images"], images)
    yield Work(Passes(forward=4, attack=4), min(CHECKED, images), min(CHECKED, images))
    for attack in spec["attacks"]:
        if attack["algorithm"] == "autoattack":
            yield from _autoattack_work(attack, images, shard, classes)
        else:
            steps = attack.get("steps", attack.get("parameters", {}).get("steps", 0))
            # The adversarial images are scored twice: for the result and for the check.
            yield Work(Passes(forward=2, attack=steps), images, shard)


def _autoattack_work(attack: dict[str, Any], images: int, shard: int, classes: int) -> Iterator[Work]:
    """Yield the work of the standard ensemble, from the counted calls of its four attacks.

    APGD-CE attacks the images that the model classifies correctly, the others those that are still robust. Targeted
    APGD and FAB try up to nine target classes; targeted APGD needs four classes. Square is black-box.
    """
    targets = min(9, classes - 1)
    steps = attack.get("iterations", ITERATIONS)
    targeted = Passes(forward=1.5, attack=steps) if classes >= 4 else Passes()
    minimal = Passes(forward=steps + 3.5, attack=steps)
    queries = Passes(forward=attack.get("square_queries", SQUARE_QUERIES))
    yield Work(Passes(forward=1), images, shard)
    yield Work(Passes(forward=2, attack=steps + 1), images * CLEAN_SHARE, shard * CLEAN_SHARE)
    yield Work((targeted + minimal) * targets + queries, images * ROBUST_SHARE, shard * ROBUST_SHARE)
