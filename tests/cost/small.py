"""The small plan priced by hand."""

from __future__ import annotations

from robustft.cost.machines import Machine
from tests.toy_config import method, paper, part

MACHINE = Machine("toy", "Toy", "cpu", {"float32": 1.0}, "assumed, not measured", False)
"""At 1 GFLOP/s the small network of 0.0001 GFLOP takes 100, 200 and 300 us for a forward, attack and learn pass."""
ALONE = {"bundle": 0}


def derived(implementation, **parameters):
    methods = {"both": {**method(), "from": ["at", "partial"], "derivation": part(implementation, **parameters)}}
    return paper(methods=methods, experiment={"methods": ["at", "partial", "both"]})
