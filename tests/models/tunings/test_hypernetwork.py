"""The hypernetwork: its size, its start, what its first updates reach, and the weights that act in a step."""

from __future__ import annotations

import copy
import io

import pytest
import torch

from robustft.attacks.inner_maximization import maximise_cross_entropy
from robustft.attacks.pgd import Budget
from robustft.attacks.threat import ThreatModel
from robustft.errors import ConfigError
from robustft.models.checkpoint import load_classifier, load_strict, save_checkpoint
from robustft.models.classifier import Classifier
from robustft.models.tunings.hypernetwork import HyperBackbone, HyperLora, Hypernetwork, folded, hyper_backbone
from tests.models.toy_vit import BACKBONE, CLASSES, full_size, images, toy_vit, trained

DEFENCES = ("pgd_at", "trades", "mart", "prm")
TUNING = HyperLora(defences=DEFENCES, rank=3, embedding=4, hidden=8, code=4)
VIT_B = {"width": 768, "depth": 12, "heads": 12, "image": 32, "patch": 4}
VIT_L = {"width": 1024, "depth": 24, "heads": 16, "image": 32, "patch": 4}


def tuned(*, seed: int = 0, lived: bool = True) -> Classifier:
    """A toy with a hypernetwork; `lived`: its B heads are not zero any more."""
    model = TUNING.prepare(toy_vit(seed=seed))
    if lived:
        with torch.no_grad():
            for head in hyper_backbone(model).hypernetwork.heads_b.values():
                head.weight.normal_(0, 0.5)
                head.bias.normal_(0, 0.1)
    return model


@pytest.fixture
def calls(monkeypatch):
    """The defences that LoRAs were generated for, in order."""
    made: list[str] = []
    forward = Hypernetwork.forward

    def counted(self, defence):
        made.append(defence)
        return forward(self, defence)

    monkeypatch.setattr(Hypernetwork, "forward", counted)
    return made


@pytest.mark.parametrize(
    ("size", "code", "rank", "count"),
    [
        (VIT_B, 16, 4, 550_448),
        (VIT_B, 32, 8, 2_057_824),
        (VIT_B, 64, 16, 8_021_696),
        (VIT_L, 64, 16, 10_684_864),
    ],
)
def test_it_has_as_many_parameters_as_the_fact_sheet_counts(size, code, rank, count):
    with torch.device("meta"):
        model = HyperLora(defences=DEFENCES, rank=rank, code=code).prepare(full_size(**size))
    assert trained(model) - trained(model.head) == count
    assert trained(model.head) == {768: 7_690, 1024: 10_250}[size["width"]]


def test_a_lora_by_hand():
    # One block, one site q of width 2, rank 1. Embeddings 1 (defence), 2 (layer), 3 (position); generator weights 1
    # for one unit, so h = ReLU(6) = 6; code weights (1, -1): (6, -6), normalised to (1, -1). A = head_a code with rows
    # (1, 0) and (0, 1): (1, -1); B = head_b code with rows (2, 0), (0, 0) and bias (0, 5): (2, 5).
    net = Hypernetwork(
        defences=["d"], layers=1, shapes={"q": (2, 2)}, rank=1, embedding=1, hidden=1, code=2
    ).double()  # fmt: skip
    with torch.no_grad():
        net.defences["d"].fill_(1.0)
        net.layers.fill_(2.0)
        net.positions.fill_(3.0)
        net.generator[0].weight.fill_(1.0)
        net.generator[2].weight.copy_(torch.tensor([[1.0], [-1.0]]))
        net.heads_a["2"].weight.copy_(torch.eye(2))
        net.heads_b["2"].weight.copy_(torch.tensor([[2.0, 0.0], [0.0, 0.0]]))
        net.heads_b["2"].bias.copy_(torch.tensor([0.0, 5.0]))
    net.generator[3].eps = 0.0
    a, b = net("d")["q"]
    assert a.flatten().tolist() == pytest.approx([1.0, -1.0], abs=1e-14)
    assert b.flatten().tolist() == pytest.approx([2.0, 5.0], abs=1e-14)
    assert a.shape == (1, 1, 2)
    assert b.shape == (1, 2, 1)


def test_every_site_of_every_block_has_a_lora_of_its_own_and_heads_are_shared():
    backbone = hyper_backbone(tuned())
    net = backbone.hypernetwork
    assert set(net.heads_a) == set(net.heads_b) == {"8", "32"}
    factors = backbone.factors("trades")
    assert {site: (tuple(a.shape), tuple(b.shape)) for site, (a, b) in factors.items()} == {
        "q": ((2, 3, 8), (2, 8, 3)), "k": ((2, 3, 8), (2, 8, 3)), "v": ((2, 3, 8), (2, 8, 3)),
        "proj": ((2, 3, 8), (2, 8, 3)), "fc1": ((2, 3, 8), (2, 32, 3)), "fc2": ((2, 3, 32), (2, 8, 3)),
    }  # fmt: skip
    places = [a[layer].flatten()[:24] for a, _ in factors.values() for layer in range(2)]
    assert all(not torch.allclose(one, other) for n, one in enumerate(places) for other in places[:n])
    assert not torch.allclose(factors["q"][0], backbone.factors("mart")["q"][0])


def test_initial_values_follow_the_fact_sheet():
    torch.manual_seed(0)
    net = Hypernetwork(defences=DEFENCES, layers=12, shapes={"q": (64, 64)}, rank=8, embedding=64, hidden=128, code=64)
    embeddings = torch.cat([*(p.flatten() for p in net.defences.values()), net.layers.flatten()])
    assert embeddings.std().item() == pytest.approx(1.0, abs=0.1)
    assert net.generator[0].weight.std().item() == pytest.approx(0.01, rel=0.1)
    assert net.heads_a["64"].weight.std().item() == pytest.approx(0.01, rel=0.1)
    assert not net.heads_b["64"].weight.any()
    assert not any(m.bias.any() for m in net.modules() if isinstance(m, torch.nn.Linear))
    assert net.generator[3].eps == 1e-6


def test_tuning_starts_at_the_pre_trained_function_to_the_bit():
    model, x = toy_vit(), images()
    expected = model(x)
    tuned = TUNING.prepare(model)
    for defence in DEFENCES:
        tuned.backbone.defence = defence
        assert torch.equal(tuned(x), expected)


def test_the_first_update_moves_the_b_heads_and_the_second_all_that_takes_part():
    model, x = tuned(lived=False), images()
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1, momentum=0.9)

    def update() -> set[str]:
        before = copy.deepcopy(model.state_dict())
        optimizer.zero_grad()
        model(x).square().sum().backward()
        optimizer.step()
        return {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}

    prefix = "backbone.hypernetwork."
    heads_b = {f"{prefix}heads_b.{size}.{part}" for size in (8, 32) for part in ("weight", "bias")}
    assert update() == heads_b | {"head.weight", "head.bias"}
    assert update() == {
        name for name, p in model.named_parameters()
        if p.requires_grad and not (".defences." in name and not name.endswith("pgd_at"))
    }  # fmt: skip


@pytest.mark.parametrize("make", [
    lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=0.1),
    lambda p: torch.optim.AdamW(p, lr=0.1, weight_decay=0.1),
])  # fmt: skip
def test_an_embedding_that_takes_no_part_is_moved_by_neither_momentum_nor_decay(make):
    model, x = tuned(), images()
    backbone = hyper_backbone(model)
    optimizer = make([p for p in model.parameters() if p.requires_grad])

    def step(defence: str) -> None:
        backbone.on_step_start(defence)
        with backbone.learning():
            loss = model(x).square().sum()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()

    step("trades")  # now it has momentum
    before = {name: p.detach().clone() for name, p in backbone.hypernetwork.defences.items()}
    step("mart")
    moved = {name for name, p in backbone.hypernetwork.defences.items() if not torch.equal(p, before[name])}
    assert moved == {"mart"}


def test_weights_that_act_are_w0_plus_alpha_b_a():
    model = HyperLora(defences=DEFENCES, rank=3, alpha=0.5, embedding=4, hidden=8, code=4).prepare(toy_vit())
    backbone = hyper_backbone(model)
    with torch.no_grad():
        for head in backbone.hypernetwork.heads_b.values():
            head.weight.normal_(0, 0.5)
    a, b = backbone.hypernetwork("mart")["v"]
    weight = backbone.adapted(backbone.deltas("mart"))["blocks.1.attn.qkv.weight"]
    w0 = backbone.plain.blocks[1].attn.qkv.weight
    torch.testing.assert_close(weight[16:], w0[16:] + 0.5 * b[1] @ a[1], rtol=0, atol=1e-14)


@pytest.mark.parametrize("defence", DEFENCES)
def test_folding_keeps_every_bit_of_the_logits_and_leaves_a_plain_network(defence):
    model, x = tuned(), images()
    model.backbone.defence = defence
    plain = folded([model], defence=defence)
    assert torch.equal(plain(x), model(x))
    assert set(plain.state_dict()) == set(toy_vit().state_dict())
    load_strict(toy_vit(seed=3), plain.state_dict(), where=None)
    assert all(p.requires_grad for p in plain.backbone.parameters())


def test_folding_agrees_with_lora_applied_as_a_branch():
    # h = W0 x + alpha B A x, computed without forming the product: the first block's feed-forward entry.
    model = tuned()
    backbone, x = hyper_backbone(model), torch.randn(3, 8, dtype=torch.float64)
    a, b = backbone.factors("prm")["fc1"]
    layer = backbone.plain.blocks[0].mlp.fc1
    branch = layer(x) + x @ a[0].T @ b[0].T
    torch.testing.assert_close(folded([model], defence="prm").backbone.blocks[0].mlp.fc1(x), branch, rtol=0, atol=1e-13)


BUDGET = Budget(ThreatModel.of({"norm": "linf", "eps": "1/10"}), 4, 1)


def test_one_lora_is_generated_in_a_step_however_many_passes_it_has(calls):
    model, x = tuned(), images()
    y, backbone = torch.arange(len(images())) % CLASSES, hyper_backbone(model)
    backbone.on_step_start("trades")
    with TUNING.attacked(model):
        x_adv = maximise_cross_entropy(model, x, y, budget=BUDGET, generator=torch.Generator().manual_seed(0))
    with backbone.learning():
        loss = (model(x) - model(x_adv)).square().sum()
    assert calls == ["trades"]
    loss.backward()
    assert backbone.hypernetwork.defences["trades"].grad.any()


def test_a_step_without_a_draw_generates_once_for_the_attack_too(calls):
    model, x = tuned(), images()
    with TUNING.attacked(model):
        for _ in range(3):
            model(x)
    assert calls == ["pgd_at"]


def test_used_up_weights_are_not_used_again(calls):
    model, x = tuned(), images()
    backbone = hyper_backbone(model)
    backbone.on_step_start("mart")
    with backbone.learning():
        before = model(x)
    with torch.no_grad():
        backbone.hypernetwork.heads_b["8"].bias += 1.0  # an update
    with backbone.learning():
        assert not torch.allclose(model(x), before)
    assert calls == ["mart", "mart"]
    model(x)  # watched outside a step: the first defence
    assert calls[-1] == "pgd_at"


def test_the_gradient_that_an_attack_sees_is_that_of_the_attached_network():
    model, x = tuned(), images()
    backbone = hyper_backbone(model)
    backbone.on_step_start("trades")

    def gradient() -> torch.Tensor:
        leaf = x.clone().requires_grad_()
        return torch.autograd.grad(model(leaf).logsumexp(1).sum(), leaf)[0]

    with TUNING.attacked(model):
        detached = gradient()
        assert all(not weight.requires_grad for weight in backbone.acting.values())
    with backbone.learning():
        attached = gradient()
    assert torch.equal(detached, attached)
    assert detached.abs().max() > 1e-3


def test_an_attack_leaves_no_gradient_anywhere():
    model, x = tuned(), images()
    with TUNING.attacked(model):
        y = torch.zeros(len(x), dtype=torch.long)
        maximise_cross_entropy(model, x, y, budget=BUDGET, generator=torch.Generator().manual_seed(0))
    assert all(p.grad is None for p in model.parameters())


def test_only_hypernetwork_and_head_are_trained():
    model = tuned()
    names = {name for name, p in model.named_parameters() if p.requires_grad}
    assert names == {n for n, _ in model.named_parameters() if n.startswith(("backbone.hypernetwork.", "head."))}
    frozen = HyperLora(defences=DEFENCES, rank=3, embedding=4, hidden=8, code=4, head=False).prepare(model)
    assert not any(p.requires_grad for p in frozen.head.parameters())


def test_a_model_that_comes_with_its_hypernetwork_keeps_it():
    model = tuned()
    state = copy.deepcopy(model.state_dict())
    again = TUNING.prepare(model)
    assert isinstance(again.backbone, HyperBackbone)
    assert not isinstance(again.backbone.plain, HyperBackbone)
    assert all(torch.equal(value, state[name]) for name, value in again.state_dict().items())


def test_a_checkpoint_is_rebuilt_with_its_hypernetwork(tmp_path):
    model, x = tuned(), images(dtype=torch.float32)
    model = model.float()
    sizes = {"rank": 3, "embedding": 4, "hidden": 8, "code": 4}
    tuning = {"implementation": "robustft.models.tunings.hypernetwork:HyperLora"}
    tuning["parameters"] = {"defences": list(DEFENCES), **sizes}
    about = {"backbone": BACKBONE, "shape": [1, 8, 8], "classes": CLASSES, "tuning": tuning}
    save_checkpoint(tmp_path / "c.safetensors", TUNING.export(model), about=about)
    loaded, _ = load_classifier(tmp_path / "c.safetensors")
    assert torch.equal(loaded.eval()(x), model(x))
    assert torch.equal(folded([loaded], defence="mart")(x), folded([model], defence="mart")(x))


def test_resuming_loads_a_training_state_into_a_fresh_model():
    model, buffer = tuned(), io.BytesIO()
    torch.save(model.state_dict(), buffer)
    buffer.seek(0)
    fresh = TUNING.prepare(toy_vit(seed=8))
    fresh.load_state_dict(torch.load(buffer, weights_only=True))
    assert torch.equal(fresh(images()), model(images()))


def test_unknown_defences_and_plain_networks_are_refused():
    with pytest.raises(ConfigError, match="no defence 'trade'"):
        hyper_backbone(tuned()).on_step_start("trade")
    with pytest.raises(ConfigError, match="without a hypernetwork"):
        folded([toy_vit()], defence="trades")
