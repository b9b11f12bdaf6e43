"""The two ways in, and the bed on which the card is measured."""

import pytest
import torch
from torch import nn

import robustft
from robustft.assess.evaluation import evaluate_files, settings_of
from robustft.errors import RobustftError
from tests.assess.bed import EPS, FAULTS, HONEST, seeded, unseen
from tests.assess.conftest import arrays, network

OPTIONS = {"images": None, "split": None, "seed": 0, "shard": 250, "threads": 1, "norm": "linf", "eps": "1/25"}


@pytest.mark.parametrize("name", FAULTS)
def test_a_model_with_a_fault_is_flagged_with_the_right_reason(name):
    make, reason = FAULTS[name]
    assert robustft.evaluate(seeded(make), unseen(), eps=EPS).reasons[:1] == [reason]


def test_at_most_one_honest_model_is_flagged():
    flagged = {name: robustft.evaluate(seeded(make), unseen(), eps=EPS).reasons for name, make in HONEST.items()}
    assert sum(bool(reasons) for reasons in flagged.values()) <= 1, flagged


def test_a_random_model_is_named():
    torch.manual_seed(3)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    with torch.no_grad():
        model[1].weight.zero_()
        model[1].bias[4] = 1
    assert "guessing" in robustft.evaluate(model, unseen(), eps=EPS, attacks=["pgd10"]).reasons


def test_the_room_of_evaluations_can_be_called_like_the_function():
    import robustft.evaluate  # what shadows the function's name

    found = robustft.evaluate(network(), arrays(), eps="1/25", attacks=["pgd10"])
    assert 0 <= found.accuracy("pgd10") <= found.accuracy("clean") <= 1


def test_a_device_that_is_not_there_is_refused():
    with pytest.raises(RobustftError, match="unknown device"):
        settings_of(device="gpu", attacks=None, **OPTIONS)
    if not torch.cuda.is_available():
        with pytest.raises(RobustftError, match="GPU"):
            robustft.evaluate(network(), arrays(), device="cuda")


def test_several_checkpoints_give_a_front(tmp_path):
    import numpy as np

    np.savez(tmp_path / "mine.npz", images=arrays()[0], labels=arrays()[1])
    (tmp_path / "mynets_front.py").write_text(
        "import torch\ndef build(): return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 5))\n"
    )
    import sys

    sys.path.insert(0, str(tmp_path))
    for epoch in (1, 2):
        model = network()
        model[1].bias.data[0] += epoch
        torch.save(model.state_dict(), tmp_path / f"epoch{epoch}.pt")
    found = evaluate_files(
        [str(tmp_path / "epoch1.pt"), str(tmp_path / "epoch2.pt")], str(tmp_path / "mine.npz"),
        to=tmp_path / "out", arch="mynets_front:build", weights=None, entry=None, normalisation=None, template=None,
        size=None, log=print, device="cpu", attacks=["pgd10"], **OPTIONS,
    )  # fmt: skip
    sys.path.remove(str(tmp_path))
    assert [one.folder.name for one in found] == ["001-epoch1", "002-epoch2"]
    assert (tmp_path / "out" / "front.csv").is_file()
    assert any("mynets_front" in name for name in robustft_sources(found[0]))


def robustft_sources(results):
    from robustft.files import read_json

    return read_json(results.folder / "ledgers" / "clean.record.json")["source"]["files"]
