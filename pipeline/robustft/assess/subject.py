"""The model and the images together: whether they fit, and what identifies them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from robustft.assess.images import ImageSet
from robustft.errors import RobustftError
from robustft.evaluate.probes import WithGradient, behaviour, differentiable
from robustft.evaluate.target import Readable, Subject
from robustft.models.classifier import Normalise
from robustft.models.foreign.load import Foreign, Loaded
from robustft.models.foreign.normalisation import USUAL
from robustft.report.sanity_checks import ERROR
from robustft.report.statistics import binomial_limit

PROBED, COMPARED = 64, 256
"""Images that are probed, and on which other normalisations are compared."""

WORTH = 0.02
"""Share of images that another normalisation must win before it is named."""


@dataclass(frozen=True)
class Fitted:
    """A model that takes the images, on a device."""

    loaded: Loaded
    model: nn.Module
    images: ImageSet
    opened: Readable
    outputs: int
    """The number of logits."""
    differentiable: bool
    identity: dict[str, Any]

    @property
    def subject(self) -> Subject:
        """What the attacks get."""
        return Subject(self.model, self.outputs, self.opened, self.images.indices)


def fitted(loaded: Loaded, images: ImageSet, device: torch.device, *, side: int | None = None) -> Fitted:
    """Put a model and its images together, after one pass.

    Raises RobustftError if the model does not take the images, returns no logits, or lacks a class.
    """
    opened, side = _open(images, loaded, device, side)
    model = loaded.model.to(device).eval().requires_grad_(False)
    x, _ = opened.take(slice(0, min(2, len(images.labels))))
    try:
        with torch.no_grad():
            logits = model(x)
        reaches = isinstance(logits, Tensor) and differentiable(model, x)
    except Exception as error:  # code of the user's may raise anything
        raise RobustftError(
            "the model does not take these images",
            where=f"{loaded.title} on {images.title}",
            observed=f"images {tuple(x.shape)}; {str(error).splitlines()[0] if str(error) else type(error).__name__}",
            next_step="check channels and size: --size resizes pictures",
        ) from error
    if not isinstance(logits, Tensor) or logits.dim() != 2 or logits.shape[1] < 2:
        shape = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise RobustftError("the model must return logits (n, K) of at least two classes", observed=shape)
    if (most := int(images.labels.max())) >= logits.shape[1]:
        raise RobustftError(
            "the labels do not fit the model",
            where=f"{loaded.title} on {images.title}",
            expected=f"labels from 0 to {logits.shape[1] - 1}",
            observed=f"up to {most}",
            next_step="check the number of classes of the weights, and the order of the class folders",
        )
    about = {key: value for key, value in loaded.about.items() if key != "files"}  # a file may move
    identity = {
        "model": {**about, "state": state_digest(model), "structure": _digest(str(model))},
        "images": {"title": images.title, "split": images.split, "digest": images.digest, "side": side, **images.about},
    }
    attacked = model if reaches else WithGradient(model)
    return Fitted(loaded, attacked, images, opened, logits.shape[1], reaches, identity)


def _open(images: ImageSet, loaded: Loaded, device: torch.device, side: int | None) -> tuple[Readable, int | None]:
    """Open the images, and return the side to which they are resized: pictures of several sizes as the library says."""
    try:
        return images.open(device, loaded.channels, side), side
    except RobustftError:
        if side is not None or loaded.side is None:
            raise
        return images.open(device, loaded.channels, loaded.side), loaded.side


def state_digest(model: nn.Module) -> str:
    """Return a hash over all weights and buffers of a model."""
    state = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        if isinstance(tensor, Tensor):
            state.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
            state.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return state.hexdigest()


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def model_probes(fit: Fitted, adversarial: Tensor) -> dict[str, Any]:
    """Return the probes of the model itself: normalisation, guessing, and how it behaves at test time."""
    x, y = fit.opened.take(slice(0, min(PROBED, len(fit.images.labels))))
    values: dict[str, Any] = behaviour(fit.model, x, adversarial, classes=fit.images.count)
    x, y = fit.opened.take(slice(0, min(COMPARED, len(fit.images.labels))))
    right = _right(fit.model, x, y)
    commonest = float(torch.bincount(y).max()) / len(y)
    values["guessing"] = float(int(right.sum()) <= binomial_limit(len(y), commonest, ERROR))
    values.update(_other_normalisation(fit, x, y, right))
    return values


def _other_normalisation(fit: Fitted, x: Tensor, y: Tensor, right: Tensor) -> dict[str, Any]:
    """Return whether a usual normalisation in the place of the stated one makes more images right, and which."""
    network = fit.loaded.model
    if not isinstance(network, Foreign):
        return {"better_normalisation": 0.0}
    best, named, stated = 0.0, "", (fit.loaded.normalisation.mean, fit.loaded.normalisation.std)
    for name, (mean, std) in USUAL.items():
        if (mean, std) == stated or len(mean) not in (1, x.shape[1]):
            continue
        times = x.shape[1] // len(mean)
        other = Foreign(Normalise(list(mean) * times, list(std) * times).to(x.device), network.network)
        theirs = _right(other, x, y)
        wins, losses = int((theirs & ~right).sum()), int((right & ~theirs).sum())
        gain = (wins - losses) / len(y)
        if gain > max(best, WORTH) and wins > binomial_limit(wins + losses, 1 / 2, ERROR / len(USUAL)):
            best, named = gain, name
    return {"better_normalisation": best, "better_normalisation_name": named}


@torch.no_grad()
def _right(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    return torch.cat([model(part).argmax(1) for part in torch.split(x, 64)]) == y
