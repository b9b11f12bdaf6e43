"""Checkpoints of this project as models."""

from __future__ import annotations

import os
from pathlib import Path

from robustft.errors import RobustftError
from robustft.models.checkpoint import load_classifier
from robustft.models.classifier import Classifier


def load(path: str | os.PathLike[str]) -> Classifier:
    """Return the model of a checkpoint that this project has written, on the CPU and in evaluation mode.

    It takes images (n, C, H, W) in [0, 1], not normalised, and returns logits (n, K). What was fine-tuned (prompts,
    LoRA, a hypernetwork) is part of it.

    Raises RobustftError if there is no such file, or if it is no whole checkpoint of this project.

    Examples:
        >>> import robustft, torch
        >>> model = robustft.load("checkpoint.safetensors")
        >>> model.training
        False
        >>> model(torch.rand(2, 1, 8, 8)).shape
        torch.Size([2, 5])
    """
    if not Path(path).is_file():
        raise RobustftError(
            "there is no such checkpoint",
            where=path,
            next_step="give the path of a checkpoint.safetensors below results/",
        )
    model, _ = load_classifier(Path(path))
    return model.eval()
