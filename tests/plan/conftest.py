"""Fixtures of the tests of the plan's rooms."""

import pytest

from robustft.config import Config
from robustft.plan import Plan
from tests import toy_config
from tests.plan.toy_plan import ARCHIVED, FILES, PICTURES, WEIGHTS
from tests.toy_config import paper


@pytest.fixture(scope="session")
def demo() -> Plan:
    return Plan(Config(scale="demo"))


@pytest.fixture(scope="session")
def plan(tmp_path_factory) -> Plan:
    return Plan(toy_config.write(tmp_path_factory.mktemp("plan") / "config"))


@pytest.fixture
def planned(tmp_path):
    """Plan the small configuration with some values replaced."""
    return lambda **changes: Plan(toy_config.write(tmp_path / "config", **changes))


@pytest.fixture
def published(planned):
    """Plan a configuration whose experiment runs on a downloaded set and starts from published weights."""

    def make(**changes):
        datasets = {
            "files": {"archive": FILES["archive"]},
            "sources": {"archived": ARCHIVED},
            "datasets": {"pictures": {**PICTURES, "augmentation": {"pad": 0, "flip": False}}},
        }
        selected = {"recipe": {"selection": "last"}, "datasets": ["pictures"], "pretraining": "robust"}
        values = {
            "datasets": datasets,
            "weights": WEIGHTS,
            "paper": paper(experiment=selected),
            "scale": {"stand_ins": {"datasets": {"pictures": "pictures"}, "pretraining": {"robust": "robust"}}},
        }
        return planned(**{**values, **changes})

    return make
