"""What a plan would cost, from a stated model. Estimates only: they order machines, they enter no result.

`passes` counts how often images go through a network, `machines` gives the time of a pass, `pricing` the time of a step
and `disk` its bytes. `selection` chooses the steps of a paper or a table, `estimate` adds them up, and `render` prints
the sums; `budget` orders tables by price and `render_tables` prints those. benchmarks/README.md
compares predictions with observed times.
"""

from robustft.cost.estimate import Costs, Estimate, costs, urgency
from robustft.cost.pricing import CostModel
from robustft.cost.render import as_json, describe, in_short
from robustft.cost.render_tables import describe_tables

__all__ = ["CostModel", "Costs", "Estimate", "as_json", "costs", "describe", "describe_tables", "in_short", "urgency"]
