"""The bed on which the card is measured: defences that mask gradients or break protocols, and honest models.

All are made of the digits of scikit-learn in seconds. `FAULTS` has the reason that the card must give, by the name of
the model; the models of `HONEST` must pass.
"""

from __future__ import annotations

import functools
import io
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from sklearn.datasets import load_digits
from torch import Tensor, nn

TRAINED, SEEN = 1200, 64
EPS = "1/10"


@functools.cache
def digits() -> tuple[Tensor, Tensor]:
    """Return images (1797, 1, 8, 8) in [0, 1] and labels (1797,)."""
    data = load_digits()
    return torch.tensor(data.images / 16, dtype=torch.float32)[:, None], torch.tensor(data.target)


def unseen() -> tuple[Tensor, Tensor]:
    """Return the images that are evaluated."""
    x, y = digits()
    return x[TRAINED : TRAINED + SEEN], y[TRAINED : TRAINED + SEEN]


def mlp(width: int = 64, activation: Callable[[], nn.Module] = nn.ReLU) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, width), activation(), nn.Linear(width, 10))


def cnn(norm: Callable[[int], nn.Module] = nn.BatchNorm2d, activation: Callable[[], nn.Module] = nn.ReLU) -> nn.Module:
    return nn.Sequential(
        *(nn.Conv2d(1, 8, 3, padding=1), norm(8), activation(), nn.MaxPool2d(2)),
        *(nn.Conv2d(8, 8, 3, padding=1), norm(8), activation(), nn.Flatten(), nn.Linear(128, 10)),
    )


def trained(
    model: nn.Module, *, robust: bool = False, epochs: int = 12, temperature: float = 1.0, labels: Tensor | None = None,
    before: Callable[[Tensor], Tensor] = lambda x: x, decay: float = 0.0,
) -> nn.Module:  # fmt: skip
    """Train on the first images; `robust`: on PGD-5 at eps 1/10. `labels` (N, 10) are soft ones for distillation."""
    x, y = digits()
    x, y = x[:TRAINED], y[:TRAINED]
    optimizer = torch.optim.Adam(model.parameters(), 3e-3, weight_decay=decay)
    draws = torch.Generator().manual_seed(0)
    for _ in range(epochs):
        for part in torch.randperm(TRAINED, generator=draws).split(64):
            images, target = x[part], y[part] if labels is None else labels[part]
            if robust:
                images = perturbed(model.eval(), images, y[part], draws)
            model.train()
            optimizer.zero_grad()
            F.cross_entropy(model(before(images)) / temperature, target).backward()
            optimizer.step()
    return model.eval()


def perturbed(model: nn.Module, x: Tensor, y: Tensor, draws: torch.Generator, eps: float = 0.1) -> Tensor:
    x_adv = x + eps * (2 * torch.rand(x.shape, generator=draws) - 1)
    for _ in range(5):
        x_adv = x_adv.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(F.cross_entropy(model(x_adv), y), x_adv)
        x_adv = (x + (x_adv + eps / 3 * gradient.sign() - x).clamp(-eps, eps)).clamp(0, 1)
    return x_adv.detach()


class Around(nn.Module):
    """A network with something done to its images before, and to its logits after."""

    def __init__(self, network: nn.Module, before=lambda x: x, after=lambda z: z) -> None:
        super().__init__()
        self.network, self.before, self.after = network, before, after

    def forward(self, x: Tensor) -> Tensor:
        return self.after(self.network(self.before(x)))


def jpeg(x: Tensor) -> Tensor:
    """Compress each image: as 8 x 8 pixels are one block of JPEG, all images are coded as one picture."""
    stream = io.BytesIO()
    Image.fromarray((x.detach() * 255).round().byte().numpy().reshape(-1, 8)).save(stream, "JPEG", quality=80)
    return torch.from_numpy(np.array(Image.open(stream))).float().view_as(x) / 255


class KWinners(nn.Module):
    """Keeps the k largest activations and sets the others to zero (Xiao et al., ICLR 2020)."""

    def forward(self, x: Tensor) -> Tensor:
        flat = x.flatten(1)
        kept = torch.zeros_like(flat).scatter(1, flat.topk(max(1, flat.shape[1] // 10)).indices, 1.0)
        return (flat * kept).view_as(x)


class ResizePad(nn.Module):
    """Resizes and pads at random, drawn anew in each pass (Xie et al., ICLR 2018)."""

    def forward(self, x: Tensor) -> Tensor:
        side = int(torch.randint(6, 9, ()))
        small = F.interpolate(x, (side, side), mode="bilinear", align_corners=False)
        left, top = (int(torch.randint(0, 9 - side, ())) for _ in range(2))
        return F.pad(small, (left, 8 - side - left, top, 8 - side - top))


class Purified(nn.Module):
    """Moves each image towards a surer prediction before it is classified (Alfarra et al., AAAI 2022)."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        moved = x.detach()
        with torch.enable_grad():
            for _ in range(3):
                moved = moved.detach().requires_grad_()
                logits = self.network(moved)
                (gradient,) = torch.autograd.grad(F.cross_entropy(logits, logits.argmax(1)), moved)
                moved = (moved - 0.05 * gradient.sign()).clamp(0, 1)
        return self.network(x + (moved - x).detach())


class Detector(nn.Module):
    """Adds a class for what it rejects: images whose blurred copy is classified otherwise."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        logits, blurred = self.network(x), self.network(F.avg_pool2d(x, 3, 1, 1))
        other = (logits.argmax(1) != blurred.argmax(1)).float()[:, None]
        return torch.cat([logits, logits.amax(1, keepdim=True) + 20 * (2 * other - 1)], dim=1)


class Thermometer(nn.Module):
    """Eight levels for each pixel, one bit for each (Buckman et al., ICLR 2018)."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([(x > level / 8).float() for level in range(8)], dim=1)


class Noise(nn.Module):
    """Gaussian noise in every pass."""

    def forward(self, x: Tensor) -> Tensor:
        return x + 0.1 * torch.randn_like(x)


class Batchwise(nn.BatchNorm2d):
    """A batch norm that stays in training mode."""

    def train(self, mode: bool = True) -> nn.Module:
        return super().train(True)


def distilled() -> nn.Module:
    torch.manual_seed(1)
    x, _ = digits()
    teacher = trained(mlp(), temperature=100, epochs=20)
    with torch.no_grad():
        soft = F.softmax(teacher(x[:TRAINED]) / 100, dim=1)
    torch.manual_seed(2)
    # Longer training makes logits of this size; a few epochs reach a part of it.
    return Around(trained(mlp(), temperature=100, epochs=20, labels=soft), after=lambda z: 20 * z)


def normalised_outside() -> nn.Module:
    return trained(cnn(), before=lambda x: (x - 0.1307) / 0.3081)


def seeded(make: Callable[[], nn.Module]) -> nn.Module:
    torch.manual_seed(0)
    return make()


FAULTS: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "defensive distillation": (distilled, "huge_logits"),
    "huge logits": (lambda: Around(trained(mlp()), after=lambda z: 1000 * z), "huge_logits"),
    "quantised inputs": (lambda: Around(trained(mlp()), before=lambda x: (x * 4).round() / 4), "no_gradient"),
    "JPEG inputs": (lambda: Around(trained(mlp()), before=jpeg), "no_gradient"),
    "thermometer": (lambda: trained(nn.Sequential(Thermometer(), nn.Flatten(), nn.Linear(512, 10))), "no_gradient"),
    "k-winners": (lambda: trained(mlp(256, KWinners), epochs=20), "masked_gradients"),
    "random resizing": (lambda: trained(nn.Sequential(ResizePad(), mlp())), "randomness"),
    "noise": (lambda: trained(nn.Sequential(Noise(), mlp())), "randomness"),
    "softmax inside": (lambda: Around(trained(mlp()), after=lambda z: z.softmax(1)), "probabilities"),
    "train-mode batch norm": (lambda: trained(cnn(Batchwise)), "train_mode"),
    "normalisation outside": (normalised_outside, "normalisation"),
    "test-time optimisation": (lambda: Purified(trained(mlp())), "test_time"),
    "a detector that abstains": (lambda: Detector(trained(mlp())), "abstains"),
}

HONEST: dict[str, Callable[[], nn.Module]] = {
    "linear": lambda: trained(nn.Sequential(nn.Flatten(), nn.Linear(64, 10))),
    "MLP": lambda: trained(mlp()),
    "MLP, adversarially trained": lambda: trained(mlp(128), robust=True),
    "CNN": lambda: trained(cnn()),
    "CNN, adversarially trained": lambda: trained(cnn(), robust=True),
    "CNN with group norm": lambda: trained(cnn(lambda n: nn.GroupNorm(4, n)), robust=True),
    "CNN with tanh": lambda: trained(cnn(activation=nn.Tanh)),
    "CNN with GELU": lambda: trained(cnn(activation=nn.GELU), robust=True),
    "MLP with dropout": lambda: trained(mlp(activation=lambda: nn.Sequential(nn.ReLU(), nn.Dropout(0.3)))),
    "normalisation inside": lambda: trained(Around(cnn(), before=lambda x: (x - 0.3) / 0.4)),
    "weight decay": lambda: trained(mlp(256), decay=1e-3, epochs=20),
}  # fmt: skip


def main() -> None:
    """Write docs/evaluate-bed.csv: `python -m tests.assess.bed`, from the top of a checkout."""
    import csv
    from pathlib import Path

    import robustft

    makers = {**{name: make for name, (make, _) in FAULTS.items()}, **HONEST}
    with Path("docs/evaluate-bed.csv").open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["model", "fault", "flagged", "clean", "pgd20", "autoattack"])
        for name, make in makers.items():
            found = robustft.evaluate(seeded(make), unseen(), eps=EPS)
            accuracies = [f"{100 * found.accuracy(attack):.0f}" for attack in ("clean", "pgd20", "autoattack")]
            expected = FAULTS[name][1] if name in FAULTS else "none"
            writer.writerow([name, expected, found.reasons[0] if found.reasons else "none", *accuracies])


if __name__ == "__main__":
    main()
