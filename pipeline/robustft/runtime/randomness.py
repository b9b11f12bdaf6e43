"""Randomness by name: every draw is a function of (seed, what it is for, when), never of what was drawn before.

So a run that was interrupted draws what an uninterrupted one draws, on any number of workers.
"""

from __future__ import annotations

import hashlib

import torch


def counter_seed(seed: int, *key: int | str) -> int:
    """Return a 63-bit seed for one named draw, such as `counter_seed(0, "shuffle", epoch)`."""
    text = "/".join(map(str, (seed, *key)))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def generator(device: torch.device | str, seed: int, *key: int | str) -> torch.Generator:
    """Return a fresh generator for one named draw on `device`."""
    return torch.Generator(device=device).manual_seed(counter_seed(seed, *key))
