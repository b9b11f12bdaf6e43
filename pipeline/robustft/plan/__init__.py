"""From configuration to steps: what there is to run, from what, into which files. Never imports torch.

A name is imported when it is first asked for: a job needs `plan.step` and neither the planner nor the configuration.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from robustft.plan.graph import RESULTS
    from robustft.plan.origins import Origin, origins_of
    from robustft.plan.plan import Plan

_MODULES = {"RESULTS": "graph", "Origin": "origins", "origins_of": "origins", "Plan": "plan"}
"""Where each name is defined."""

__all__ = ["RESULTS", "Origin", "Plan", "origins_of"]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'robustft.plan' has no attribute '{name}'")
    return getattr(importlib.import_module(f"robustft.plan.{_MODULES[name]}"), name)
