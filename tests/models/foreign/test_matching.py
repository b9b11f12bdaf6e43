import pytest
import torch

from robustft.models.foreign.matching import match

EXPECTED = {"conv.weight": (4, 3, 3, 3), "bn.weight": (4,), "bn.num_batches_tracked": (), "fc.weight": (10, 4)}
STATE = {name: torch.rand(shape) for name, shape in EXPECTED.items()}


@pytest.mark.parametrize("prefix", ["", "module.", "model.", "module.model.", "attacker.model.", "_orig_mod.", "1."])
def test_a_prefix_is_found(prefix):
    fit = match({prefix + name: tensor for name, tensor in STATE.items()}, EXPECTED)
    assert fit.fits
    assert fit.prefix == prefix
    assert fit.share == 1


def test_batch_norms_counter_may_be_missing_and_nothing_else():
    state = {name: tensor for name, tensor in STATE.items() if not name.endswith("tracked")}
    assert match(state, EXPECTED).fits
    fit = match({name: tensor for name, tensor in state.items() if name != "bn.weight"}, EXPECTED)
    assert not fit.fits
    assert fit.missing == ["bn.weight"]


def test_an_unknown_name_and_another_shape_are_told():
    fit = match({**STATE, "gate.weight": torch.rand(2), "fc.weight": torch.rand(7, 4)}, EXPECTED)
    assert fit.unknown == ["gate.weight"]
    assert fit.misshapen == {"fc.weight": ((7, 4), (10, 4))}


def test_an_average_and_a_normaliser_beside_the_network_are_known():
    state = {f"module.{name}": tensor for name, tensor in STATE.items()}
    fit = match({**state, "n_averaged": torch.tensor(3), "normalize.mean": torch.rand(1, 3, 1, 1)}, EXPECTED)
    assert fit.fits
    assert list(fit.normaliser) == ["normalize.mean"]


def test_the_attackers_copy_must_be_equal():
    state = {f"module.model.{name}": tensor for name, tensor in STATE.items()}
    copy = {f"module.attacker.model.{name}": tensor for name, tensor in STATE.items()}
    assert match({**state, **copy}, EXPECTED).fits
    copy["module.attacker.model.bn.weight"] = torch.zeros(4)
    fit = match({**state, **copy}, EXPECTED)
    assert not fit.fits
