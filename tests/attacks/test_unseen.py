from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from scipy.fft import idctn
from scipy.ndimage import gaussian_filter1d
from torch import nn

from robustft.attacks import unseen
from robustft.attacks.objectives import cross_entropy
from robustft.attacks.threat import ThreatModel
from robustft.attacks.unseen import CHROMA_TABLE, LUMA_TABLE, elastic, gathered, jpeg_linf, warped

ATTACKS = [jpeg_linf, elastic]
EPS = {jpeg_linf: Fraction(1, 2), elastic: Fraction(1)}


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def run(attack, model, x, y, *, eps=None, steps=5, seed=0):
    threat = ThreatModel("linf", EPS[attack] if eps is None else eps)
    found = attack(model, x, y, threat=threat, generator=seeded(seed), steps=steps, step_over_eps="1/4")
    assert found.distance.shape == (len(x),)
    assert found.distance.max() <= float(threat.eps)
    return found.images


@pytest.fixture
def model(tiny_model):
    return tiny_model(lived=True, dtype=torch.float64).eval()


@pytest.fixture
def batch(random_batch):
    return random_batch(6, dtype=torch.float64)


class Linear(nn.Module):
    """Two logits, (w * x, 0): the loss of label 1 rises with w * x."""

    def __init__(self, w):
        super().__init__()
        self.w = w

    def forward(self, x):
        value = (self.w * x).flatten(1).sum(1)
        return torch.stack([value, torch.zeros_like(value)], dim=1)


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("channels", [1, 3])
def test_at_eps_0_images_come_back(attack, channels):
    x = torch.rand(3, channels, 12, 8, dtype=torch.float64, generator=seeded())
    found = run(attack, Linear(torch.ones(channels, 12, 8)), x, torch.ones(3).long(), eps=Fraction(0))
    torch.testing.assert_close(found, x, rtol=0, atol=1e-14)


@pytest.mark.parametrize("attack", ATTACKS)
def test_at_eps_0_in_single_precision_images_come_back_up_to_rounding(attack, tiny_model, random_batch):
    x, y = random_batch(6)
    found = run(attack, tiny_model(lived=True).eval(), x, y, eps=Fraction(0))
    torch.testing.assert_close(found, x, rtol=0, atol=1e-6)


@pytest.mark.parametrize("attack", ATTACKS)
def test_steps_raise_the_loss(attack, model, batch):
    x, y = batch
    losses = [cross_entropy(model(run(attack, model, x, y, steps=steps)), y) for steps in (1, 20)]
    assert (losses[1] > cross_entropy(model(x), y)).all()
    assert losses[1].mean() > losses[0].mean()


@pytest.mark.parametrize("attack", ATTACKS)
def test_results_are_detached_images_and_depend_on_the_generator_alone(attack, model, batch):
    x, y = batch
    x[0], x[1] = 0.0, 1.0
    before = x.clone()
    torch.rand(1)  # the state of the global generator must not matter
    one, same, other = (run(attack, model, x, y, seed=seed, steps=2) for seed in (1, 1, 2))
    assert one.shape == x.shape
    assert one.dtype == x.dtype
    assert not one.requires_grad
    assert one.min() >= 0
    assert one.max() <= 1
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert torch.equal(x, before)


@pytest.mark.parametrize("attack", ATTACKS)
def test_an_images_outcome_does_not_depend_on_its_batch(attack, model, batch, monkeypatch):
    x, y = batch
    monkeypatch.setattr(unseen, "pgd", lambda *args, **kwargs: pgd_without_start(*args, **kwargs))
    together = run(attack, model, x, y)
    alone = torch.cat([run(attack, model, x[i : i + 1], y[i : i + 1]) for i in range(len(x))])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-12)


def pgd_without_start(forward, x, **settings):
    from robustft.attacks.pgd import pgd

    return pgd(forward, x, **{**settings, "start": "none"})


@pytest.mark.parametrize("attack", ATTACKS)
def test_other_norms_are_refused(attack, model, batch):
    with pytest.raises(ValueError, match="linf"):
        attack(model, *batch, threat=ThreatModel("l2", Fraction(1)), generator=seeded(), steps=1, step_over_eps="1")


def test_decompression_by_hand():
    # The lowest frequency at 1: 16 / 8 levels more everywhere. Frequency 1 downwards at 1: its table entry is 12, its
    # pixels 12 * (1/2) cos((2y+1) pi/16) * sqrt(1/8) in each column.
    flat, wave = torch.zeros(1, 8, 8, dtype=torch.float64), torch.zeros(1, 8, 8, dtype=torch.float64)
    flat[0, 0, 0] = wave[0, 1, 0] = 1
    torch.testing.assert_close(unseen._luma(flat), torch.full_like(flat, 2 / 255), rtol=0, atol=1e-15)
    rows = [12 / 2 * math.cos((2 * r + 1) * math.pi / 16) / math.sqrt(8) / 255 for r in range(8)]
    expected = torch.tensor(rows, dtype=torch.float64)[:, None].expand(8, 8)
    torch.testing.assert_close(unseen._luma(wave)[0], expected, rtol=0, atol=1e-15)


@pytest.mark.parametrize(("decompress", "table"), [(unseen._luma, LUMA_TABLE), (unseen._chroma, CHROMA_TABLE)])
def test_decompression_is_the_inverse_cosine_transform_of_each_block(decompress, table):
    coefficients = torch.randn(2, 16, 8, dtype=torch.float64, generator=seeded())
    found = decompress(coefficients).numpy() * 255
    for image in range(2):
        for top in (0, 8):
            block = coefficients[image, top : top + 8].numpy() * np.array(table)
            np.testing.assert_allclose(found[image, top : top + 8], idctn(block, norm="ortho"), rtol=0, atol=1e-10)


def test_the_tables_are_those_that_pillow_writes_at_quality_50(tmp_path):
    from PIL import Image

    Image.new("RGB", (8, 8)).save(tmp_path / "x.jpg", quality=50)
    with Image.open(tmp_path / "x.jpg") as image:
        tables = image.quantization
    assert [sorted(table) for table in tables.values()] == [
        sorted(sum(table, ())) for table in (LUMA_TABLE, CHROMA_TABLE)
    ]


def test_colours_by_hand():
    # Cr alone at 0.1: red + 0.1402, green - 0.0714136. Cb alone: green - 0.0344136, blue + 0.1772.
    chroma = torch.tensor([[0.0, 0.1], [0.1, 0.0]], dtype=torch.float64).view(2, 2, 1, 1)
    found = unseen._to_rgb(torch.zeros(2, 1, 1, dtype=torch.float64), chroma).flatten(1)
    expected = torch.tensor([[0.1402, -0.0714136, 0.0], [0.0, -0.0344136, 0.1772]], dtype=torch.float64)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-15)


def test_a_steep_loss_drives_every_coefficient_to_its_end():
    # The loss rises with the sum of the pixels, to which the lowest coefficient alone adds: it ends at +eps, which is
    # 16 eps / 8 levels more in each. (The others have no gradient and no mean. Nothing here reaches 0 or 1.)
    x = torch.full((1, 1, 8, 8), 0.5, dtype=torch.float64)
    found = run(jpeg_linf, Linear(torch.ones(1, 8, 8)), x, torch.tensor([1]), eps=Fraction(1, 20), steps=10)
    assert (found - x).mean().item() == pytest.approx(16 / 20 / 8 / 255, abs=1e-14)


def test_no_coefficient_leaves_its_ball():
    x = torch.full((4, 3, 16, 16), 0.5, dtype=torch.float64)
    weights = torch.randn(3, 16, 16, dtype=torch.float64, generator=seeded(1))
    found = run(jpeg_linf, Linear(weights), x, torch.ones(4).long(), eps=Fraction(1, 20), steps=8)
    change = (found - x) * 255
    luma = 0.299 * change[:, 0] + 0.587 * change[:, 1] + 0.114 * change[:, 2]
    blocks = luma.view(4, 2, 8, 2, 8).transpose(2, 3)
    basis = unseen._cosines()
    coefficients = (basis @ blocks @ basis.T) / torch.tensor(LUMA_TABLE)
    assert coefficients.abs().max() == pytest.approx(0.05, abs=1e-5)  # the colour matrices are inverse to five digits


def test_smoothing_is_a_gaussian_filter_over_the_mirrored_line():
    line = torch.randn(32, dtype=torch.float64, generator=seeded())
    found = unseen._gaussian(32, dtype=torch.float64, device=torch.device("cpu")) @ line
    expected = gaussian_filter1d(line.numpy(), 3.0, mode="mirror", truncate=4.0)
    np.testing.assert_allclose(found.numpy(), expected, rtol=0, atol=1e-12)


def test_a_constant_flow_shifts_the_image():
    # A horizontal ramp of 0.1 a pixel: looking eps = 1/2 pixels to the right adds 0.05, except at the border. With a
    # loss that rises with brightness every arrow points right, and smoothing leaves a constant flow as it is.
    x = (0.1 * torch.arange(8, dtype=torch.float64)).expand(1, 1, 8, 8).contiguous()
    found = run(elastic, Linear(torch.ones(1, 8, 8)), x, torch.tensor([1]), eps=Fraction(1, 2), steps=10)
    torch.testing.assert_close(found[..., :7], x[..., :7] + 0.05, rtol=0, atol=1e-12)
    torch.testing.assert_close(found[..., 7], x[..., 7], rtol=0, atol=1e-12)


def test_no_arrow_is_longer_than_eps(monkeypatch):
    flows = []
    sample = unseen.F.grid_sample

    def seen(image, where, **settings):
        flows.append(where.detach())
        return sample(image, where, **settings)

    monkeypatch.setattr(unseen.F, "grid_sample", seen)
    x = torch.rand(2, 1, 8, 8, dtype=torch.float64, generator=seeded())
    run(elastic, Linear(torch.randn(1, 8, 8, dtype=torch.float64, generator=seeded(1))), x, torch.ones(2).long())
    still = torch.linspace(-1, 1, 8, dtype=torch.float64)
    for where in flows:
        assert ((where[..., 0] - still).abs().max() * 7 / 2).item() <= 1 + 1e-12
        assert ((where[..., 1] - still[:, None]).abs().max() * 7 / 2).item() <= 1 + 1e-12


def test_gathered_neighbours_are_grid_sample_forwards_and_backwards():
    """Places inside, on pixels, on the border and beyond it: what the GPU computes is what the CPU's kernel does."""
    x = torch.rand(2, 3, 5, 7, dtype=torch.float64, generator=seeded())
    where = 1.2 * (2 * torch.rand(2, 5, 7, 2, dtype=torch.float64, generator=seeded(1)) - 1)
    where[0, 0, 0], where[0, 0, 1] = torch.tensor([1.0, -1.0]), torch.tensor([1 / 3, 0.5])
    where.requires_grad_()
    factor = torch.rand(2, 3, 5, 7, dtype=torch.float64, generator=seeded(2))
    ours, theirs = gathered(x, where), warped(x, where)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-14)
    inside = (where.detach().abs() < 1).all(-1, keepdim=True)  # on the border itself either side's slope is one
    gradients = [torch.autograd.grad((result * factor).sum(), where)[0] * inside for result in (ours, theirs)]
    torch.testing.assert_close(*gradients, rtol=0, atol=1e-12)
