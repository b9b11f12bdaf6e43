"""The training steps that are compared: network, method, recipe, and how the textbook's model is made from ours."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import torch
from torch import nn

from benchmarks import textbook
from benchmarks.textbook import Attack, Madry
from benchmarks.textbook_models import ClipModel, DeepPrompts, HyperVit, plain, two_batch_norms
from robustft.models.classifier import Classifier
from robustft.models.tunings.hypernetwork import Hypernetwork

RECIPE = {
    "epochs": 1000,
    "optimizer": "sgd",
    "lr": 0.001,
    "momentum": 0.9,
    "nesterov": False,
    "weight_decay": 5e-4,
    "schedule": "constant",
    "selection": "last",
}
DEFENCE = "at"
SCALE = 100.0
"""CLIP's logit scale."""
MADRY = "robustft.methods.adversarial_training:AdversarialTraining"
DEEP_PROMPTS = {
    "implementation": "robustft.models.tunings.prompts:PromptTuning",
    "parameters": {"length": 25, "depth": "all", "attack": "adaptive"},
}
HYPER_LORA = {
    "implementation": "robustft.models.tunings.hypernetwork:HyperLora",
    "parameters": {"defences": [DEFENCE], "rank": 8},
}
ZERO_SHOT = {"implementation": "robustft.models.tunings.zero_shot:ZeroShot", "parameters": {"scale": SCALE}}


@dataclass(frozen=True, kw_only=True)
class Case:
    """One training step in both forms.

    Args:
        title: what is printed.
        backbone: name in config/backbones.yaml.
        method: {implementation, parameters, tuning}.
        opponent: makes the textbook's step from (the initial model, ours as its method prepared it).
        variants: the textbook's forms, by name: arguments of `opponent`. The first, "textbook", holds the bar; the
            last, "input gradients", is the strongest.
        bar: how many times faster ours must be, on a CPU.
        batch: images.
        steps, step_over_eps, eps: of the attack.
        texts_per_image: classes over images of a batch, where a text is read for each class; else there are ten.
        optimizations: which are switched off one at a time.
        renamed: parts of names in the textbook's model, and what they are in ours.
        note: what else to know of the comparison.
    """

    title: str
    backbone: str
    method: Mapping[str, Any]
    opponent: Callable[..., Madry]
    variants: Mapping[str, Mapping[str, Any]]
    bar: float
    batch: int
    steps: int = 10
    step_over_eps: str = "1/4"
    eps: str = "8/255"
    optimizations: tuple[str, ...]
    renamed: Mapping[str, str] = field(default_factory=dict)
    note: str = ""
    texts_per_image: float | None = None

    @property
    def classes(self) -> int:
        """Number of classes; two at least."""
        return 10 if self.texts_per_image is None else max(2, round(self.batch * self.texts_per_image))

    @property
    def attack(self) -> Attack:
        """The attack's budget in pixel units."""
        eps = Fraction(self.eps)
        return Attack(float(eps), float(eps * Fraction(self.step_over_eps)), self.steps)

    @property
    def convolutional(self) -> bool:
        """Whether a layout of channels last matters."""
        return "channels_last" in self.optimizations

    def ours(self, name: str) -> str:
        """Return the name that a tensor of the textbook's model has in ours."""
        for theirs, own in self.renamed.items():
            name = name.replace(theirs, own)
        return name


def everything(step: type[Madry], initial: Classifier, prepared: Classifier, **build: Any) -> Madry:
    """Train the whole network; `build` is what `Madry` takes besides its model."""
    model = plain(initial)
    return step(model, trained=list(model.parameters()), **build)


def madry(initial: Classifier, prepared: Classifier, **build: Any) -> Madry:
    """PGD adversarial training of the whole network."""
    return everything(textbook.Madry, initial, prepared, **build)


def trades(initial: Classifier, prepared: Classifier, **build: Any) -> Madry:
    """TRADES of the whole network."""
    return everything(textbook.Trades, initial, prepared, **build)


def twins(initial: Classifier, prepared: Classifier, **build: Any) -> Madry:
    """TWINS-AT with two copies of every batch norm."""
    model = two_batch_norms(plain(initial))
    return textbook.Twins(model, trained=list(model.parameters()), **build)


def adapt(initial: Classifier, prepared: Classifier, **build: Any) -> Madry:
    """ADAPT-CE: deep prompts, head and patch embedding are trained."""
    twin: Any = plain(prepared)
    prompted = DeepPrompts(twin.backbone.vit, twin.backbone.prompts)
    trained = [prompted.prompts, *prompted.vit.patch_embed.parameters(), *twin.head.parameters()]
    return textbook.Adapt(Classifier(twin.normalise, prompted, twin.head), trained=trained, **build)


def hyperat(initial: Classifier, prepared: Classifier, **build: Any) -> Madry:
    """HyperAT with one defence: hypernetwork and head are trained."""
    twin: Any = plain(prepared)
    backbone = twin.backbone
    hyper = HyperVit(backbone.plain, backbone.hypernetwork, alpha=backbone.alpha, defence=DEFENCE)
    trained = [*hyper.hypernetwork.parameters(), *twin.head.parameters()]
    return textbook.Madry(Classifier(twin.normalise, hyper, twin.head), trained=trained, **build)


def pmg_aft(initial: Classifier, prepared: Classifier, *, text_once: bool, **build: Any) -> Madry:
    """PMG-AFT: CLIP's image tower is trained."""
    twin: Any = plain(initial)
    model = ClipModel(twin, twin.head, scale=SCALE, text_once=text_once)
    step = textbook.PmgAft(model, trained=list(model.image.parameters()), **build)
    step.teacher = copy.deepcopy(model).requires_grad_(False).eval()
    return step


def _method(implementation: str, tuning: Mapping[str, Any] | None = None, **parameters: Any) -> dict[str, Any]:
    return {"name": "-", "implementation": implementation, "parameters": parameters, "tuning": tuning}


PLAIN = {"textbook": {"careful": False}}
CAREFUL = {"careful textbook": {"careful": True}}
STRONGEST = {"input gradients": {"careful": True, "input_gradients": True}}
"""The attack asks for the images' gradient alone: what a textbook can do without changing the model's code."""
CONVOLUTIONAL = ("folded_batch_norm", "channels_last")
TRANSFORMER = ("needed_tokens",)
PMG_AFT = {"alpha": 1.0, "beta": 1.0, "general_from": "teacher", "clean_from": "clean", "kl_reduction": "mean"}

CASES = {
    "resnet18_at": Case(
        title="ResNet-18, PGD-10 AT",
        backbone="resnet18_cifar",
        method=_method(MADRY),
        opponent=madry,
        variants={**PLAIN, **STRONGEST},
        bar=1.5,
        batch=16,
        optimizations=CONVOLUTIONAL,
    ),
    "resnet50_at": Case(
        title="ResNet-50v2, PGD-10 AT",
        backbone="resnet50v2",
        method=_method(MADRY),
        opponent=madry,
        variants={**PLAIN, **STRONGEST},
        bar=1.5,
        batch=16,  # of fewer torch multiplies 1x1 convolutions image by image on one thread, as no real batch is
        optimizations=CONVOLUTIONAL,
    ),
    "resnet18_trades": Case(
        title="ResNet-18, TRADES",
        backbone="resnet18_cifar",
        method=_method("robustft.methods.trades:Trades", beta=6.0, attack_loss="kl"),
        opponent=trades,
        variants={**PLAIN, **STRONGEST},
        bar=1.5,
        batch=16,
        optimizations=CONVOLUTIONAL,
        note="clean logits of the attack once in both",
    ),
    "resnet18_twins": Case(
        title="ResNet-18, TWINS-AT",
        backbone="resnet18_cifar",
        method=_method("robustft.methods.twins:TwinsAT", lambda_frozen=1.0, lambda_adaptive=1.0),
        opponent=twins,
        variants={**PLAIN, **STRONGEST},
        bar=1.5,
        batch=16,
        optimizations=CONVOLUTIONAL,
        renamed={".fixed.": ".frozen.", ".following.": ".adaptive."},
    ),
    "vit_s_adapt": Case(
        title="ViT-S/4, ADAPT-CE, 25 deep prompts",
        backbone="deit_small_patch4",
        method=_method("robustft.methods.adapt:AdaptCE", DEEP_PROMPTS, beta=1.0),
        opponent=adapt,
        variants={**PLAIN, **CAREFUL, **STRONGEST},
        bar=1.3,
        batch=4,
        optimizations=TRANSFORMER,
    ),
    "vit_s_hyperat": Case(
        title="ViT-S/4, HyperAT, rank 8",
        backbone="deit_small_patch4",
        method=_method("robustft.methods.hyperat:HyperAT", HYPER_LORA, defences={DEFENCE: {"implementation": MADRY}}),
        opponent=hyperat,
        variants={**PLAIN, **CAREFUL, **STRONGEST},
        bar=1.3,
        batch=4,
        optimizations=TRANSFORMER,
    ),
    "clip_pmg_aft": Case(
        title="CLIP ViT-B/32, PMG-AFT",
        backbone="clip_vit_b32",
        method=_method("robustft.methods.pmg_aft:PmgAft", ZERO_SHOT, **PMG_AFT),
        opponent=pmg_aft,
        variants={
            "textbook": {"careful": False, "text_once": False},
            "textbook, texts read once": {"careful": False, "text_once": True},
            "careful textbook, texts read once": {"careful": True, "text_once": True},
            "input gradients": {**STRONGEST["input gradients"], "text_once": True},
        },
        bar=1.3,
        batch=8,
        steps=2,
        step_over_eps="1",
        eps="1/255",
        optimizations=TRANSFORMER,
        renamed={"image.1.": "backbone."},
        texts_per_image=200 / 256,  # TinyImageNet's classes and the released batch
        note="the textbook's text tower reads the texts, 200 for 256 images as released, at each pass",
    ),
}


def lively(model: nn.Module) -> None:
    """Give a hypernetwork's heads of B values, so that its LoRA is not zero and the comparison sees it."""
    for module in model.modules():
        if isinstance(module, Hypernetwork):
            with torch.no_grad():
                for head in module.heads_b.values():
                    head.weight.normal_(0, 0.02)  # type: ignore[operator,union-attr]
