"""Fixtures that the unit tests of the numeric core share."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from robustft.models.classifier import Classifier, build_classifier

# Helpers are no test modules, so pytest rewrites their assertions only when told to.
pytest.register_assert_rewrite("tests.methods.cases", "tests.train.toy", "tests.train.group")


@pytest.fixture(scope="session", autouse=True)
def one_torch_thread() -> None:
    """The box is shared, and the sums of one thread are the same on every box."""
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def modules_of_a_test_are_forgotten(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A user's module that a test wrote and imported would be loaded code of every later test."""
    before, written = set(sys.modules), str(tmp_path_factory.getbasetemp())
    yield
    for name in set(sys.modules) - before:
        if (getattr(sys.modules[name], "__file__", None) or "").startswith(written):
            del sys.modules[name]


@pytest.fixture
def torch_settings_restored() -> Iterator[None]:
    """For tests of code that sets torch's process-wide switches."""
    threads, deterministic = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    benchmark, filled = torch.backends.cudnn.benchmark, torch.utils.deterministic.fill_uninitialized_memory
    yield
    torch.utils.deterministic.fill_uninitialized_memory = filled
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(deterministic)
    torch.backends.cudnn.benchmark = benchmark


@pytest.fixture(scope="session")
def tiny_backbone() -> dict[str, Any]:
    """The specification of a small residual network for grey 8x8 images."""
    return {
        "name": "tiny",
        "implementation": "robustft.models.backbones.resnet:ResNet",
        "parameters": {"width": 4, "blocks": [1, 1]},
        "normalisation": {"mean": [0.3], "std": [0.4]},
    }


@pytest.fixture(scope="session")
def tiny_model(tiny_backbone: dict[str, Any]) -> Callable[..., Classifier]:
    """Build small classifiers of 1x8x8 images; equal seeds give equal weights.

    `lived`: give batch norm the statistics, scales and shifts of a network that has been trained (a fresh one has
    mean 0, variance 1, scale 1, shift 0, under which many mistakes are invisible).
    """

    def make(*, seed: int = 0, classes: int = 5, lived: bool = False, dtype: torch.dtype = torch.float32) -> Classifier:
        torch.manual_seed(seed)
        model = build_classifier(tiny_backbone, shape=[1, 8, 8], classes=classes)
        if lived:
            for layer in model.modules():
                if isinstance(layer, nn.BatchNorm2d):
                    with torch.no_grad():
                        layer.running_mean.normal_(0, 0.3)
                        layer.running_var.uniform_(0.5, 2.0)
                        layer.num_batches_tracked.fill_(17)
                        layer.weight.uniform_(0.5, 1.5)
                        layer.bias.normal_(0, 0.3)
        return model.to(dtype)

    return make


@pytest.fixture(scope="session")
def random_batch() -> Callable[..., tuple[Tensor, Tensor]]:
    """Draw images (n, 1, 8, 8) in [0, 1], away from its ends, and labels (n,) that hold every class."""

    def make(n: int, *, seed: int = 0, classes: int = 5, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
        draws = torch.Generator().manual_seed(seed)
        x = 0.05 + 0.9 * torch.rand(n, 1, 8, 8, generator=draws, dtype=dtype)
        return x, torch.arange(n) % classes

    return make


@pytest.fixture(scope="session")
def class_patterns() -> Callable[..., tuple[Tensor, Tensor]]:
    """Draw noisy images (n, 1, 8, 8) of five fixed patterns, one for each class: a problem that can be learnt."""

    def make(n: int, *, seed: int = 0, noise: float = 0.1, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
        patterns = torch.rand(5, 1, 8, 8, generator=torch.Generator().manual_seed(1234), dtype=dtype)
        y = torch.arange(n) % 5
        draws = torch.Generator().manual_seed(seed)
        x = patterns[y] + noise * torch.randn(n, 1, 8, 8, generator=draws, dtype=dtype)
        return x.clamp(0, 1), y

    return make
