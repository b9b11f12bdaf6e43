"""robustft: five papers on adversarially robust fine-tuning, re-run end to end, each number with its records.

As a library (docs/api.md shows each name with an example):

evaluate: attacks on a model of yours, judged, with a card. load: a checkpoint of this project as a model. threat,
ThreatModel: which images an attack may make. pgd, autoattack: attacks on any `torch.nn.Module`. make_plan: the steps of
a scale. audit: whether numbers follow from records. RobustftError: what all of them raise for what a user can mend.

A name is imported when it is first asked for, so `import robustft` itself needs neither torch nor PyYAML.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from robustft.source_only import install as _install

if TYPE_CHECKING:
    from robustft.api.attacks import autoattack, pgd, threat
    from robustft.api.models import load
    from robustft.api.plans import make_plan
    from robustft.assess.evaluation import evaluate
    from robustft.attacks.threat import ThreatModel
    from robustft.errors import RobustftError
    from robustft.provenance.audit import audit

_install()  # before any other module of this package

__version__ = "0.1.0"

PUBLIC = {
    "RobustftError": "robustft.errors",
    "ThreatModel": "robustft.attacks.threat",
    "audit": "robustft.provenance.audit",
    "autoattack": "robustft.api.attacks",
    "evaluate": "robustft.assess.evaluation",
    "load": "robustft.api.models",
    "make_plan": "robustft.api.plans",
    "pgd": "robustft.api.attacks",
    "threat": "robustft.api.attacks",
}
"""Where each public name is defined."""

__all__ = [
    "RobustftError",
    "ThreatModel",
    "audit",
    "autoattack",
    "evaluate",
    "load",
    "make_plan",
    "pgd",
    "threat",
]


def __getattr__(name: str) -> Any:
    if name not in PUBLIC:
        raise AttributeError(f"module 'robustft' has no attribute '{name}'")
    return getattr(importlib.import_module(PUBLIC[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *PUBLIC])
