"""benchmarks/machines.yaml: machines that runs are estimated for without a measurement."""

from __future__ import annotations

from typing import Literal

from msgspec import UNSET

from robustft.config.common import Maybe, Name, Positive, Struct


class Rates(Struct, frozen=True, kw_only=True):
    """A number for each precision."""

    float32: Positive
    bfloat16: Maybe[Positive] = UNSET


class Machine(Struct, frozen=True, kw_only=True):
    """A device: its published peak in TFLOP/s for dense matrices, and the share of it that is assumed."""

    title: str
    device: Literal["cpu", "cuda"]
    tflops: Rates
    utilisation: Rates
    source: str


class Machines(Struct, frozen=True, kw_only=True):
    """The machines by name, and the one that is assumed for a GPU."""

    default: str
    machines: dict[Name, Machine]
