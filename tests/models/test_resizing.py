from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from robustft.models.resizing import bicubic, by_matrices


@pytest.mark.parametrize("size", [(8, 8), (5, 9), (6, 6), (3, 12)])
def test_two_matrix_products_are_torchs_bicubic_resizing_forwards_and_backwards(size):
    x = torch.rand(2, 3, 6, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0), requires_grad=True)
    factor = torch.rand(2, 3, *size, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    theirs, ours = F.interpolate(x, size, mode="bicubic", align_corners=False), by_matrices(x, size)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-14)
    gradients = [torch.autograd.grad((result * factor).sum(), x)[0] for result in (theirs, ours)]
    torch.testing.assert_close(*gradients, rtol=0, atol=1e-13)


def test_the_cpu_keeps_torchs_own_bytes_and_autocast_does_not_round():
    x = torch.rand(2, 1, 6, 6, generator=torch.Generator().manual_seed(0))
    assert torch.equal(bicubic(x, (8, 8)), F.interpolate(x, (8, 8), mode="bicubic", align_corners=False))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert by_matrices(x, (8, 8)).dtype == torch.float32
        torch.testing.assert_close(by_matrices(x, (8, 8)), bicubic(x, (8, 8)), rtol=0, atol=1e-6)
