"""Attacks on finished models. A ledger holds the outcome of each image.

`robustft.evaluate(model, data, ...)` is a function too: `robustft.assess.evaluation.evaluate`. Once this room is
imported, Python finds it under that name, so it can be called like the function.

>>> import robustft, torch
>>> model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 5))
>>> x, y = torch.rand(20, 1, 8, 8), torch.arange(20) % 5
>>> found = robustft.evaluate(model, (x, y), norm="linf", eps="8/255", attacks=["pgd20"])
>>> found.accuracy("pgd20") <= found.accuracy("clean")
True
"""

import importlib
import sys
import types
from typing import Any


class _Room(types.ModuleType):
    def __call__(self, *arguments: Any, **options: Any) -> Any:
        return importlib.import_module("robustft.assess.evaluation").evaluate(*arguments, **options)


sys.modules[__name__].__class__ = _Room
