"""SSH signatures of files, made and checked by OpenSSH's own program: `ssh-keygen -Y`, since version 8.2.

A signature is detached, in the armoured form that git uses too. It binds the bytes and a namespace, so that it cannot
be taken for a signature of something else. It holds no time.
"""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from robustft.errors import IntegrityError, RobustftError

NAMESPACE = "robustft"
"""What our signatures are for (`ssh-keygen -Y sign -n`); allowed signers may be limited to it."""

_GOOD = re.compile(r'Good "[^"]*" signature (?:for .* )?with (\S+) key (SHA256:\S+)')


@dataclass(frozen=True)
class Key:
    """The public key of a signature, by its type and fingerprint."""

    type: str
    fingerprint: str

    def __str__(self) -> str:
        return f"{self.type} key {self.fingerprint}"


def sign(data: bytes, key: Path) -> bytes:
    """Return the signature of some bytes by a key file; of a public key, the agent holds the private one.

    Raises RobustftError if there is no ssh-keygen, no such key, or if the key cannot be used.
    """
    if not key.is_file():
        near = sorted(str(path.with_suffix("")) for path in (Path.home() / ".ssh").glob("*.pub"))
        raise RobustftError(
            "there is no such key file",
            where=key,
            next_step=f"--key {near[0]}" if near else "make one: ssh-keygen -t ed25519",
        )
    done = _keygen("sign", "-f", str(key), data=data)
    if done.returncode:
        said = done.stderr.decode(errors="replace")
        raise RobustftError(
            "ssh-keygen does not sign with this key", where=key, observed=_lines(said), next_step=_remedy(said, key)
        )
    return done.stdout


def _remedy(said: str, key: Path) -> str:
    if "passphrase" in said:
        public = key if key.suffix == ".pub" else f"{key}.pub"
        return f"give its passphrase at a terminal, or to the agent: ssh-add {key}, then --key {public}"
    if "No private key found for public key" in said or "agent" in said:
        return "give the private key's file, or add it to the agent: ssh-add"
    if "UNPROTECTED" in said:
        return f"chmod 600 {key}"
    return "give the file of an SSH private key, such as ~/.ssh/id_ed25519"


def signing_key(data: bytes, signature: Path) -> Key:
    """Return the key that signed some bytes. Whose it is, this does not say.

    Raises IntegrityError if the signature is not of these bytes in our namespace.
    """
    done = _keygen("check-novalidate", "-s", str(signature), data=data)
    good = _GOOD.search(done.stdout.decode(errors="replace"))
    if done.returncode or good is None:
        raise IntegrityError(
            "the signature is not of this file",
            where=signature,
            observed=_lines(done.stderr.decode(errors="replace")),
            next_step="ask its author for the file as it was signed",
        )
    return Key(good[1], good[2])


def signer(data: bytes, signature: Path, signers: Path) -> str | None:
    """Return who signed some bytes, as a file of allowed signers names the key; None if it allows none for it.

    The form of the file is that of ssh-keygen(1), ALLOWED SIGNERS: a name, options such as `namespaces="robustft"` or
    `valid-before`, and a public key a line.
    """
    if not signers.is_file():
        raise RobustftError(
            "there is no such file of allowed signers",
            where=signers,
            expected="lines of the form `name@example.org ssh-ed25519 AAAA...` (ssh-keygen(1), ALLOWED SIGNERS)",
        )
    found = _keygen("find-principals", "-s", str(signature), "-f", str(signers), data=b"")
    for name in found.stdout.decode(errors="replace").splitlines() if not found.returncode else ():
        checked = _keygen("verify", "-I", name, "-s", str(signature), "-f", str(signers), data=data)
        if checked.returncode == 0:
            return name
    return None


def _keygen(act: str, *arguments: str, data: bytes) -> subprocess.CompletedProcess[bytes]:
    """Run `ssh-keygen -Y`; a passphrase is asked for at the terminal itself."""
    namespace = [] if act == "find-principals" else ["-n", NAMESPACE]
    try:
        return subprocess.run(
            ["ssh-keygen", "-Y", act, *namespace, *arguments], input=data, capture_output=True, check=False
        )
    except FileNotFoundError:
        raise RobustftError(
            "ssh-keygen is not installed",
            expected="OpenSSH 8.2 or newer, on the PATH",
            next_step="install it (Debian: openssh-client), or sign the statement with another program",
        ) from None


def _lines(said: str) -> str:
    """Return what ssh-keygen said in one line."""
    return "; ".join(line.strip() for line in said.splitlines() if line.strip() and "standard input" not in line)
