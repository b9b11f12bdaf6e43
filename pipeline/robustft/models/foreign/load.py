"""A model from anywhere, with its normalisation inside it, and where each part of it came from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from robustft.errors import IntegrityError, RobustftError
from robustft.files import sha256_file
from robustft.models.checkpoint import load_classifier
from robustft.models.classifier import Normalise
from robustft.models.foreign.architectures import Architecture, architecture
from robustft.models.foreign.matching import Match, match
from robustft.models.foreign.nearest_architecture import nearest_architecture, shapes_of
from robustft.models.foreign.normalisation import USUAL, Normalisation, asked, in_file, usual
from robustft.models.foreign.state_file import SUFFIXES, read_state_file
from robustft.models.foreign.text_classifier import TEMPLATE, ZeroShot
from robustft.speed.optimizations import Optimizable, Optimizations


class Foreign(Optimizable):
    """Images (n, C, H, W) in [0, 1] -> logits (n, K): a network behind its normalisation, computed as it is."""

    optimizations = Optimizations(folded_batch_norm=False, channels_last=False)

    def __init__(self, normalise: nn.Module, network: nn.Module) -> None:
        super().__init__()
        self.normalise, self.network = normalise, network

    def forward(self, x: Tensor) -> Tensor:
        """Return logits."""
        logits: Tensor = self.network(self.normalise(x))
        return logits


@dataclass(frozen=True)
class Loaded:
    """A model on the CPU, in evaluation mode, and what is known about it."""

    model: nn.Module
    """Images (n, C, H, W) in [0, 1] -> logits (n, K)."""
    title: str
    normalisation: Normalisation
    files: dict[str, str] = field(default_factory=dict)
    """SHA-256 of each file of weights by its path."""
    side: int | None = None
    """Side in pixels of the images that the network reads, where its library says so."""
    channels: int | None = None
    notes: tuple[str, ...] = ()
    """What a user should know: which entry of a file was read, what it leaves out."""

    @property
    def about(self) -> dict[str, Any]:
        """What identifies the model, for records."""
        return {
            "title": self.title,
            "normalisation": {"mean": list(self.normalisation.mean), "std": list(self.normalisation.std)},
            "files": self.files,
        }


def load_model(
    model: str | Path,
    *,
    arch: str | None = None,
    weights: str | Path | None = None,
    normalisation: str | None = None,
    entry: str | None = None,
    classes: Sequence[str] | None = None,
    template: str = TEMPLATE,
) -> Loaded:
    """Return a model from a checkpoint of this project, a file of weights on an architecture, or a function.

    Args:
        model: a file of weights, or MODULE:FUNCTION, a function of the user's that returns a torch.nn.Module.
        arch: LIBRARY:NAME of timm, torchvision, open_clip or robustbench, or MODULE:FUNCTION; for a file of weights.
            A checkpoint of this project needs none.
        weights: a file of weights for the model of a function.
        normalisation: a usual name or MEAN/STD (see `asked`). By default what the file or the library says.
        entry: the entry of the file that holds the weights, such as `model`.
        classes: the name of each class, for a model that reads texts.
        template: the text of a class, with {} for its name.

    Raises:
        IntegrityError: the file is missing, damaged, or does not fit; the message names keys and the nearest
            architecture.
        RobustftError: an unknown architecture, or a normalisation that nobody has told.
    """
    text = str(model)
    is_file = Path(text).suffix in SUFFIXES or Path(text).is_file()
    if not is_file:
        if arch is not None:
            raise RobustftError(
                "there is no such file of weights", where=text, next_step="check the path, or leave --arch out"
            )
        arch, file = text, weights
    else:
        file = text
    path = None if file is None else Path(file).expanduser()
    if arch is None:
        assert path is not None
        return _ours(path)
    return _on_architecture(
        architecture(arch), path, normalisation=normalisation, entry=entry, classes=classes, template=template
    )


def load_module(module: nn.Module, *, normalisation: str | None = None, title: str | None = None) -> Loaded:
    """Return a module of the user's as it is, or behind a normalisation that is asked for."""
    stated = asked(normalisation) if normalisation else usual("none", known_from="the model's own, inside it")
    return Loaded(
        model=Foreign(_normalise(stated), module),
        title=title or type(module).__name__,
        normalisation=stated,
        channels=first_channels(module),
    )


def _ours(path: Path) -> Loaded:
    """Return the model of a checkpoint of this project."""
    if not path.is_file() or path.suffix != ".safetensors" or not read_state_file(path).robustft:
        if not path.is_file():
            raise IntegrityError("there is no such file of weights", where=path, next_step="check the path")
        raise RobustftError(
            "the file does not say which network its weights are for",
            where=path,
            expected="a checkpoint of robustft, or --arch LIBRARY:NAME",
            next_step="name the architecture, such as --arch timm:resnet18",
        )
    model, about = load_classifier(path)
    normalise = model.normalise
    if isinstance(normalise, Normalise):
        mean, std = (tuple(buffer.flatten().tolist()) for buffer in (normalise.mean, normalise.std))
        stated = Normalisation(mean, std, "in the checkpoint")
    else:
        stated = usual("none", known_from="the model's own, inside it")
    title = f"{about['backbone'].get('title') or about['backbone'].get('name', 'a network')}, a checkpoint of robustft"
    return Loaded(
        model, title, stated, {str(path): sha256_file(path)}, side=about["shape"][1], channels=about["shape"][0]
    )


def _on_architecture(
    arch: Architecture,
    path: Path | None,
    *,
    normalisation: str | None,
    entry: str | None,
    classes: Sequence[str] | None,
    template: str,
) -> Loaded:
    notes: list[str] = []
    if path is None:
        if not arch.own:
            raise RobustftError(
                f"{arch.name} is an architecture without weights", next_step="give --model FILE --arch " + arch.name
            )
        network, fit = arch.build(), None
    else:
        network, fit = _with_weights(arch, path, entry, notes)
    stated = _normalisation(arch, fit, normalisation, notes)
    if isinstance(network, ZeroShot):
        if classes is None:
            raise RobustftError(
                "a model that reads texts needs a name for each class",
                where=arch.name,
                next_step="give images in folders named by their classes, or `classes` in the .npz",
            )
        network.read([template.format(name.replace("_", " ")) for name in classes])
        notes.append(f"texts: {template!r} with the names of the classes")
    channels = first_channels(network)
    return Loaded(
        model=Foreign(_normalise(stated), network).eval(),
        title=arch.name,
        normalisation=stated,
        files={} if path is None else {str(path): sha256_file(path)},
        side=arch.side,
        channels=channels,
        notes=tuple(notes),
    )


def _with_weights(arch: Architecture, path: Path, entry: str | None, notes: list[str]) -> tuple[nn.Module, Match]:
    """Build the network for the classes and channels of a file and load all its weights."""
    stored = read_state_file(path, entry=entry)
    shapes = shapes_of(arch)
    given = _head_and_stem(match(stored.tensors, shapes)) if shapes else {}
    network = arch.build(**given)
    holder = getattr(network, "clip", network)
    fit = match(stored.tensors, {name: tuple(one.shape) for name, one in holder.state_dict().items()})
    if not fit.fits:
        raise _misfit(arch, path, fit, stored.tensors)
    holder.load_state_dict(fit.tensors, strict=True)
    others = f" (also there: {', '.join(stored.others)}; --entry chooses)" if stored.others else ""
    if stored.entry or others:
        notes.append(f"weights: entry '{stored.entry}'{others}")
    if fit.prefix:
        notes.append(f"names in the file begin with '{fit.prefix}'")
    return network, fit


def _head_and_stem(fit: Match) -> dict[str, int]:
    """Return the number of classes and of channels of a file, where they alone differ from the architecture's."""
    heads = {file[0] for file, ours in fit.misshapen.values() if file[1:] == ours[1:] and len(file) <= 2}
    stems = {
        file[1]
        for file, ours in fit.misshapen.values()
        if len(file) == 4 and (file[0], *file[2:]) == (ours[0], *ours[2:])
    }
    given = {}
    if len(heads) == 1:
        given["classes"] = heads.pop()
    if len(stems) == 1:
        given["channels"] = stems.pop()
    return given


def _misfit(arch: Architecture, path: Path, fit: Match, state: dict[str, Tensor]) -> IntegrityError:
    parts = []
    if fit.missing:
        parts.append(f"{len(fit.missing)} missing: {', '.join(fit.missing[:4])}")
    if fit.unknown:
        parts.append(f"{len(fit.unknown)} unknown: {', '.join(fit.unknown[:4])}")
    if fit.misshapen:
        name, (file, ours) = next(iter(fit.misshapen.items()))
        parts.append(f"{len(fit.misshapen)} of other shapes: {name} {file}, not {ours}")
    if fit.differing_copy:
        parts.append(f"a second copy of the network differs: {', '.join(fit.differing_copy[:4])}")
    near = nearest_architecture(state, arch.name)
    to_do = "name the architecture that the weights were saved from"
    if near is not None and near[0] != arch.name:
        to_do = f"did you mean --arch {near[0]}? {100 * near[1]:.0f} % of its names and shapes agree"
    return IntegrityError(
        f"the weights do not fit {arch.name}; none was loaded",
        where=path,
        observed="; ".join(parts),
        next_step=to_do,
    )


def _normalisation(arch: Architecture, fit: Match | None, text: str | None, notes: list[str]) -> Normalisation:
    """Return the normalisation that is asked for, else the file's, else the library's. Nothing is guessed."""
    stored = in_file(fit.normaliser) if fit is not None else None
    if text is not None:
        stated = asked(text)
        if stored is not None and (stored.mean, stored.std) != (stated.mean, stated.std):
            notes.append(f"the file itself stores {stored}")
        return stated
    if stored is not None:
        return stored
    if arch.normalisation is not None:
        return arch.normalisation
    if arch.own:
        return usual("none", known_from="the function's own, inside its model")
    raise RobustftError(
        "nobody says how images are normalised for this network",
        where=arch.name,
        expected=f"--normalisation with one of {', '.join(USUAL)}, or MEAN/STD",
        next_step="look it up where it was trained; `none` if it reads images in [0, 1]",
    )


def _normalise(stated: Normalisation) -> nn.Module:
    if set(stated.mean) == {0.0} and set(stated.std) == {1.0}:
        return nn.Identity()
    return Normalise(list(stated.mean), list(stated.std))


def first_channels(network: nn.Module) -> int | None:
    """Return how many channels a network reads, by its first convolution; None if it has none."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            return module.in_channels
    return None
