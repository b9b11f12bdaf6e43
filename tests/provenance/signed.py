"""SSH keys for tests, made by ssh-keygen; tests that need them are left out where it is not installed."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

needs_ssh = pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="OpenSSH is not installed")


def make_key(folder: Path, name: str, passphrase: str = "") -> Path:
    """Make a key pair and return the private key's file."""
    path = folder / name
    command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", passphrase, "-C", name, "-f", str(path)]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    return path


def allow(folder: Path, **keys: Path) -> Path:
    """Write a file of allowed signers: each name with its key."""
    path = folder / "allowed_signers"
    path.write_text("".join(f"{name} {key.with_suffix('.pub').read_text()}" for name, key in keys.items()))
    return path
