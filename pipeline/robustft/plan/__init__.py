"""From configuration to steps: what there is to run, from what, into which files. Never imports torch."""

from robustft.plan.graph import RESULTS
from robustft.plan.origins import Origin, origins_of
from robustft.plan.plan import Plan

__all__ = ["RESULTS", "Origin", "Plan", "origins_of"]
