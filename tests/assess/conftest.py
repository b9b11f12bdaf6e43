"""One small evaluation that the tests of this room read; a test that changes it works on a copy."""

import shutil

import numpy as np
import pytest
import torch
from torch import nn

from robustft.assess.evaluation import evaluate


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 5))


def arrays(count: int = 30) -> tuple[np.ndarray, np.ndarray]:
    """Images that the network gets right, mostly: its own predictions, some of them changed."""
    images = np.random.default_rng(0).random((count, 1, 8, 8), dtype=np.float32)
    labels = network()(torch.tensor(images)).argmax(1).numpy().copy()
    labels[::7] = (labels[::7] + 1) % 5
    labels[:5] = np.arange(5)
    return images, labels


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    """The folder of an evaluation at two eps."""
    folder = tmp_path_factory.mktemp("made") / "evaluation"
    evaluate(network(), arrays(), eps=["1/50", "1/25"], attacks=["pgd10", "cw"], to=folder, threads=1)
    return folder


@pytest.fixture
def copy(made, tmp_path):
    shutil.copytree(made, tmp_path / "copy")
    return tmp_path / "copy"
