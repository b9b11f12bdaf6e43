"""benchmarks/ is run as `python -m benchmarks.TOPIC` from the checkout, and imported here as it is there."""

from __future__ import annotations

import sys

from robustft.files import ROOT

sys.path.insert(0, str(ROOT))
