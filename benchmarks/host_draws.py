"""Equal draws on every device: what a GPU's generator would draw, a CPU's draws from the same seed."""

from __future__ import annotations

from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

IN_PLACE = (Tensor.uniform_, Tensor.normal_, Tensor.exponential_, Tensor.random_, Tensor.bernoulli_)


class HostDraws(TorchFunctionMode):
    """While it is active, draws from a GPU's generator are those of a CPU's generator with the same seed."""

    def __init__(self) -> None:
        super().__init__()
        self._twins: WeakKeyDictionary[torch.Generator, torch.Generator] = WeakKeyDictionary()

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        draws = kwargs.get("generator")
        if draws is None or draws.device.type == "cpu":
            return function(*args, **kwargs)
        kwargs["generator"] = self._twin(draws)
        if function in IN_PLACE:
            drawn = function(torch.empty(args[0].shape, dtype=args[0].dtype), *args[1:], **kwargs)
            return args[0].copy_(drawn)
        tensors = [one for one in args if isinstance(one, Tensor)]
        device = torch.device(kwargs.get("device") or (tensors[0].device if tensors else "cpu"))
        if "device" in kwargs:
            kwargs["device"] = "cpu"
        on_host = [one.cpu() if isinstance(one, Tensor) else one for one in args]
        return function(*on_host, **kwargs).to(device)

    def _twin(self, draws: torch.Generator) -> torch.Generator:
        if draws not in self._twins:
            self._twins[draws] = torch.Generator().manual_seed(draws.initial_seed())
        return self._twins[draws]
