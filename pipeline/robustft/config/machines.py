"""benchmarks/machines.yaml: machines for estimates without a measurement."""

from __future__ import annotations

from typing import Literal

from msgspec import UNSET

from robustft.config.common import Maybe, Name, Positive, Struct


class Rates(Struct, frozen=True, kw_only=True):
    """A number for each precision."""

    float32: Positive
    bfloat16: Maybe[Positive] = UNSET


class Machine(Struct, frozen=True, kw_only=True):
    """A device: its published peak in TFLOP/s for dense matrices, and the assumed share of it."""

    title: str
    device: Literal["cpu", "cuda"]
    tflops: Rates
    utilisation: Rates
    source: str


class Machines(Struct, frozen=True, kw_only=True):
    """The machines by name, and the default machine for a GPU."""

    default: str
    machines: dict[Name, Machine]
