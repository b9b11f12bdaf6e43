"""A pretend GPU: CPU tensors that call themselves `cuda:0`, so that a machine without a GPU runs the path of one.

A `GpuTensor` wraps a CPU tensor. Python sees `cuda:0` in `device` and True in `is_cuda`, so every branch that asks is a
GPU's. C++ sees a CPU tensor, so values are those of the CPU to the last bit. Every operation passes the `Gpu`, a
dispatch mode that does what a real one would do:

- operands on two devices raise `MixedDevicesError`;
- kernels that refuse to run deterministically raise `NotRepeatableError`, if the process asks for repeatable results;
- kernels, waits of the host for the GPU, and copies to it are counted, the last two by the line that caused them.

What it cannot show: which kernels of cuDNN and of attention are chosen, what autocast casts on CUDA, NCCL, compiled
code, CUDA graphs, memory, and time.
"""

from __future__ import annotations

import contextlib
import importlib
import sys
from collections import Counter
from collections.abc import Iterator
from typing import Any
from unittest import mock

import torch
import torch.utils._foreach_utils
from torch import Tensor, nn
from torch.cuda._utils import _get_device_index
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils._pytree import tree_leaves, tree_map_only

CUDA = torch.device("cuda", 0)

WAITING = frozenset({"_local_scalar_dense", "is_nonzero", "equal", "nonzero", "masked_select", "_unique2", "bincount"})
"""Operations whose result, or whose shape, the host has to know."""

NOT_REPEATABLE = frozenset(
    f"{name}_backward"
    for name in (
        *(f"upsample_{kind}" for kind in ("linear1d", "bilinear2d", "bicubic2d", "trilinear3d")),
        *("_upsample_bilinear2d_aa", "_upsample_bicubic2d_aa", "grid_sampler_2d", "grid_sampler_3d"),
        *("_adaptive_avg_pool2d", "_adaptive_avg_pool3d", "adaptive_max_pool2d", "adaptive_max_pool3d"),
        *("reflection_pad1d", "reflection_pad2d", "reflection_pad3d", "fractional_max_pool2d", "avg_pool3d"),
        *("fractional_max_pool3d", "_ctc_loss"),
    )
) | {"put", "put_", "histc", "max_unpool2d", "max_unpool3d"}
"""The operations whose CUDA kernels call alertNotDeterministic (torch 2.14; torch.use_deterministic_algorithms)."""


class MixedDevicesError(RuntimeError):
    """Operands are on two devices."""


class NotRepeatableError(RuntimeError):
    """A kernel has no deterministic form."""


class GpuTensor(Tensor):
    """A tensor of the pretend GPU; `inner` holds its values on the CPU."""

    inner: Tensor

    @staticmethod
    def __new__(cls, inner: Tensor) -> GpuTensor:
        made = Tensor._make_wrapper_subclass(
            cls,
            inner.shape,
            strides=inner.stride(),
            storage_offset=inner.storage_offset(),
            dtype=inner.dtype,
            layout=inner.layout,
            device="cpu",
        )
        made.inner = inner
        return made

    __torch_function__ = torch._C._disabled_torch_function_impl
    device = property(lambda self: CUDA)
    is_cuda = property(lambda self: True)
    is_cpu = property(lambda self: False)

    def __repr__(self, **_: Any) -> str:
        return f"GpuTensor({self.inner!r})"

    @classmethod
    def __torch_dispatch__(cls, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return Gpu.running().__torch_dispatch__(operation, types, args, kwargs)

    def get_device(self) -> int:
        return 0

    def to(self, *args: Any, **kwargs: Any) -> Tensor:
        device, dtype, layout, copy = _destination(*args, **kwargs)
        if device is not None and device.type == "cpu":
            return _ToHost.apply(self, dtype)
        stays = dtype in (None, self.dtype) and (layout is None or self.inner.is_contiguous(memory_format=layout))
        if stays and not copy:
            return self
        wanted = {"dtype": dtype, "memory_format": layout}
        return torch.ops.aten._to_copy(self, **{key: value for key, value in wanted.items() if value is not None})

    def cpu(self) -> Tensor:
        return self.to("cpu")

    def cuda(self, *_: Any) -> Tensor:
        return self

    def tolist(self) -> Any:
        Gpu.running().waits[f"tolist, {_line()}"] += 1
        return self.inner.tolist()

    def numpy(self, *_: Any) -> Any:
        raise TypeError("can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu() to copy the tensor first.")

    __array__ = numpy

    def data_ptr(self) -> int:
        return self.inner.data_ptr()

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        if id(self) not in memo:
            copied = GpuTensor(self.inner.detach().clone(memory_format=torch.preserve_format))
            is_parameter = isinstance(self, nn.Parameter)
            made = (
                nn.Parameter(copied, self.requires_grad) if is_parameter else copied.requires_grad_(self.requires_grad)
            )
            memo[id(self)] = made
        return memo[id(self)]

    def __reduce_ex__(self, protocol: Any) -> Any:
        Gpu.running().waits[f"saved, {_line()}"] += 1
        return self.inner.detach().__reduce_ex__(protocol)


class _ToHost(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: GpuTensor, dtype: torch.dtype | None) -> Tensor:
        Gpu.running().waits[f"copy to host, {_line()}"] += 1
        ctx.dtype = x.dtype
        return x.inner.detach().to(dtype=dtype, copy=True)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        return GpuTensor(gradient.to(ctx.dtype)), None


class _ToGpu(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, dtype: torch.dtype | None, layout: Any) -> GpuTensor:
        Gpu.running().copies[_line()] += 1
        ctx.dtype = x.dtype
        shaped = {} if layout is None else {"memory_format": layout}
        return GpuTensor(x.detach().to(dtype=dtype or x.dtype, copy=True, **shaped))

    @staticmethod
    def backward(ctx: Any, gradient: GpuTensor) -> Any:
        return gradient.inner.to(ctx.dtype), None, None


class GpuGenerator(torch.Generator):
    """A generator that says on which device it draws; the numbers are the CPU's."""

    def __new__(cls, device: Any = "cpu") -> GpuGenerator:
        made = super().__new__(cls, device="cpu")
        made.of = CUDA if torch.device(device).type == "cuda" else torch.device(device)
        return made

    @property
    def device(self) -> torch.device:
        return self.of


def _destination(*args: Any, **kwargs: Any) -> tuple[torch.device | None, torch.dtype | None, Any, bool]:
    """Return device, dtype, memory format and `copy` of a call of `Tensor.to`."""
    other = kwargs.pop("other", args[0] if args and isinstance(args[0], Tensor) else None)
    copy = kwargs.pop("copy", False)
    if other is not None:
        return other.device, other.dtype, None, copy
    device, dtype, _, layout = torch._C._nn._parse_to(*args, **kwargs)
    return device, dtype, layout, copy


def _line() -> str:
    """Return the innermost line of the package on the stack, `models/x.py:12`."""
    frame = sys._getframe(1)
    while frame is not None:
        _, found, place = frame.f_code.co_filename.partition("/pipeline/robustft/")
        if found:
            return f"{place}:{frame.f_lineno}"
        frame = frame.f_back
    return "backward"


class _Moves(TorchFunctionMode):
    """The way of plain tensors to the pretend GPU: C++ would ask a driver for it."""

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if function in (Tensor.to, Tensor.cuda) and not isinstance(args[0], GpuTensor):
            device, dtype, layout, _ = (
                (CUDA, None, None, 0) if function is Tensor.cuda else _destination(*args[1:], **kwargs)
            )
            if device is not None and device.type == "cuda":
                return _ToGpu.apply(args[0], dtype, layout)
        self._check_generator(args, kwargs)
        to_gpu = kwargs.get("device") is not None and torch.device(kwargs["device"]).type == "cuda"
        if to_gpu:
            kwargs["device"] = CUDA
        if to_gpu and function in (torch.tensor, torch.as_tensor):
            made = function(*args, **{**kwargs, "device": "cpu"})
            return made if isinstance(made, GpuTensor) else _ToGpu.apply(made.detach(), None, None)
        if function is Tensor.new_tensor and isinstance(args[0], GpuTensor):
            return _ToGpu.apply(args[0].inner.new_tensor(*args[1:], **kwargs), None, None)
        return function(*args, **kwargs)

    @staticmethod
    def _check_generator(args: Any, kwargs: dict[str, Any]) -> None:
        draws = kwargs.get("generator")
        if not isinstance(draws, GpuGenerator):
            return
        beside = next((one.device for one in args if isinstance(one, Tensor)), "cpu")
        wanted = torch.device(kwargs.get("device") or beside)
        if wanted.type != draws.device.type:
            raise MixedDevicesError(
                f"expected a '{wanted.type}' generator and found a '{draws.device.type}' one, {_line()}"
            )


class Gpu(TorchDispatchMode):
    """The pretend GPU: runs every operation on the CPU, by the rules of a real one, and counts."""

    now: Gpu | None = None
    """The one that runs."""

    def __init__(self) -> None:
        super().__init__()
        self.reset()

    def reset(self) -> None:
        """Count from zero."""
        self.kernels = self.casts = 0
        self.waits: Counter[str] = Counter()
        self.copies: Counter[str] = Counter()

    @classmethod
    def running(cls) -> Gpu:
        assert cls.now is not None, "a tensor of the pretend GPU outlived it"
        return cls.now

    def __enter__(self) -> Gpu:
        Gpu.now = self
        return super().__enter__()

    def __exit__(self, *error: Any) -> None:
        Gpu.now = None
        super().__exit__(*error)

    def __torch_dispatch__(self, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs, name = dict(kwargs or {}), operation._schema.name.split("::")[1]
        tensors = [one for one in tree_leaves((args, kwargs)) if isinstance(one, Tensor)]
        here = [one for one in tensors if isinstance(one, GpuTensor)]
        elsewhere = [one for one in tensors if not isinstance(one, GpuTensor)]
        asked = kwargs.get("device")
        asked_here = asked is not None and torch.device(asked).type == "cuda"
        if asked_here:
            kwargs["device"] = torch.device("cpu")
        if name == "copy_" and isinstance(args[0], GpuTensor) is not isinstance(args[1], GpuTensor):
            counts, what = (self.copies, "") if isinstance(args[0], GpuTensor) else (self.waits, "copy to host, ")
            counts[what + _line()] += 1
        elif name == "_to_copy" and elsewhere and asked_here:
            self.copies[_line()] += 1
        elif here or asked_here:
            self._check(name, args, here, elsewhere)
            self.casts += name == "_to_copy"
            self.kernels += not operation.is_view
        else:
            return operation(*args, **kwargs)
        result = operation(*_inner(args), **_inner(kwargs))
        return self._wrapped(operation, name, args, kwargs, result)

    @staticmethod
    def _wrapped(operation: Any, name: str, args: Any, kwargs: Any, result: Any) -> Any:
        schema = operation._schema
        if schema.is_mutable and not schema.returns:
            return None
        if name.endswith("_") and not name.endswith("__"):
            return args[0]
        wrapped = tree_map_only(Tensor, lambda one: one if isinstance(one, GpuTensor) else GpuTensor(one), result)
        if any(one.alias_info is not None for one in schema.returns):
            return return_and_correct_aliasing(operation, args, kwargs, wrapped)
        return wrapped

    def _check(self, name: str, args: Any, here: list[Any], elsewhere: list[Tensor]) -> None:
        """Raise what CUDA would raise, and count waits."""
        indexing = name.strip("_").removesuffix("_impl") in ("index", "index_put", "unsafe_index")
        if elsewhere and indexing:
            self.copies.update(f"index, {_line()}" for one in elsewhere if one.dim())
        elif any(one.dim() for one in elsewhere) or (name.endswith("_") and any(args[0] is one for one in elsewhere)):
            raise MixedDevicesError(f"{name}: expected all tensors on one device, found cuda:0 and cpu, {_line()}")
        if name in WAITING:
            self.waits[f"{name}, {_line()}"] += 1
        masked = indexing and any(one is not None and one.dtype in (torch.bool, torch.uint8) for one in args[1])
        if masked and ("put" not in name or args[2].numel() > 1):
            self.waits[f"boolean mask, {_line()}"] += 1
        if name in NOT_REPEATABLE and torch.are_deterministic_algorithms_enabled():
            raise NotRepeatableError(f"{name} does not have a deterministic implementation on CUDA, {_line()}")


def _inner(values: Any) -> Any:
    return tree_map_only(GpuTensor, lambda one: one.inner, values)


def _nothing(*_: Any, **__: Any) -> None:
    """Do nothing."""


def _grouped(lists: Any, *args: Any, **kwargs: Any) -> Any:
    """Group tensors as the foreach kernels of optimisers do, with those of the pretend GPU under its name."""
    found = _group(lists, *args, **kwargs)
    some = next((one for one in lists[0] if one is not None), None)
    return {(CUDA, dtype): group for (_, dtype), group in found.items()} if isinstance(some, GpuTensor) else found


_group = torch.utils._foreach_utils._group_tensors_by_device_and_dtype
_autocast = torch.autocast


@contextlib.contextmanager
def pretend_gpu() -> Iterator[Gpu]:
    """Let torch.cuda look like one GPU, and yield the pretend one: within the context it is `cuda` and `cuda:0`."""
    for module in ("torch.cuda.amp.common", "torch._dynamo", "torch._functorch.config"):
        importlib.import_module(module)  # they ask for a GPU when they are first imported
    answers = {
        "is_available": True, "device_count": 1, "is_initialized": True, "current_device": 0,
        "mem_get_info": (1 << 36,) * 2,
        "max_memory_allocated": 0, "get_device_name": "a pretend GPU", "is_bf16_supported": True,
        "is_current_stream_capturing": False, "get_device_properties": mock.Mock(uuid="pretend"),
    }  # fmt: skip
    patches: dict[str, Any] = {f"torch.cuda.{name}": lambda *_, _it=it, **__: _it for name, it in answers.items()}
    silent = ("_lazy_init", "synchronize", "reset_peak_memory_stats", "manual_seed", "manual_seed_all")
    patches |= {f"torch.cuda.{name}": _nothing for name in silent}
    patches |= {f"torch.cuda.random.{name}": _nothing for name in ("manual_seed", "manual_seed_all")}
    patches |= {
        "torch.cuda.set_device": lambda device: _get_device_index(device),
        "torch.cuda.amp.common.amp_definitely_not_available": lambda: False,
        "torch.backends.cudnn.version": lambda: 0,
        "torch.Generator": GpuGenerator,
        "torch.autocast": lambda _, *args, **kwargs: _autocast("cpu", *args, **kwargs),
        "torch.optim.Optimizer._accelerator_graph_capture_health_check": _nothing,
    }
    for module in ("torch.utils._foreach_utils", "torch.optim.optimizer", "torch.nn.utils.clip_grad"):
        if hasattr(sys.modules.get(module), "_group_tensors_by_device_and_dtype"):
            patches[f"{module}._group_tensors_by_device_and_dtype"] = _grouped
    with contextlib.ExitStack() as stack:
        for name, replacement in patches.items():
            stack.enter_context(mock.patch(name, replacement))
        # `parameter.data = moved` would keep a plain parameter: modules get new ones instead.
        before = torch.__future__.get_overwrite_module_params_on_conversion()
        torch.__future__.set_overwrite_module_params_on_conversion(True)
        stack.callback(torch.__future__.set_overwrite_module_params_on_conversion, before)
        stack.enter_context(_Moves())
        yield stack.enter_context(Gpu())
