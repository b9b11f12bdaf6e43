"""What an attack increases and a loss decreases: functions of logits (n, K) with one value for each image.

Values for single images, so that a gradient does not depend on the size of its batch.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def cross_entropy(logits: Tensor, y: Tensor) -> Tensor:
    """Return -log p_y for each image: logits (n, K), labels (n,) -> (n,)."""
    return F.cross_entropy(logits, y, reduction="none")


def margin(logits: Tensor, y: Tensor) -> Tensor:
    """Return (largest wrong logit - true logit): positive where the image is misclassified, (n,).

    The Linf form of Carlini and Wagner's f_6 (S&P 2017), without its floor: sign steps ignore its size.
    """
    wrong = logits.scatter(1, y[:, None], -torch.inf).amax(dim=1)
    return wrong - logits.gather(1, y[:, None]).squeeze(1)


def boosted_cross_entropy(logits: Tensor, y: Tensor) -> Tensor:
    """Return -log p_y - log(1 - max over k != y of p_k) for each image, (n,) (MART: Wang et al., ICLR 2020).

    1 - p_k is summed from the other probabilities, so the logarithm needs no floor (released code: 1.0001 - p_k).
    """
    log_p = F.log_softmax(logits, dim=1)
    rival = log_p.scatter(1, y[:, None], -torch.inf).argmax(dim=1, keepdim=True)
    return -log_p.gather(1, y[:, None]).squeeze(1) - log_p.scatter(1, rival, -torch.inf).logsumexp(dim=1)


def kl_divergence(target_logits: Tensor, logits: Tensor) -> Tensor:
    """Return KL(p || q) for each image with p = softmax(target_logits), q = softmax(logits), (n,) in nats."""
    log_p, log_q = F.log_softmax(target_logits, dim=1), F.log_softmax(logits, dim=1)
    return (log_p.exp() * (log_p - log_q)).sum(dim=1)


OBJECTIVES = {"cross_entropy": cross_entropy, "margin": margin}
"""The objectives that an attack on a finished model may name: functions of (logits, labels)."""
