"""What the members of a group of processes do in `test_group.py`; each is a fresh process that imports this."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F

from robustft.methods.adapt import AdaptKL
from robustft.methods.adv_ss_pretraining import EnsemblePretraining, Jigsaw, Rotation, Selfie
from robustft.methods.adversarial_training import AdversarialTraining
from robustft.methods.contrastive import Contrastive
from robustft.methods.hyperat import HyperAT
from robustft.methods.joint_finetuning import JointFinetuning
from robustft.methods.linear_probe import LinearProbe
from robustft.methods.mart import Mart
from robustft.methods.n_fgsm import NFgsm
from robustft.methods.pmg_aft import PmgAft
from robustft.methods.protocol import Loss, Method, PretrainingContext, Tuned
from robustft.methods.standard import Standard
from robustft.methods.trades import Trades
from robustft.methods.twins import TwinsAT, TwinsTrades
from robustft.models.classifier import Classifier, build_classifier
from robustft.models.self_supervised.pretext import JigsawHead, RotationHead, draw_permutations, sha256_of
from robustft.models.self_supervised.selfie import SelfieHead
from robustft.models.self_supervised.three_tasks import EnsembleHeads
from robustft.models.tunings.hypernetwork import HyperLora
from robustft.models.tunings.prompts import PromptTuning
from robustft.parallel.group import World
from robustft.parallel.sharded_batch import averaged, sharded_forward
from robustft.parallel.sync_batch_norm import to_sync_batch_norm
from tests.models.toy_clip import toy_clip
from tests.models.toy_vit import toy_vit
from tests.train import toy


class Halves(Standard):
    """Weighs the auxiliary half of a batch otherwise, with a weight that is drawn alike in every process."""

    uses_auxiliary = True

    def prepare(self, model: Any, start: Any = None) -> Any:
        model.head = torch.nn.Linear(model.head.in_features, 10).to(model.head.weight)
        return model

    def on_step_start(self, model: Any, *, generator: torch.Generator) -> None:
        model.weight = 1 + torch.rand(1, generator=generator).item()

    def loss(self, model: Any, x: torch.Tensor, x_adv: torch.Tensor, y: torch.Tensor) -> Loss:
        half = len(y) // 2
        assert y[:half].max() < 5 <= y[half:].min(), "target images come before auxiliary ones"
        own, other = (F.cross_entropy(model(x[part]), y[part]) for part in (slice(half), slice(half, None)))
        return Loss({"own": own, "other": 2 * model.weight * other})


def resnet() -> Classifier:
    """With statistics that are not those of fresh batch norms, so that an attack sees other ones than the loss."""
    return _lived(toy.network())


def preact() -> Classifier:
    torch.manual_seed(7)
    parameters = {"width": 4, "blocks": [1, 1, 1, 1], "block": "basic"}
    backbone = {
        **toy.BACKBONE,
        "implementation": "robustft.models.backbones.resnet_v2:ResNetV2",
        "parameters": parameters,
    }
    return _lived(build_classifier(backbone, shape=[1, 8, 8], classes=5))


def _lived(model: Classifier) -> Classifier:
    for layer in model.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            torch.nn.init.normal_(layer.running_mean, 0, 0.3)
            torch.nn.init.uniform_(layer.running_var, 0.5, 2.0)
            torch.nn.init.uniform_(layer.weight, 0.5, 1.5)
    return model


@dataclass(frozen=True, kw_only=True)
class Case:
    """A method on a network; two steps of it in float64."""

    method: Method
    network: Callable[[], Classifier] = resnet
    parts: dict[str, Any] = field(default_factory=dict)
    dtype: torch.dtype = torch.float64
    tolerance: float = 1e-12
    """Of weights and statistics after two steps, absolute; of the values of a history, relative to those above one."""
    scale: float = 1.0
    """Of the learning rate."""


TABLE = {"grid": [2, 2], "count": 5, "seed": 0, "sha256": sha256_of(draw_permutations(4, 5, 0))}
SELFIE = {"grid": [4, 4], "targets": 4, "layers": 1, "heads": 2, "feedforward": 16, "dropout": 0.0}
WINGS = {"lambda_frozen": 0.5, "lambda_adaptive": 1.0}
MEAN = {"clean": 0.5, "adversarial": 0.5}
DEFENCES = {
    "at": {"implementation": "robustft.methods.adversarial_training:AdversarialTraining"},
    "trades": {
        "implementation": "robustft.methods.trades:Trades",
        "parameters": {"beta": 6.0, "attack_loss": "kl"},
    },
}
HYPER = HyperLora(defences=list(DEFENCES), rank=2, embedding=4, hidden=8, code=4)
RELEASED = {"alpha": 1.0, "beta": 1.0, "general_from": "student", "clean_from": "adversarial"}
DIVERSE = {**MEAN, "diversity": 0.1, "attack_diversity": 0.1}
AUXILIARY = {"auxiliary": {"augmentation": {"pad": 0, "flip": True}}}

ORDINARY = (
    "at",
    "at_float32",
    "twins_at",
    "twins_trades",
    "trades",
    "joint",
    "halves",
    "adapt",
    "hyperat",
    "pmg_aft",
    "ensemble",
)
"""The cases of the ordinary suite; `make test-hpc` has all, in groups of two and of three."""

CASES: dict[str, Case] = {
    "at": Case(method=AdversarialTraining()),
    "at_float32": Case(method=AdversarialTraining(), dtype=torch.float32, tolerance=1e-5),
    "at_l2": Case(method=AdversarialTraining(), parts={"threat": {"norm": "l2", "eps": "1/2"}}),
    "twins_at": Case(method=TwinsAT(**WINGS)),
    "twins_trades": Case(method=TwinsTrades(**WINGS, beta=6.0, attack_loss="kl", kl_over="batch")),
    "trades": Case(method=Trades(beta=6.0, attack_loss="kl")),
    "mart": Case(method=Mart(beta=5.0)),
    "n_fgsm": Case(method=NFgsm()),
    "linear_probe": Case(method=LinearProbe()),
    "halves": Case(method=Halves(), parts=AUXILIARY),
    "joint": Case(method=JointFinetuning(weight=0.3, selection="random", classes=3), parts=AUXILIARY),
    "adapt": Case(
        method=Tuned(AdaptKL(beta=1.0), PromptTuning(length=2, depth="all", attack="adaptive")), network=toy_vit
    ),
    "hyperat": Case(method=Tuned(HyperAT(defences=DEFENCES), HYPER), network=toy_vit),
    "contrastive": Case(method=Contrastive(adversarial=True, duplicates="masked"), network=toy_clip),
    "pmg_aft": Case(method=PmgAft(**RELEASED, kl_reduction="sum"), network=toy_clip, scale=0.1),
    "rotation": Case(method=Tuned(Rotation(**MEAN), RotationHead()), network=preact),
    "jigsaw": Case(method=Tuned(Jigsaw(**MEAN, table=TABLE, identity=0.1), JigsawHead(table=TABLE)), network=preact),
    "selfie": Case(method=Tuned(Selfie(**MEAN, targets=4), SelfieHead(**SELFIE)), network=preact, scale=0.1),
    "ensemble": Case(
        method=Tuned(
            EnsemblePretraining(**DIVERSE, targets=4, table=TABLE, identity=0.1), EnsembleHeads(**SELFIE, table=TABLE)
        ),
        network=preact,
        scale=0.1,
        # Images are float32, and so are the gradients with respect to them, of which the diversity is.
        tolerance=1e-7,
    ),
}  # fmt: skip


def starting(case: Case) -> PretrainingContext:
    """What the case's method may look at before training: a network as its own, of as many classes."""
    return PretrainingContext(case.network().to(case.dtype).requires_grad_(False).eval())


def prepared(case: Case) -> Classifier:
    """The network as it is when training begins."""
    torch.manual_seed(3)
    torch.set_default_dtype(case.dtype)
    try:
        return case.method.prepare(case.network().to(case.dtype), starting(case))
    finally:
        torch.set_default_dtype(torch.float32)


def train(name: str, folder: Path, world: World, *, batch: int = 5) -> None:
    """Train a case; what its method attaches has the case's precision too."""
    torch.set_default_dtype(CASES[name].dtype)
    try:
        _train(name, folder, world, batch)
    finally:
        torch.set_default_dtype(torch.float32)


def _train(name: str, folder: Path, world: World, batch: int) -> None:
    """Train two steps of batches that cannot be shared evenly, and store what came of it."""
    case = CASES[name]
    scratch = folder / name / f"scratch-{world.rank}of{world.size}"
    scratch.mkdir(parents=True, exist_ok=True)
    recipe = {"epochs": 1, "batch_size": batch, "weight_decay": 0.0, "lr": 0.05 * case.scale}
    spec = toy.spec(recipe=recipe, **case.parts)
    torch.manual_seed(3)
    trainer = toy.trainer(
        case.method,
        scratch,
        spec=spec,
        model=case.network().to(case.dtype),
        train=2 * batch,
        world=world,
        auxiliary=toy.images(13, seed=4),
        start=starting(case),
    )
    (row,) = trainer.run()
    assert trainer.train_state.step == 2
    torch.save([trainer.model.state_dict(), row], folder / name / f"rank{world.rank}of{world.size}.pt")
    assert bool(list(scratch.iterdir())) == (world.rank == 0), "only the first process stores the resume state"


def train_together(rank: int, folder: Path, names: Sequence[str], batch: int) -> None:
    """Join the group that the environment describes, train these cases and pass a batch norm."""
    torch.set_num_threads(1)
    world = World.join(toy.CPU)
    assert (world.rank, world.size) == (rank, int(os.environ["WORLD_SIZE"])) == (int(os.environ["RANK"]), world.size)
    for name in names:
        train(name, folder, world, batch=batch)
    torch.save(normalised(world), folder / f"norm{rank}of{world.size}.pt")
    world.leave()


class Norm(torch.nn.Module):
    """A batch norm that is entered as a classifier is."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = torch.nn.BatchNorm2d(3, momentum=0.3).double()

    @sharded_forward
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.norm(x)


def normalised(world: World, *, batch: int = 5) -> dict[str, torch.Tensor]:
    """Output, gradients, second derivatives and statistics of a batch norm in training mode; the mean is large."""
    draws = torch.Generator().manual_seed(0)
    x, weights = (torch.randn(batch, 3, 2, 2, dtype=torch.float64, generator=draws) for _ in range(2))
    x = (100 + x).requires_grad_()
    model = Norm()
    with torch.no_grad():
        model.norm.weight.copy_(torch.tensor([0.5, 1.0, 2.0]))
    if world.size > 1:
        to_sync_batch_norm(model)
    with world.sharded():
        y = model(x)
        (first,) = torch.autograd.grad((weights * y).square().sum(), x, create_graph=True)
        second = torch.autograd.grad(first.square().sum(), (x, model.norm.weight), retain_graph=True)
        own = torch.autograd.grad(y.pow(3).sum(), model.norm.weight)[0]
    # Of parameters each process has its own share of the gradient, as DistributedDataParallel expects it.
    second_weight, own = (world_mean(world, value) for value in (second[1], own))
    found = {"y": y, "first": first, "second": second[0], "second_weight": second_weight, "weight": own}
    return {name: value.detach() for name, value in found.items()} | dict(model.state_dict())


def world_mean(world: World, value: torch.Tensor) -> torch.Tensor:
    with world.sharded():
        return averaged(value)


def fail_in_one(rank: int, folder: Path) -> None:
    """Fail in the second process while the first would go on for ever."""
    if rank == 1:
        raise ValueError("the second process fails")
    (folder / "pid").write_text(str(os.getpid()))
    while True:
        time.sleep(0.1)
