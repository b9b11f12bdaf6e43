"""The container of a step: the image that the checkout defines for each role, and the image of this process."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from robustft.errors import RobustftError
from robustft.files import ROOT, sha256_file

IDENTITY_FILE = Path("/etc/robustft-image.json")
"""Written when an image is built (docker/install.sh); a step that finds it ran inside that image."""

PREFIX = "/opt/robustft"
"""The folder of Python and its packages in an image."""

PINS = {"base": "base", "lock_sha256": "lock", "recipe_sha256": "recipe"}
"""The keys that identify an image of this checkout, with their names in messages."""

MARKS = {"apptainer": "/.singularity.d", "docker": "/.dockerenv", "podman": "/run/.containerenv"}
"""The path that each program creates in every container that it starts."""


def recipe_sha256(role: str, *, root: Path = ROOT) -> str | None:
    """Return the hash of the files that build a role's image, as docker/install.sh computes it; None without them."""
    names = ("docker/install.sh", f"docker/{role}/Dockerfile", f"docker/{role}/robustft-{role}.def")
    if not all((root / name).is_file() for name in names):
        return None
    listing = "".join(f"{sha256_file(root / name)}  {Path(name).name}\n" for name in names)
    return hashlib.sha256(listing.encode()).hexdigest()


def expected_image(role: str, about: Mapping[str, Any], *, root: Path = ROOT) -> dict[str, Any]:
    """Return the identity of a role's image, from its entry in config/images.yaml and the checkout's files."""
    return {
        "name": f"robustft-{role}",
        "role": role,
        "base": about["base"],
        "lock": about["lock"],
        "lock_sha256": sha256_file(root / about["lock"]),
        "recipe_sha256": recipe_sha256(role, root=root),
    }


def observed_image() -> dict[str, Any] | None:
    """Return the identity of the image that this process runs in; None outside of containers.

    `own_python` tells whether this process runs the image's Python. Another Python, such as one of a mounted folder,
    has packages that are not in the image. A foreign container has a `container` and no `name`.
    """
    try:
        identity = dict(json.loads(IDENTITY_FILE.read_text(encoding="utf-8")))
    except (OSError, ValueError):
        container = foreign_container()
        return {"name": None, "container": container} if container else None
    return {**identity, "own_python": sys.prefix == PREFIX}


def foreign_container(marks: Mapping[str, str] = MARKS) -> str | None:
    """Return the program of this process's container, and the image file if known; None outside of containers."""
    image = os.environ.get("APPTAINER_CONTAINER") or os.environ.get("SINGULARITY_CONTAINER")
    if image:
        return f"apptainer: {Path(image).name}"
    if os.environ.get("KUBERNETES_SERVICE_HOST"):
        return "kubernetes"
    return next((program for program, mark in marks.items() if Path(mark).exists()), None)


def unlike(image: Mapping[str, Any] | None, roles: Mapping[str, Any], *, root: Path = ROOT) -> str | None:
    """Return in words why a recorded image is not an image of this checkout; None if it is one."""
    if image is None:
        return "ran outside every image of this project"
    if not image.get("name"):
        return f"ran in a foreign container, not in an image of this project ({image.get('container')})"
    role = str(image.get("role"))
    if role not in roles:
        return f"ran in the image {image['name']}, whose role '{role}' is not in config/images.yaml"
    expected = expected_image(role, roles[role], root=root)
    other = [
        f"another {what} ({_short(image.get(pin))}, here {_short(expected[pin])})"
        for pin, what in PINS.items()
        if image.get(pin) != expected[pin]
    ]
    if not image.get("own_python", True):
        other.append("a Python that is not the image's own")
    return f"ran in the image {image['name']} with {' and '.join(other)}" if other else None


def _short(value: object) -> str:
    text = str(value)
    return f"{text[:16]}..." if len(text) == 64 else text


def missing_images(roles: Mapping[str, Any], *, folder: Path | None = None) -> RobustftError | None:
    """Return an error that names the missing image files, or None. Apptainer itself looks for `docker://...`."""
    where = folder or Path.cwd()
    paths = [about["image"] for about in roles.values() if "://" not in about["image"]]
    missing = [path for path in paths if not (where / path).is_file()]
    if not missing:
        return None
    return RobustftError(
        "the steps are to run in Apptainer images that are not there",
        where=where,
        expected=", ".join(paths),
        observed=f"missing: {', '.join(missing)}",
        next_step="build them with `make images` (docker/README.md), or run without --use-singularity",
    )
