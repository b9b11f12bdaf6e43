from __future__ import annotations

import pytest

from robustft.cost import CostModel
from robustft.plan import Plan
from tests import toy_config
from tests.cost.small import ALONE, MACHINE


@pytest.fixture
def planned(tmp_path):
    """Price the small plan with some values replaced."""
    return lambda **changes: CostModel(Plan(toy_config.write(tmp_path / "config", **changes)), MACHINE)


@pytest.fixture
def model(planned):
    return planned(scale=ALONE)
