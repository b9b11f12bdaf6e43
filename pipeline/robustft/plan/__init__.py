"""From configuration to steps, each with its inputs and outputs. Never imports torch.

A name is imported at its first use: a job needs `plan.step`, but neither the planner nor the configuration.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from robustft.plan.graph import RESULTS
    from robustft.plan.origins import Origin, origins_of
    from robustft.plan.plan import Plan

_MODULES = {"RESULTS": "graph", "Origin": "origins", "origins_of": "origins", "Plan": "plan"}
"""The module that defines each name."""

__all__ = ["RESULTS", "Origin", "Plan", "origins_of"]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'robustft.plan' has no attribute '{name}'")
    return getattr(importlib.import_module(f"robustft.plan.{_MODULES[name]}"), name)
