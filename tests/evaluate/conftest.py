from __future__ import annotations

from pathlib import Path

import pytest

from robustft.models.checkpoint import save_checkpoint


@pytest.fixture
def numbered(tmp_path, tiny_model, tiny_backbone):
    """Checkpoints whose first logit's bias is their number."""

    def make(count: int) -> dict[str, Path]:
        paths = {f"checkpoint{n}": tmp_path / f"{n}" for n in range(1, count + 1)}
        for number, path in enumerate(paths.values(), start=1):
            model = tiny_model(seed=number)
            model.head.bias.data[0] = number
            save_checkpoint(path, model, about={"backbone": tiny_backbone, "shape": [1, 8, 8], "classes": 5})
        return paths

    return make
