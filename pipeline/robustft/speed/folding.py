"""Batch norm folded into the convolution before it, while a network in evaluation mode is attacked.

With running statistics a batch norm is y -> g (y - m) / s + b with s = sqrt(v + e), so
BN(W * x + c) = (g W / s) * x + (g (c - m) / s + b): the same function, without a pass over every activation, forward
and backward.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from weakref import ReferenceType, WeakKeyDictionary, ref

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from robustft.errors import RobustftError
from robustft.speed.optimizations import suits_channels_last

Pair = tuple[nn.Conv2d, nn.BatchNorm2d]

_known_pairs: WeakKeyDictionary[nn.Module, list[tuple[ReferenceType[nn.Module], ...]]] = WeakKeyDictionary()
"""By the first batch norm of a network: all its batch norms, then the pairs. Several models may hold one network."""


class _Readers(TorchFunctionMode):
    """Counts how often each convolution's result is read by whatever function."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: dict[int, int] = {}

    def __torch_function__(
        self, function: Callable[..., Any], types: Sequence[type], args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        result = function(*args, **(kwargs or {}))
        if isinstance(result, int | str | torch.Size | torch.dtype | torch.device | torch.layout):
            return result  # asked for its shape or kind, not for its values
        for value in (*args, *(kwargs or {}).values()):
            for tensor in value if isinstance(value, list | tuple) else (value,):
                if id(tensor) in self.counts:
                    self.counts[id(tensor)] += 1
        return result


def foldable(model: nn.Module, x: Tensor) -> list[Pair]:
    """Return each convolution whose every result goes to one batch norm, and nowhere else, with that batch norm.

    Found by passing the first image of x (n, ...) through the model as it is now; its batch norms that fold are those
    in evaluation mode with running statistics.
    """
    results: dict[int, tuple[Tensor, nn.Conv2d]] = {}
    sources: dict[nn.BatchNorm2d, list[nn.Conv2d | None]] = {}
    results_of: dict[nn.Conv2d, list[int]] = {}
    readers = _Readers()

    def convolved(module: nn.Conv2d, _: Any, result: Tensor) -> None:
        results[id(result)] = result, module  # a reference, so that no other tensor gets its id
        results_of.setdefault(module, []).append(id(result))
        readers.counts[id(result)] = 0

    def normalised(module: nn.BatchNorm2d, inputs: tuple[Tensor]) -> None:
        sources.setdefault(module, []).append(results.get(id(inputs[0]), (None, None))[1])

    hooks = [m.register_forward_hook(convolved) for m in model.modules() if type(m) is nn.Conv2d]
    hooks += [m.register_forward_pre_hook(normalised) for m in model.modules() if _folds(m)]
    try:
        with torch.no_grad(), readers:
            model(x[:1])
    finally:
        for hook in hooks:
            hook.remove()
    pairs = []
    for norm, convolutions in sources.items():
        convolution = convolutions[0]
        if convolution is None or any(other is not convolution for other in convolutions):
            continue
        numbers = results_of[convolution]
        if len(numbers) == len(convolutions) and all(readers.counts[number] == 1 for number in numbers):
            pairs.append((convolution, norm))
    return pairs


def _folds(module: nn.Module) -> bool:
    plain = type(module) is nn.BatchNorm2d or getattr(module, "folds", False)
    return plain and not module.training and module.running_var is not None


@dataclass
class _Folded:
    """A convolution and its batch norm that act as one: the first does the work of both, the second none."""

    convolution: nn.Conv2d
    norm: nn.BatchNorm2d
    passing: Tensor | None = None

    def __post_init__(self) -> None:
        norm, convolution = self.norm, self.convolution
        assert norm.running_mean is not None
        assert norm.running_var is not None
        scale = torch.rsqrt(norm.running_var + norm.eps)
        if norm.weight is not None:
            scale = scale * norm.weight
        shift = norm.running_mean if convolution.bias is None else norm.running_mean - convolution.bias
        self.weight = convolution.weight * scale.view(-1, 1, 1, 1)
        self.bias = -shift * scale if norm.bias is None else norm.bias - shift * scale
        if self.weight.dtype == torch.float32 and torch.is_autocast_enabled(self.weight.device.type):
            # Autocast would cast them at every step: it remembers only weights that need a gradient.
            dtype = torch.get_autocast_dtype(self.weight.device.type)
            self.weight, self.bias = self.weight.to(dtype), self.bias.to(dtype)

    def convolve(self, x: Tensor) -> Tensor:
        self.expect(None)
        if suits_channels_last(self.convolution, x):
            self.passing = self.convolution._conv_forward(x, self.weight, self.bias)
        else:
            self.passing = self.convolution._conv_forward(x.contiguous(), self.contiguous_weight, self.bias)
        return self.passing

    @cached_property
    def contiguous_weight(self) -> Tensor:
        """The weight with each channel's pixels together."""
        return self.weight.contiguous()

    def normalise(self, x: Tensor) -> Tensor:
        self.expect(x)
        self.passing = None
        return x

    def expect(self, result: Tensor | None) -> None:
        """Raise RobustftError unless the convolution's last result is this one, or was normalised if None."""
        if result is not self.passing:
            raise RobustftError(
                "a batch norm was folded into a convolution that it does not follow any more",
                where=f"{self.convolution} and {self.norm}",
                next_step="set `optimizations: {folded_batch_norm: false}` in the scale: this model changes its path",
            )


def _pairs(model: nn.Module, x: Tensor) -> list[Pair]:
    """Return the foldable pairs of a model, looked for once."""
    norms = [module for module in model.modules() if _folds(module)]
    if not norms:
        return []
    known = _known_pairs.get(norms[0])
    if known is None or [reference() for reference in known[0]] != norms:
        pairs = foldable(model, x)
        if not _alike(model, x[:1], pairs):
            pairs = []
        _known_pairs[norms[0]] = [tuple(map(ref, norms)), *(tuple(map(ref, pair)) for pair in pairs)]
        return pairs
    return [(convolution(), norm()) for convolution, norm in known[1:]]  # type: ignore[misc]


def _alike(model: nn.Module, x: Tensor, pairs: Sequence[Pair]) -> bool:
    """Tell whether the folded model gives what the model gives, up to rounding, on images x.

    A reader of a convolution may have gone unseen: the caller, if the model returns the result, or scripted code.
    """
    with torch.no_grad():
        plain = model(x)
        with _acting(pairs):
            folded = model(x)
    both = zip(*(value if isinstance(value, list | tuple) else (value,) for value in (plain, folded)), strict=True)
    return all(_close(a, b) for a, b in both)


def _close(plain: Tensor, folded: Tensor) -> bool:
    """Tell whether two results differ by rounding at most; logits may hold -inf where there is nothing to choose."""
    finite = plain.isfinite()
    if not torch.equal(finite, folded.isfinite()):
        return False
    a, b = plain[finite], folded[finite]
    # A twentieth is more than rounding in bfloat16, and less than a shift and a scale make of random numbers.
    return not len(a) or bool((a - b).abs().max() <= 0.05 * a.abs().max() + 1e-6)


@contextlib.contextmanager
def _acting(pairs: Sequence[Pair]) -> Iterator[None]:
    """Let each pair's convolution do the work of both within the context."""
    with torch.no_grad():
        folded = [_Folded(convolution, norm) for convolution, norm in pairs]
    for pair in folded:
        pair.convolution.forward = pair.convolve  # type: ignore[method-assign, assignment]
        pair.norm.forward = pair.normalise  # type: ignore[method-assign, assignment]
    try:
        yield
        for pair in folded:
            pair.expect(None)
    finally:
        for pair in folded:
            del pair.convolution.forward, pair.norm.forward


@contextlib.contextmanager
def folded_batch_norm(model: nn.Module, x: Tensor) -> Iterator[int]:
    """Fold what can be folded within the context; yield how many batch norms that is.

    The model must be in evaluation mode and keep its weights within the context; no gradient reaches the weights of
    folded layers. Models without batch norm and models that are folded already stay as they are. The foldable pairs of
    a model are searched once, with the first of the images x (n, C, H, W).
    """
    if any("forward" in vars(module) for module in model.modules()):
        yield 0
        return
    pairs = _pairs(model, x)
    with _acting(pairs):
        yield len(pairs)
