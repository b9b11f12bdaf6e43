"""What every method must do, whatever it computes: one abstract case, and a concrete one in each method's test file.

A concrete case sets `method` and `reductions`, and states where the method differs from the ordinary (which
parameters it trains, whether it attacks images, which permutations leave its loss alone, which network it exports).
`test_completeness.py` fails for a configured method without one.
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import io
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import ClassVar

import pytest
import torch
from torch import Tensor, nn

from robustft.attacks.pgd import Budget
from robustft.attacks.threat import ThreatModel
from robustft.cost.passes import Passes, has_rule, method_passes
from robustft.methods.protocol import Method, PretrainingContext, Tuned, at_test
from robustft.models.checkpoint import load_strict
from robustft.models.classifier import Classifier
from robustft.models.two_wing_batch_norm import TwoWingBatchNorm2d
from robustft.speed.optimizations import Optimizations, apply_optimizations

BUDGET = Budget(ThreatModel("linf", Fraction(1, 10)), 3, Fraction(1, 2))


@dataclass(frozen=True)
class Reduction:
    """Settings under which a method is a simpler one: `method.loss(...)` totals what `baseline` returns."""

    name: str
    method: Method
    baseline: Callable[[Classifier, Tensor, Tensor, Tensor], Tensor]
    """(model, x, x_adv, y) -> scalar."""


class Logits(nn.Module):
    """A network whose logits are its pixels, so that a test can choose clean and adversarial logits by hand."""

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1)


def logits(*rows: list[float]) -> Tensor:
    """Images (n, 1, 1, K) in float64 that `Logits` maps to these rows."""
    return torch.tensor(rows, dtype=torch.float64).view(len(rows), 1, 1, -1)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def permutation(n: int, *, within_halves: bool) -> Tensor:
    """A fixed permutation without fixed structure; within halves, no image leaves its half (the first is larger)."""
    if not within_halves:
        return torch.randperm(n, generator=seeded(11))
    middle = (n + 1) // 2
    return torch.cat([permutation(middle, within_halves=False), middle + permutation(n - middle, within_halves=False)])


@contextlib.contextmanager
def counting_images(x: Tensor) -> Iterator[list[float]]:
    """Yield a list that holds how many images have passed a first layer without a gradient, and with one.

    The first layer is the convolution that sees grey or colour images; patches count by their share of an image's area.
    """
    found = [0.0, 0.0]
    area = x.shape[-2] * x.shape[-1]

    def count(layer: nn.Module, inputs: tuple[Tensor, ...], _: Tensor) -> None:
        if isinstance(layer, nn.Conv2d) and layer.in_channels in (1, 3):
            found[torch.is_grad_enabled()] += inputs[0][:, 0].numel() / area

    handle = nn.modules.module.register_module_forward_hook(count)
    try:
        yield found
    finally:
        handle.remove()


class MethodCase(ABC):
    """The tests that every method must pass; float64 throughout, so that tolerances say something."""

    method: ClassVar[Method]
    attacks_images: ClassVar[bool] = True
    """Whether `attack` makes adversarial images."""
    reach: ClassVar[float] = 1.0
    """How far `attack` may move an image, over eps: above 1 for a method that leaves the ball by design."""
    splits_batch: ClassVar[bool] = False
    """Whether the two halves of a batch are treated differently, so that only permutations within them are free."""
    lr: ClassVar[float] = 0.05
    falls_to: ClassVar[float] = 0.9
    """The share of its first value that ten steps leave of the loss, at most; rounding is 1e-15 of it."""

    @abstractmethod
    def reductions(self) -> list[Reduction]:
        """Return at least one setting under which the method is a named, simpler one."""

    def trains(self, name: str) -> bool:
        """Whether the parameter of this name is trained."""
        return True

    def start(self) -> PretrainingContext | None:
        """Return what the method looks at before training; most look at nothing."""
        return None

    @contextlib.contextmanager
    def at_test_time(self, model: Classifier) -> Iterator[None]:
        """Let the model that is being trained act as the one that is exported."""
        yield

    def rebuilt(self, plain: Classifier) -> Classifier:
        """Return a fresh network as it is rebuilt before the exported weights are loaded: with what stays attached."""
        return plain

    @pytest.fixture
    def prepared(self, tiny_model) -> Classifier:
        return self.method.prepare(tiny_model(lived=True, dtype=torch.float64), self.start()).train()

    @pytest.fixture
    def batch(self, random_batch) -> tuple[Tensor, Tensor, Tensor]:
        """Images, other images that stand for adversarial ones, and labels; an odd number of them."""
        x, y = random_batch(9, dtype=torch.float64)
        noise = 0.05 * torch.randn(x.shape, generator=seeded(1), dtype=x.dtype)
        return x, (x + noise).clamp(0, 1), y

    def total(self, model: Classifier, batch: tuple[Tensor, Tensor, Tensor]) -> Tensor:
        return self.method.loss(model, *batch).total

    def descend(self, model: Classifier, batch: tuple[Tensor, Tensor, Tensor], *, steps: int) -> None:
        trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        optimizer = torch.optim.SGD(trained, lr=self.lr)
        for _ in range(steps):
            optimizer.zero_grad()
            self.total(model, batch).backward()
            optimizer.step()

    def stated_cost(self) -> Passes:
        """Return the image passes that `robustft plan` counts for one image in one step of training."""
        method = self.method.inner if isinstance(self.method, Tuned) else self.method
        name = f"{type(method).__module__}:{type(method).__qualname__}"
        if not has_rule(name):
            pytest.skip("priced as adversarial training")
        return method_passes(name, dataclasses.asdict(method), BUDGET.steps)

    def test_its_stated_cost_is_what_it_takes(self, prepared, batch):
        x, _, y = batch
        apply_optimizations(
            prepared, Optimizations(needed_tokens=False)
        )  # with it, patches are no convolution that could be counted
        # Where batch norms can be folded is found once for a model, with a pass of its own.
        self.method.attack(prepared, x, y, budget=BUDGET, generator=seeded())
        with counting_images(x) as attacking:
            x_adv = self.method.attack(prepared, x, y, budget=BUDGET, generator=seeded())
        with counting_images(x) as learning:
            self.method.loss(prepared, x, x_adv, y)
        found = Passes(attacking[0] + learning[0], attacking[1], learning[1]) * (1 / len(x))
        assert found == self.stated_cost()

    def test_its_settings_cannot_change_while_it_trains(self):
        assert dataclasses.is_dataclass(self.method)
        with pytest.raises(dataclasses.FrozenInstanceError):
            self.method.anything = 1.0

    def test_it_reduces_to_the_baselines_it_names(self, prepared, batch):
        reductions = self.reductions()
        assert reductions
        trained = [parameter for parameter in prepared.parameters() if parameter.requires_grad]
        for reduction in reductions:
            ours = reduction.method.loss(prepared, *batch).total
            theirs = reduction.baseline(prepared, *batch)
            assert ours.item() == pytest.approx(theirs.item(), abs=1e-12), reduction.name
            if not theirs.requires_grad:
                continue
            pairs = zip(
                torch.autograd.grad(ours, trained, allow_unused=True, materialize_grads=True),
                torch.autograd.grad(theirs, trained, allow_unused=True, materialize_grads=True),
                strict=True,
            )
            for one, other in pairs:
                torch.testing.assert_close(one, other, rtol=0, atol=1e-12, msg=reduction.name)

    def test_the_total_is_the_sum_of_its_terms(self, prepared, batch):
        loss = self.method.loss(prepared, *batch)
        assert all(term.shape == () and term.isfinite() for term in loss.terms.values())
        assert loss.total.item() == pytest.approx(sum(term.item() for term in loss.terms.values()), abs=1e-12)

    def test_gradients_reach_exactly_the_parameters_that_it_trains(self, prepared, batch):
        self.total(prepared, batch).backward()
        names = dict(prepared.named_parameters())
        assert {name for name, p in names.items() if p.requires_grad} == set(filter(self.trains, names))
        reached = {name for name, p in names.items() if p.grad is not None and bool(p.grad.any())}
        assert reached == set(filter(self.trains, names))
        assert reached

    def test_the_order_of_the_batch_does_not_matter(self, prepared, batch):
        order = permutation(len(batch[0]), within_halves=self.splits_batch)
        shuffled = tuple(tensor[order] for tensor in batch)
        assert not torch.equal(order, torch.arange(len(order)))
        one, other = self.total(prepared, batch).item(), self.total(prepared, shuffled).item()
        assert one == pytest.approx(other, abs=1e-12)

    @pytest.mark.parametrize("norm", ["linf", "l2"])
    def test_adversarial_images_are_images_in_the_ball(self, norm, prepared, batch):
        x, _, y = batch
        x = x.clone()
        x[0], x[1] = 0.0, 1.0  # at the ends of the range
        threat = ThreatModel(norm, Fraction(1, 10))
        budget = Budget(threat, 3, Fraction(1, 2))
        x_adv = self.method.attack(prepared, x, y, budget=budget, generator=seeded())
        assert x_adv.shape == x.shape
        assert not x_adv.requires_grad
        assert x_adv.grad_fn is None
        assert threat.distance(x_adv, x).max() <= 0.1 * self.reach + 1e-12
        assert x_adv.min() >= 0
        assert x_adv.max() <= 1
        moved = threat.distance(x_adv, x)[2:] > 0
        assert moved.all() if self.attacks_images else not moved.any()

    @pytest.mark.parametrize("training", [True, False])
    def test_the_attack_leaves_no_trace_on_the_model(self, training, prepared, batch):
        x, _, y = batch
        prepared.train(training)
        next(prepared.backbone.children()).eval()  # modes need not be uniform, and each must come back
        state = copy.deepcopy(prepared.state_dict())  # running statistics and num_batches_tracked among it
        modes = [module.training for module in prepared.modules()]
        wings = [module.wing for module in prepared.modules() if isinstance(module, TwoWingBatchNorm2d)]
        needed = [parameter.requires_grad for parameter in prepared.parameters()]
        images = x.clone()
        self.method.attack(prepared, x, y, budget=BUDGET, generator=seeded())
        assert [module.training for module in prepared.modules()] == modes
        assert [m.wing for m in prepared.modules() if isinstance(m, TwoWingBatchNorm2d)] == wings
        assert [parameter.requires_grad for parameter in prepared.parameters()] == needed
        assert all(parameter.grad is None for parameter in prepared.parameters())
        for name, value in prepared.state_dict().items():
            assert torch.equal(value, state[name]), name
        assert torch.equal(x, images)

    def test_the_loss_leaves_modes_and_wings_as_they_were(self, prepared, batch):
        modes = [module.training for module in prepared.modules()]
        wings = [module.wing for module in prepared.modules() if isinstance(module, TwoWingBatchNorm2d)]
        self.total(prepared, batch)
        assert [module.training for module in prepared.modules()] == modes
        assert [m.wing for m in prepared.modules() if isinstance(m, TwoWingBatchNorm2d)] == wings

    def test_an_attack_does_not_depend_on_the_mode_it_finds(self, prepared, batch):
        x, _, y = batch
        training = self.method.attack(prepared.train(), x, y, budget=BUDGET, generator=seeded())
        evaluating = self.method.attack(prepared.eval(), x, y, budget=BUDGET, generator=seeded())
        assert torch.equal(training, evaluating)

    def test_equal_seeds_give_equal_bytes(self, prepared, batch):
        x, _, y = batch

        def adversarial(seed: int) -> Tensor:
            torch.rand(1)  # the state of the global generator must not matter
            return self.method.attack(prepared, x, y, budget=BUDGET, generator=seeded(seed))

        assert torch.equal(adversarial(5), adversarial(5))
        assert torch.equal(adversarial(5), adversarial(6)) is not self.attacks_images

    def test_the_export_is_an_ordinary_network_that_acts_as_at_test_time(self, prepared, batch, tiny_model):
        x = batch[0]
        self.descend(prepared, batch, steps=3)
        prepared.eval()
        with self.at_test_time(prepared), torch.no_grad():
            expected = prepared(x)
        exported = self.method.export(prepared).eval()
        assert type(exported) is Classifier
        assert not any(isinstance(module, TwoWingBatchNorm2d) for module in exported.modules())
        with torch.no_grad():
            assert torch.equal(exported(x), expected)
        fresh = self.rebuilt(tiny_model(seed=9, dtype=torch.float64)).eval()
        load_strict(fresh, exported.state_dict(), where=None)  # its names are those of the network that is rebuilt
        with torch.no_grad():
            assert torch.equal(fresh(x), expected)

    def test_what_is_monitored_is_the_exported_model_and_training_goes_on(self, prepared, batch):
        self.descend(prepared, batch, steps=2)
        state, modes = copy.deepcopy(prepared.state_dict()), [module.training for module in prepared.modules()]
        with at_test(self.method, prepared) as tested, torch.no_grad():
            monitored = tested(batch[0])
        assert [module.training for module in prepared.modules()] == modes
        assert all(torch.equal(value, state[name]) for name, value in prepared.state_dict().items())
        with torch.no_grad():
            assert torch.equal(self.method.export(prepared).eval()(batch[0]), monitored)

    def test_a_saved_state_loads_into_a_fresh_model(self, prepared, batch, tiny_model):
        self.descend(prepared, batch, steps=2)
        buffer = io.BytesIO()
        torch.save(prepared.state_dict(), buffer)
        buffer.seek(0)
        fresh = self.method.prepare(tiny_model(seed=9, dtype=torch.float64), self.start())
        fresh.load_state_dict(torch.load(buffer, weights_only=True))
        for mode in (False, True):  # evaluation first: a loss in training mode moves the running statistics
            prepared.train(mode)
            fresh.train(mode)
            assert self.total(fresh, batch).item() == self.total(prepared, batch).item()

    def test_ten_steps_lower_the_loss(self, tiny_model, class_patterns):
        x, y = class_patterns(20, dtype=torch.float64)
        model = self.method.prepare(tiny_model(dtype=torch.float64), self.start()).train()
        # A small ball: the features of a network that was never trained tell classes apart only just.
        small = Budget(ThreatModel("linf", Fraction(1, 100)), 3, Fraction(1, 2))
        x_adv = self.method.attack(model, x, y, budget=small, generator=seeded())
        before = self.total(model, (x, x_adv, y)).item()
        self.descend(model, (x, x_adv, y), steps=10)
        assert self.total(model, (x, x_adv, y)).item() < self.falls_to * before
