"""The state dict of a file that others wrote: where in the file it is, and no code of the file is run."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor

from robustft.errors import IntegrityError, RobustftError, nearest
from robustft.models.pretrained.safe_pickle import Inert, read_pickle, read_torchscript

AVERAGED = (
    "state_dict_ema",
    "model_ema",
    "ema_state_dict",
    "ema_model",
    "model_ema_state_dict",
    "ema",
    "averaged_model",
)
PLAIN = ("state_dict", "model_state_dict", "model", "net", "network", "weights", "params")
"""Entries that hold a state dict, the preferred ones first: timm, too, reads an average where there is one."""

SUFFIXES = (".pt", ".pth", ".ckpt", ".th", ".bin", ".tar", ".pkl", ".safetensors")


@dataclass(frozen=True)
class StateFile:
    """A state dict as it stands in a file."""

    tensors: dict[str, Tensor]
    entry: str
    """The entry of the file that holds it; '' if the file is the state dict."""
    others: tuple[str, ...]
    """Further entries that hold one."""
    robustft: bool = False
    """Whether this project wrote the file."""


def read_state_file(path: Path, *, entry: str | None = None) -> StateFile:
    """Return the state dict of a file of torch.save, a safetensors file or a TorchScript archive, on the CPU.

    Args:
        path: of the file.
        entry: which entry of the file to read, such as `model`. By default a moving average of the weights if there is
            one, else `state_dict`, `model` or their like.

    Raises:
        IntegrityError: the file is missing, damaged, or holds a pickled model instead of tensors.
        RobustftError: there is no such entry.
    """
    if not path.is_file():
        raise IntegrityError("there is no such file of weights", where=path, next_step="check the path")
    if path.suffix == ".safetensors":
        return _safetensors(path)
    if _is_torchscript(path):
        return StateFile(read_torchscript(path), "", ())
    content = read_pickle(path, inert=True)
    found = dict(_states(content))
    if not found:
        raise IntegrityError(
            "the file holds no state dict",
            where=path,
            expected="tensors by name, by themselves or under an entry such as state_dict",
            observed=_in_words(content),
            next_step="save the weights alone: torch.save(model.state_dict(), path)",
        )
    if entry is not None and entry not in found:
        raise RobustftError(f"the file has no weights '{entry}'", where=path, next_step=nearest(entry, found))
    chosen = entry if entry is not None else _preferred(list(found))
    return StateFile(found[chosen], chosen, tuple(name for name in found if name != chosen))


def _safetensors(path: Path) -> StateFile:
    try:
        with safe_open(path, framework="pt") as file:
            ours = "robustft" in (file.metadata() or {})
        return StateFile(load_file(path), "", (), robustft=ours)
    except (SafetensorError, OSError, ValueError) as error:
        raise IntegrityError(
            "the file of weights cannot be read",
            where=path,
            expected="a whole safetensors file",
            observed=f"{path.stat().st_size} bytes; {error}",
            next_step="get the file again",
        ) from error


def _is_torchscript(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return any("/code/" in name for name in archive.namelist())
    except (zipfile.BadZipFile, OSError):
        return False


def _states(content: Any, name: str = "", depth: int = 2) -> Iterator[tuple[str, dict[str, Tensor]]]:
    """Yield the state dicts of a file's content by their entries, such as `model` or `ema.state_dict`."""
    if not isinstance(content, Mapping):
        return
    tensors = {str(key): value for key, value in content.items() if isinstance(value, Tensor)}
    if any(value.dim() for value in tensors.values()) and "." in "".join(tensors):
        yield name, tensors
    elif depth:
        for key, value in content.items():
            yield from _states(value, f"{name}.{key}" if name else str(key), depth - 1)


def _preferred(names: list[str]) -> str:
    for known in (*AVERAGED, *PLAIN):
        for name in names:
            if known in name.split("."):
                return name
    return names[0]


def _in_words(content: Any) -> str:
    if isinstance(content, Inert):
        return "a whole pickled model, which only its own code can open"
    if isinstance(content, Mapping):
        pickled = [str(key) for key, value in content.items() if isinstance(value, Inert)]
        note = f"; pickled objects under {', '.join(pickled[:3])}" if pickled else ""
        return f"entries {', '.join(sorted(map(str, content))[:8]) or 'none'}{note}"
    return type(content).__name__
