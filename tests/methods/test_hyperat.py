from __future__ import annotations

import copy
import math
from dataclasses import replace

import pytest
import torch

from robustft.cost.passes import Passes, method_passes
from robustft.methods.adversarial_training import AdversarialTraining
from robustft.methods.hyperat import HyperAT
from robustft.methods.mart import Mart
from robustft.methods.prm import ArdPrm
from robustft.methods.protocol import Tuned
from robustft.methods.trades import Trades
from robustft.models.tunings.hypernetwork import HyperLora, Hypernetwork, folded, hyper_backbone
from robustft.models.tunings.lora import Lora
from robustft.train.loop import Trainer
from tests.models import toy_vit as toy
from tests.train import toy as train_toy

from .cases import BUDGET, MethodCase, Reduction, seeded

SPECS = {
    "pgd_at": {"implementation": "robustft.methods.adversarial_training:AdversarialTraining", "parameters": {}},
    "trades": {"implementation": "robustft.methods.trades:Trades", "parameters": {"beta": 6.0, "attack_loss": "kl"}},
    "mart": {"implementation": "robustft.methods.mart:Mart", "parameters": {"beta": 6.0}},
    "prm": {
        "implementation": "robustft.methods.prm:ArdPrm",
        "parameters": {"warm_up_epochs": 4, "attention": False, "patches": True},
    },
}
BASELINES = {
    "pgd_at": AdversarialTraining(),
    "trades": Trades(beta=6.0, attack_loss="kl"),
    "mart": Mart(beta=6.0),
    "prm": ArdPrm(warm_up_epochs=4, attention=False, patches=True),
}
METHOD = HyperAT(defences=SPECS)
TUNING = HyperLora(defences=list(SPECS), rank=3, embedding=4, hidden=8, code=4)


@pytest.fixture
def tiny_model():
    """A vision transformer with a hypernetwork; `lived`: its B heads are not zero any more."""

    def make(*, seed: int = 0, lived: bool = False, dtype: torch.dtype = torch.float64):
        model = TUNING.prepare(toy.toy_vit(seed=seed, dtype=dtype))
        if lived:
            with torch.no_grad():
                net = hyper_backbone(model).hypernetwork
                for layer in (net.generator[0], net.generator[2], *net.heads_a.values(), *net.heads_b.values()):
                    layer.weight.normal_(0, 0.3)
        return model

    return make


@pytest.fixture
def model(tiny_model):
    return METHOD.prepare(tiny_model(lived=True))


class TestHyperATCase(MethodCase):
    """As the methods' case, in a step that is about one of the defences."""

    method = METHOD
    defence = "pgd_at"
    lr = 0.02

    def stated_cost(self) -> Passes:
        return method_passes(**SPECS[self.defence], steps=BUDGET.steps)

    @pytest.fixture
    def prepared(self, tiny_model):
        model = self.method.prepare(tiny_model(lived=True)).train()
        hyper_backbone(model).on_step_start(self.defence)
        return model

    def total(self, model, batch):
        hyper_backbone(model).on_step_start(self.defence)
        return super().total(model, batch)

    def reductions(self):
        baseline = BASELINES[self.defence]

        def on_its_lora(model, x, x_adv, y):
            backbone = hyper_backbone(model)
            with backbone.acting_with(backbone.adapted(backbone.deltas(self.defence))):
                return baseline.loss(model, x, x_adv, y).total

        alone = HyperAT(defences={self.defence: SPECS[self.defence]})
        return [
            Reduction("LoRA tuning with the step's defence", self.method, on_its_lora),
            Reduction("LoRA tuning, with one defence", alone, on_its_lora),
        ]

    def trains(self, name):
        return name.startswith(("backbone.hypernetwork.", "head."))

    def test_gradients_reach_exactly_the_parameters_that_it_trains(self, prepared, batch):
        self.total(prepared, batch).backward()
        names = dict(prepared.named_parameters())
        assert {name for name, p in names.items() if p.requires_grad} == set(filter(self.trains, names))
        idle = {f"backbone.hypernetwork.defences.{name}" for name in SPECS if name != self.defence}
        assert {name for name, p in names.items() if p.grad is not None} == set(filter(self.trains, names)) - idle
        assert all(p.grad.any() for p in names.values() if p.grad is not None)


class TestHyperATInAStepOfTradesCase(TestHyperATCase):
    defence = "trades"


class TestHyperATInAStepOfMartCase(TestHyperATCase):
    defence = "mart"


class TestHyperATInAStepOfPrmCase(TestHyperATCase):
    defence = "prm"

    @pytest.fixture(autouse=True)
    def half_way_through_the_warm_up(self, monkeypatch):
        monkeypatch.setattr(ArdPrm, "keep", lambda self, budget: 0.5)  # at its very beginning no seed matters


def test_every_defence_is_drawn_equally_often_and_left_in_the_model(model):
    draws, found = seeded(), []
    for _ in range(400):
        METHOD.on_step_start(model, generator=draws)
        found.append(hyper_backbone(model).step_defence)
    counts = [found.count(name) for name in SPECS]
    assert sum(counts) == 400
    # Chi-square with 3 degrees of freedom: 16.3 is exceeded once in a thousand.
    assert sum((count - 100) ** 2 / 100 for count in counts) < 16.3


def test_a_step_draws_from_its_own_generator_only(model):
    def drawn(seed: int) -> list[str]:
        torch.rand(1)
        found, draws = [], seeded(seed)
        for _ in range(8):
            METHOD.on_step_start(model, generator=draws)
            found.append(hyper_backbone(model).step_defence)
        return found

    assert drawn(1) == drawn(1)
    assert drawn(1) != drawn(2)


@pytest.mark.parametrize("defence", SPECS)
def test_each_defence_solves_its_own_inner_problem_on_its_own_network(defence, model, random_batch):
    x, y = random_batch(6, dtype=torch.float64)
    budget = replace(BUDGET, epoch=3.0)  # within PRM's warm-up
    hyper_backbone(model).on_step_start(defence)
    with TUNING.attacked(model):
        adversarial = METHOD.attack(model, x, y, budget=budget, generator=seeded(4))
    alone = folded([model], defence=defence)
    assert torch.equal(adversarial, BASELINES[defence].attack(alone, x, y, budget=budget, generator=seeded(4)))
    other = folded([model], defence="mart" if defence == "trades" else "trades")
    assert not torch.equal(adversarial, BASELINES[defence].attack(other, x, y, budget=budget, generator=seeded(4)))
    unlike = BASELINES["mart" if defence == "trades" else "trades"]
    assert not torch.equal(adversarial, unlike.attack(alone, x, y, budget=budget, generator=seeded(4)))


@pytest.mark.parametrize("defence", SPECS)
def test_each_loss_is_that_of_its_defence_under_its_name(defence, model, random_batch):
    x, y = random_batch(6, dtype=torch.float64)
    x_adv = (x + 0.05).clamp(0, 1)
    hyper_backbone(model).on_step_start(defence)
    ours = METHOD.loss(model, x, x_adv, y).terms
    theirs = BASELINES[defence].loss(folded([model], defence=defence), x, x_adv, y).terms
    assert {name: term.item() for name, term in ours.items()} == {
        f"{defence}/{name}": pytest.approx(term.item(), abs=1e-14) for name, term in theirs.items()
    }


def test_a_whole_step_generates_one_lora_and_moves_only_what_took_part(model, random_batch, monkeypatch):
    made = []
    forward = Hypernetwork.forward
    monkeypatch.setattr(Hypernetwork, "forward", lambda self, defence: made.append(defence) or forward(self, defence))
    x, y = random_batch(6, dtype=torch.float64)
    method, net = Tuned(METHOD, TUNING), hyper_backbone(model).hypernetwork
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1, momentum=0.9)
    draws = seeded(2)
    for _ in range(6):
        made.clear()
        before = {name: p.detach().clone() for name, p in net.defences.items()}
        method.on_step_start(model, generator=draws)
        x_adv = method.attack(model, x, y, budget=BUDGET, generator=draws)
        loss = method.loss(model, x, x_adv, y).total
        assert made == [hyper_backbone(model).step_defence]  # once, with the attack's steps and the loss's passes
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        assert {name for name, p in net.defences.items() if not torch.equal(p, before[name])} == set(made)


def test_a_network_of_one_defence_is_one_with_the_lora_of_peft(model, random_batch):
    # The same A and B put into peft's LoRA: equal losses and equal gradients of the head.
    x, y = random_batch(6, dtype=torch.float64)
    peft = Lora(rank=3).prepare(toy.toy_vit())
    factors = hyper_backbone(model).factors("trades")
    with torch.no_grad():
        for number, block in enumerate(peft.backbone.blocks):
            sites = {**dict(block.attn.qkv.named_children()), "proj": block.attn.proj,
                     "fc1": block.mlp.fc1, "fc2": block.mlp.fc2}  # fmt: skip
            for site, layer in sites.items():
                a, b = factors[site]
                layer.lora_A["default"].weight.copy_(a[number])
                layer.lora_B["default"].weight.copy_(b[number])
    peft.head.load_state_dict(model.head.state_dict())
    x_adv = (x + 0.05).clamp(0, 1)
    hyper_backbone(model).on_step_start("trades")
    ours = METHOD.loss(model, x, x_adv, y).total
    theirs = BASELINES["trades"].loss(peft, x, x_adv, y).total
    assert ours.item() == pytest.approx(theirs.item(), abs=1e-12)
    torch.testing.assert_close(
        torch.autograd.grad(ours, model.head.weight)[0],
        torch.autograd.grad(theirs, peft.head.weight)[0],
        rtol=0,
        atol=1e-12,
    )


def test_a_specialist_draws_only_its_defence_and_trains_a_copy_with_the_head_kept(model):
    alone = HyperAT(defences={"mart": SPECS["mart"]})
    tuning = HyperLora(defences=list(SPECS), rank=3, embedding=4, hidden=8, code=4, defence="mart", head=False)
    specialist = Tuned(alone, tuning).prepare(copy.deepcopy(model))
    draws = seeded()
    for _ in range(5):
        alone.on_step_start(specialist, generator=draws)
        assert hyper_backbone(specialist).step_defence == "mart"
    assert hyper_backbone(specialist).defence == "mart"
    assert not any(p.requires_grad for p in specialist.head.parameters())


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize("stopped_after", [1, 3, 5])  # three steps in each of two epochs
def test_a_run_stopped_and_resumed_ends_with_the_same_bytes(stopped_after, optimizer, tmp_path):
    # Embeddings that were not drawn yet have no optimiser state; the resumed run must find the others'.
    spec = train_toy.spec(recipe={"optimizer": optimizer, "no_weight_decay": ["backbone.hypernetwork.defences"]})

    def start(folder: str) -> Trainer:
        (tmp_path / folder).mkdir(exist_ok=True)
        plain = toy.toy_vit(dtype=torch.float32)
        return train_toy.trainer(Tuned(METHOD, TUNING), tmp_path / folder, spec=spec, model=plain)

    whole = start("whole")
    history = whole.run()

    class StoppedError(Exception):
        pass

    stopped = start("stopped")
    step = stopped._train_step

    def stop(epoch: int, position: int) -> None:
        if stopped.train_state.step == stopped_after:
            raise StoppedError
        step(epoch, position)

    stopped._train_step = stop
    with pytest.raises(StoppedError):
        stopped.run()
    resumed = start("stopped")
    assert resumed.run() == history
    assert train_toy.content(resumed.model) == train_toy.content(whole.model)
    assert resumed.context.facts["resumed_from_step"] == stopped_after


def test_the_toy_starts_near_chance(model, random_batch):
    # Guards the tests above against a toy whose loss is flat.
    x, y = random_batch(10, dtype=torch.float64)
    value = METHOD.loss(model, x, x, y).total.item()
    assert 0.5 * math.log(5) < value < 3 * math.log(5)
