"""What a plan would cost, from a stated model. Estimates only: they order machines, they enter no result.

`passes` counts how often images go through a network, `machines` says what a pass takes, `estimate` adds up time, disk
and downloads, `text` prints it. The README beside benchmarks/ says how well predictions have met what was observed.
"""

from robustft.cost.estimate import CostModel, Costs, Estimate, costs, urgency
from robustft.cost.text import as_json, describe, in_short

__all__ = ["CostModel", "Costs", "Estimate", "as_json", "costs", "describe", "in_short", "urgency"]
