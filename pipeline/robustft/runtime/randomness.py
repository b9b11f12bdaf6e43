"""Randomness by name: every draw is a function of (seed, purpose, time), never of earlier draws.

So an interrupted run draws the same numbers as an uninterrupted one, with any number of workers.
"""

from __future__ import annotations

import hashlib

import torch


def counter_seed(seed: int, *key: int | str) -> int:
    """Return a 63-bit seed for one named draw, such as `counter_seed(0, "shuffle", epoch)`."""
    text = "/".join(map(str, (seed, *key)))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def generator(device: torch.device | str, seed: int, *key: int | str) -> torch.Generator:
    """Return a new generator on `device` for one named draw, seeded by `counter_seed`."""
    return torch.Generator(device=device).manual_seed(counter_seed(seed, *key))
