"""What pip needs of this machine while an image is built: its own index, a certificate; nothing of it stays inside."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit

OPTIONS = (
    "index-url", "extra-index-url", "find-links", "trusted-host", "proxy", "cert", "client-cert", "timeout", "retries",
)  # fmt: skip
"""The settings of pip that say where packages come from; others are a user's taste."""

INSIDE = "/run/robustft-build"
"""Where single files of this machine are seen during the build: at their own path they would hide the image's."""


@dataclass(frozen=True, kw_only=True)
class PipSettings:
    """A pip.conf to be seen at /etc/pip.conf during a build, and what it names of this machine: path to path inside."""

    file: Path | None = None
    mounts: dict[str, str] = field(default_factory=dict)


def machine_settings(folder: Path, said: Iterable[str] | None = None) -> PipSettings:
    """Return the settings of this machine's pip, written to a file in `folder`; empty ones where it has none.

    `said` are the lines of `pip config list`. A variable of the environment comes last and wins, as with pip itself.
    """
    found: dict[str, str] = {}
    for line in sorted(_config_list() if said is None else said, key=lambda line: line.startswith(":env:")):
        name, _, quoted = line.partition("=")
        option = name.rsplit(".", 1)[-1].removeprefix("default-")
        if option in OPTIONS and name.split(".")[0] in (":env:", "global", "install"):
            found[option] = quoted.strip("'\"").replace("\\n", " ")
    mounts: dict[str, str] = {}
    lines = ["[global]"]
    for option, value in found.items():
        lines.append(f"{option} = {' '.join(_seen_inside(option, word, mounts) for word in value.split())}")
    if len(lines) == 1:
        return PipSettings()
    file = folder / "pip.conf"
    file.touch(mode=0o600)  # an address may hold a password
    file.write_text("\n".join([*lines, ""]), encoding="utf-8")
    return PipSettings(file=file, mounts=mounts)


def _config_list() -> list[str]:
    command = [sys.executable, "-m", "pip", "config", "list"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.splitlines()


def _seen_inside(option: str, word: str, mounts: dict[str, str]) -> str:
    """Return how a setting's word reads inside the build, and note what it needs mounted for that."""
    path = Path(unquote(urlsplit(word).path)) if word.startswith("file:") else Path(word)
    if not path.is_absolute() or not path.exists():
        return word
    if path.is_file():
        mounts[str(path)] = f"{INSIDE}/{path.name}"
        return f"{INSIDE}/{path.name}"
    # Pages of an index point to files beside its folder, as in ../../files/NAME.
    root = path.parent if option.endswith("index-url") and path.parent != Path(os.sep) else path
    mounts[str(root)] = str(root)
    return word
