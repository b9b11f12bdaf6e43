"""Worlds of measured runs that several tests of verdicts judge."""

import numpy as np
import pytest

from tests.report.measured import World


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


@pytest.fixture
def three(world):
    """Three seeds; `strong` keeps most of 200 images, `weak` few; `lone` has two seeds."""
    generator = np.random.default_rng(0)
    for method, share in (("weak", 0.3), ("strong", 0.9), ("lone", 0.5)):
        for seed in range(3 if method != "lone" else 2):
            world.add(method, seed, {"aa": (generator.random(200) < share).astype(int).tolist()})
    return world
