"""Means and standard deviations that networks were trained with: asked for, found, and told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from robustft.errors import RobustftError, nearest

USUAL: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "none": ((0.0,), (1.0,)),
    "half": ((0.5,), (0.5,)),
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "cifar10": ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
    "cifar100": ((0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)),
    "clip": ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)),
    "mnist": ((0.1307,), (0.3081,)),
    "bytes": ((0.0,), (1 / 255,)),
}
"""The usual choices by name. `none` leaves images in [0, 1], `half` gives [-1, 1], `bytes` [0, 255]."""


@dataclass(frozen=True)
class Normalisation:
    """What is subtracted from each channel and what it is divided by, and how that is known."""

    mean: tuple[float, ...]
    std: tuple[float, ...]
    known_from: str

    def __str__(self) -> str:
        def told(values: Sequence[float]) -> str:
            return ", ".join(f"{value:.4g}" for value in values)

        return f"mean ({told(self.mean)}), std ({told(self.std)}): {self.known_from}"

    def for_channels(self, channels: int) -> Normalisation:
        """Return it for images of so many channels. Raises RobustftError if it is for another number."""
        if len(self.mean) == channels:
            return self
        if len(self.mean) > 1:
            raise RobustftError(
                "the normalisation does not fit the images",
                expected=f"{channels} channels",
                observed=f"{len(self.mean)} means",
                next_step="give --normalisation MEAN/STD with a number for each channel",
            )
        return Normalisation(self.mean * channels, self.std * channels, self.known_from)


def usual(name: str, *, known_from: str) -> Normalisation:
    """Return one of the usual choices."""
    return Normalisation(*USUAL[name], known_from=known_from)


def asked(text: str) -> Normalisation:
    """Return the normalisation that a text asks for: a usual name, or MEAN/STD such as 0.49,0.48,0.45/0.25,0.24,0.26.

    >>> asked("half").mean
    (0.5,)
    >>> asked("0.1307/0.3081").std
    (0.3081,)
    """
    if text in USUAL:
        return usual(text, known_from=f"asked for as {text}")
    halves = [part.split(",") for part in text.split("/")]
    try:
        mean, std = (tuple(float(value) for value in part) for part in halves)
    except ValueError as error:
        raise RobustftError(
            f"there is no normalisation '{text}'",
            expected=f"{', '.join(USUAL)}, or MEAN/STD such as 0.49,0.48,0.45/0.25,0.24,0.26",
            next_step=nearest(text, USUAL),
        ) from error
    if len(mean) != len(std) or not all(0 < value < float("inf") for value in std):
        raise RobustftError("a normalisation needs a positive standard deviation for each mean", observed=text)
    return Normalisation(mean, std, "asked for")


def in_file(tensors: Mapping[str, Tensor]) -> Normalisation | None:
    """Return the normalisation that a file stores beside its network, if it holds one mean and one std."""
    values = {name.rsplit(".", 1)[-1].lower(): tensor for name, tensor in tensors.items()}
    for mean, std in (("mean", "std"), ("mu", "sigma"), ("means", "sds"), ("new_mean", "new_std"),
                      ("image_mean", "image_std"), ("mean_torch", "std_torch")):  # fmt: skip
        if mean in values and std in values and values[mean].numel() == values[std].numel():
            first, second = (tuple(values[name].flatten().double().tolist()) for name in (mean, std))
            return Normalisation(first, second, "stored in the file of weights")
    return None
