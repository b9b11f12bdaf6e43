"""An evaluation has one shard of images in memory, however many it attacks."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from robustft.data.imagefile import Split, save
from robustft.evaluate.ledger import read_ledger
from robustft.evaluate.step import attack
from robustft.models.checkpoint import save_checkpoint
from robustft.runtime.context import Context

IMAGES, SHARD = 150, 20
CHECKED = 64
"""Images that the checks of the model are made on, whatever the shards."""

CLEAN = {"name": "clean", "algorithm": "none"}
FGSM = {"algorithm": "pgd", "objective": "cross_entropy", "steps": 1, "step_over_eps": 1, "start": "none"}


@pytest.fixture
def run(tmp_path, tiny_model, tiny_backbone, class_patterns):
    """An attack step on all of a test split, in shards of its own size; return its ledger."""
    save_checkpoint(
        tmp_path / "checkpoint", tiny_model(), about={"backbone": tiny_backbone, "shape": [1, 8, 8], "classes": 5}
    )
    x, y = class_patterns(IMAGES, seed=3)
    save(
        tmp_path / "data",
        images=(255 * x).round().to(torch.uint8).numpy(),
        labels=y.numpy(),
        splits={"toy/test": np.random.default_rng(0).permutation(IMAGES)},
        about={"levels": 255, "datasets": {"toy": {"classes": [0, 1, 2, 3, 4]}}},
    )
    spec = {
        "models": ["-"], "derivation": None, "prompts": None, "dataset": "toy", "split": "test",
        "images": [0, IMAGES], "threat": {"norm": "linf", "eps": "1/10"}, "optimizations": {},
        "attacks": [CLEAN, {"name": "fgsm", "target": "exported_model", **FGSM}],
        "seed": 0, "device": "cpu", "threads": 1,
    }  # fmt: skip
    inputs = {"checkpoint": tmp_path / "checkpoint", "data": tmp_path / "data"}

    def made(shard):
        scratch = tmp_path / f"scratch{shard}"
        scratch.mkdir()
        context = Context(inputs, {"ledger": scratch / "ledger"}, scratch, log=lambda line: None)
        attack({**spec, "shard_images": shard}, context)
        return read_ledger(scratch / "ledger")

    return made


def test_an_evaluation_reads_no_more_images_at_a_time_than_a_shard(run, monkeypatch):
    taken, take = [], Split.take

    def counted(self, positions):
        taken.append(len(positions))
        return take(self, positions)

    monkeypatch.setattr(Split, "take", counted)
    found = run(SHARD)
    assert sorted(found["fgsm"].image.tolist()) == list(range(IMAGES))
    assert max(taken) == CHECKED
    # The checks once, then every image once for each of the two attacks, in eight shards.
    assert sorted(taken) == sorted([CHECKED, *2 * ([SHARD] * 7 + [IMAGES - 7 * SHARD])])


def test_the_size_of_a_shard_changes_no_outcome(run):
    small, large = run(SHARD), run(IMAGES)
    for name in ("clean", "fgsm"):
        assert small[name].image.tolist() == large[name].image.tolist()
        assert small[name].prediction.tolist() == large[name].prediction.tolist()
