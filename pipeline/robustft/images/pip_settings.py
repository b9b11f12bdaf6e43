"""The settings of this machine's pip during a build, such as an index or a certificate; the image keeps none."""

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
"""The settings of pip for the origin of packages. Other settings are ignored."""

INSIDE = "/run/robustft-build"
"""The folder of mounted single files during a build: at their own path they could hide a file of the image."""


@dataclass(frozen=True, kw_only=True)
class PipSettings:
    """A file to mount at /etc/pip.conf during a build, and the mounts that it needs: from path here to path inside."""

    file: Path | None = None
    mounts: dict[str, str] = field(default_factory=dict)


def machine_settings(folder: Path, config_list: Iterable[str] | None = None) -> PipSettings:
    """Return the settings of this machine's pip, written to a file in `folder`, or empty settings.

    `config_list` holds the lines of `pip config list`. A variable of the environment wins, as in pip itself.
    """
    values: dict[str, str] = {}
    lines = _config_list() if config_list is None else config_list
    for line in sorted(lines, key=lambda line: line.startswith(":env:")):
        name, _, quoted = line.partition("=")
        option = name.rsplit(".", 1)[-1].removeprefix("default-")
        if option in OPTIONS and name.split(".")[0] in (":env:", "global", "install"):
            values[option] = quoted.strip("'\"").replace("\\n", " ")
    mounts: dict[str, str] = {}
    text = ["[global]"]
    for option, value in values.items():
        text.append(f"{option} = {' '.join(_seen_inside(option, word, mounts) for word in value.split())}")
    if len(text) == 1:
        return PipSettings()
    file = folder / "pip.conf"
    file.touch(mode=0o600)  # an address may hold a password
    file.write_text("\n".join([*text, ""]), encoding="utf-8")
    return PipSettings(file=file, mounts=mounts)


def _config_list() -> list[str]:
    command = [sys.executable, "-m", "pip", "config", "list"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.splitlines()


def _seen_inside(option: str, word: str, mounts: dict[str, str]) -> str:
    """Return a word of a setting with its path inside the build, and add that path to `mounts`."""
    path = Path(unquote(urlsplit(word).path)) if word.startswith("file:") else Path(word)
    if not path.is_absolute() or not path.exists():
        return word
    if path.is_file():
        mounts[str(path)] = f"{INSIDE}/{path.name}"
        return f"{INSIDE}/{path.name}"
    # Pages of an index link to files beside its folder, as in ../../files/NAME.
    root = path.parent if option.endswith("index-url") and path.parent != Path(os.sep) else path
    mounts[str(root)] = str(root)
    return word
