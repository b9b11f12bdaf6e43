"""What `snakemake --config` may say of one run of the workflow: closed, and read the same way whatever it is typed as.

Snakemake takes any key, and turns a value that looks like a number or a truth value into one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from robustft.config.scale import Defaults
from robustft.errors import ConfigError, nearest

KEYS = {*Defaults.__struct_fields__, "seeds", "mirror", "offline"}
YES, NO = {"true", "yes", "on", "1"}, {"false", "no", "off", "0", ""}


@dataclass(frozen=True)
class WorkflowSettings:
    """One run of the workflow: its scale, papers and seeds, folders of published files, use of the network."""

    scale: str
    papers: str | list[str]
    seeds: int | None
    mirror: str | None
    offline: bool


def workflow_settings(config: Mapping[str, Any]) -> WorkflowSettings:
    """Return the settings in Snakemake's `config`: what config/config.yaml and the command line say together.

    Raises ConfigError for an unknown key, with the nearest one, and for a value of the wrong kind.
    """
    for key in config:
        if key not in KEYS:
            raise ConfigError(f"--config has no key '{key}'", next_step=nearest(key, KEYS))
    return WorkflowSettings(
        scale=str(config["scale"]),
        papers=_papers(config["papers"]),
        seeds=seed_count(config.get("seeds"), of="--config seeds"),
        mirror=_mirror(config.get("mirror")),
        offline=_truth("offline", config.get("offline", False)),
    )


def _papers(value: Any) -> str | list[str]:
    """Return `all` or the names: a list, a name, or names separated by commas, with brackets or without."""
    if isinstance(value, str) and value != "all":
        return [name for name in re.split(r"[\s,\[\]]+", value) if name]
    return value if value == "all" else [str(name) for name in value]


def seed_count(value: Any, *, of: str) -> int | None:
    """Return how many seeds are asked for; None if nothing is said. Raises ConfigError for anything but 1, 2, ..."""
    if value is None:
        return None
    text = str(value).strip()
    if not text.isdecimal() or int(text) < 1:
        raise ConfigError(f"{of} must be a number of seeds", expected="1, 2, ...", observed=repr(value))
    return int(text)


def _mirror(value: Any) -> str | None:
    if isinstance(value, bool | int | float):
        raise ConfigError(
            "--config mirror must be a folder",
            observed=f"{value!r}: Snakemake reads a name like 2024_10_10 as a number",
            next_step="write it as a path, mirror=./NAME, or give it to `robustft run --mirror NAME`",
        )
    return str(value) if value else None


def _truth(key: str, value: Any) -> bool:
    text = str(value).lower()
    if text not in YES | NO:
        raise ConfigError(f"--config {key} must be yes or no", observed=repr(value))
    return text in YES
