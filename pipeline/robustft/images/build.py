"""Build the image of a role, check its identity and packages, and move its SIF (Apptainer's image file) into place."""

from __future__ import annotations

import json
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from robustft.errors import RobustftError
from robustft.files import ROOT, digest_of, require_checkout
from robustft.images import builders
from robustft.images.pip_settings import PipSettings, machine_settings
from robustft.provenance.container import IDENTITY_FILE, PINS, expected_image

COMPRESSIONS = {"gzip": "", "lz4": "-comp lz4", "zstd": "-comp zstd"}
"""Options of mksquashfs for a SIF. gzip is Apptainer's default; lz4 is much faster and a third larger."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How to build: the program, another base, a pip.conf, the target folder, and whether to build again by force."""

    program: str
    base: str | None = None
    pip_conf: Path | None = None
    mounts: tuple[str, ...] = ()
    folder: Path | None = None
    compression: str = "gzip"
    force: bool = False
    root: Path = ROOT


def build_image(role: str, about: Mapping[str, Any], settings: Settings, log: Callable[[str], None]) -> Path | None:
    """Build the image of one role and return its SIF, or None without Apptainer, which alone makes a SIF.

    An image with the expected identity stays. The SIF is whole or absent: it is built beside its place, checked, and
    moved there. Raises RobustftError if a command fails or the finished image does not have the expected identity.
    """
    require_checkout("images")
    expected = expected_image(role, {**about, "base": settings.base or about["base"]}, root=settings.root)
    target = settings.root / about["image"]
    if settings.folder is not None:
        target = settings.folder.resolve() / target.name
    converts = settings.program == "apptainer" or builders.works("apptainer") is None
    if converts and not settings.force and target.is_file() and _has(_identity("apptainer", str(target)), expected):
        log(f"{target}: already up to date ({_size(target)}); --force builds it again")
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix=".build-", dir=target.parent) as folder:
        image = _build(expected, settings, Path(folder), converts=converts, log=log)
        program = "apptainer" if converts else settings.program
        _check(program, image, expected, about["imports"], log)
        if converts:
            Path(image).replace(target)
    minutes = (time.monotonic() - started) / 60
    if not converts:
        log(f"{role}: {image} in {settings.program}'s store, {minutes:.1f} min; no SIF without Apptainer")
        return None
    log(f"{role}: {target}, {_size(target)}, {minutes:.1f} min")
    return target


def tag_of(identity: Mapping[str, Any]) -> str:
    """Return the name of an image in a builder's store. It differs for every other base, lock or recipe."""
    return f"localhost/{identity['name']}:{digest_of({pin: identity[pin] for pin in PINS})[:12]}"


def _build(
    expected: Mapping[str, Any], settings: Settings, folder: Path, *, converts: bool, log: Callable[[str], None]
) -> str:
    """Build the image, unless the builder's store has it, and return it: the path of a SIF in `folder`, or a tag."""
    program, sif = settings.program, str(folder / "image.sif")
    request = builders.Request(
        role=expected["role"],
        base=expected["base"],
        lock=expected["lock"],
        revision=_revision(settings.root),
        pip=_pip(settings, folder),
    )
    if program == "apptainer":
        _run(builders.build_command(program, request, sif), settings.root, log)
        return sif
    tag = tag_of(expected)
    is_stored = subprocess.run(builders.has_command(program, tag), capture_output=True, check=False).returncode == 0
    if is_stored and not settings.force:
        log(f"{tag}: already in {program}'s store")
    else:
        _run(builders.build_command(program, request, tag), settings.root, log)
    if not converts:
        return tag
    archive = folder / "image.tar"
    _run(builders.save_command(program, tag, archive), settings.root, log)
    packing = ["--mksquashfs-args", COMPRESSIONS[settings.compression]] if COMPRESSIONS[settings.compression] else []
    _run(["apptainer", "build", *packing, sif, f"{builders.archive_kind(program)}:{archive}"], settings.root, log)
    archive.unlink()
    return sif


def _pip(settings: Settings, folder: Path) -> PipSettings:
    pip = machine_settings(folder) if settings.pip_conf is None else PipSettings(file=settings.pip_conf.resolve())
    mounts = {}
    for mount in settings.mounts:
        source, _, inside = mount.partition(":")
        mounts[source] = inside or source
    return PipSettings(file=pip.file, mounts={**pip.mounts, **mounts})


def _revision(root: Path) -> str:
    command = ["git", "-C", str(root), "describe", "--always", "--abbrev=40", "--dirty", "--exclude=*"]
    output = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    return output.strip() or "unknown"


def _run(command: Sequence[str], root: Path, log: Callable[[str], None]) -> None:
    """Run a command in the checkout with its output on the terminal; raise RobustftError if it fails."""
    log(f"$ {' '.join(command)}")
    status = subprocess.run(command, cwd=root, check=False).returncode
    if status:
        raise RobustftError(
            f"`{' '.join(command[:2])}` failed",
            where=root,
            observed=f"exit status {status}; its output is above",
            next_step="docker/README.md says what a build needs; the previous image is untouched",
        )


def _identity(program: str, image: str) -> dict[str, Any]:
    command = builders.inside_command(program, image, ["cat", str(IDENTITY_FILE)], checkout=ROOT)
    output = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    try:
        return dict(json.loads(output))
    except ValueError:
        return {}


def _has(identity: Mapping[str, Any], expected: Mapping[str, Any]) -> bool:
    return all(identity.get(key) == value for key, value in expected.items())


def _check(
    program: str, image: str, expected: Mapping[str, Any], imports: Sequence[str], log: Callable[[str], None]
) -> None:
    """Raise RobustftError unless a finished image has the expected identity and imports the packages of its role."""
    identity = _identity(program, image)
    if not _has(identity, expected):
        raise RobustftError(
            "the finished image does not have the expected identity",
            where=f"{IDENTITY_FILE} in {image}",
            expected=json.dumps(expected),
            observed=json.dumps(identity) if identity else "no readable identity",
            next_step="if files of docker/ or envs/ were edited during the build, build again",
        )
    command = builders.inside_command(program, image, ["python", "-c", f"import {', '.join(imports)}"], checkout=ROOT)
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        raise RobustftError(
            "the finished image cannot import what its role needs",
            where=image,
            expected=", ".join(imports),
            observed=result.stderr.strip().splitlines()[-1] if result.stderr.strip() else f"status {result.returncode}",
        )
    log(f"checked inside: {identity['name']}, built with {identity['built_with']}, imports {', '.join(imports)}")


def _size(path: Path) -> str:
    return f"{path.stat().st_size / 1e6:.0f} MB"
