"""Building a role's image, checking the identity and the packages inside it, and putting its SIF into place."""

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
from robustft.provenance.container import IDENTITY_FILE, PINS, wanted_image

COMPRESSIONS = {"gzip": "", "lz4": "-comp lz4", "zstd": "-comp zstd"}
"""How a SIF is packed, as mksquashfs is told: gzip is Apptainer's own, lz4 is much faster and a third larger."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How to build: with which program, on another base, with which pip.conf, where to, whether again."""

    program: str
    base: str | None = None
    pip_conf: Path | None = None
    mounts: tuple[str, ...] = ()
    folder: Path | None = None
    compression: str = "gzip"
    force: bool = False
    root: Path = ROOT


def build_image(role: str, about: Mapping[str, Any], settings: Settings, log: Callable[[str], None]) -> Path | None:
    """Build one role's image and return its SIF, None where there is no Apptainer to make one.

    An image whose identity is already as wanted is kept. The SIF is whole or absent: it is made beside its place,
    checked, and moved there. Raises RobustftError when a command fails or the finished image is not what was asked for.
    """
    require_checkout("images")
    wanted = wanted_image(role, {**about, "base": settings.base or about["base"]}, root=settings.root)
    target = settings.root / about["image"]
    if settings.folder is not None:
        target = settings.folder.resolve() / target.name
    converts = settings.program == "apptainer" or builders.works("apptainer") is None
    if converts and not settings.force and target.is_file() and _like(_identity("apptainer", str(target)), wanted):
        log(f"{target}: as wanted already ({_size(target)}); --force builds it again")
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix=".build-", dir=target.parent) as folder:
        made = _made(wanted, settings, Path(folder), converts=converts, log=log)
        program = "apptainer" if converts else settings.program
        _check(program, made, wanted, about["imports"], log)
        if converts:
            Path(made).replace(target)
    minutes = (time.monotonic() - started) / 60
    if not converts:
        log(f"{role}: {made} in {settings.program}'s store, {minutes:.1f} min; no SIF, for Apptainer is not installed")
        return None
    log(f"{role}: {target}, {_size(target)}, {minutes:.1f} min")
    return target


def tag_of(wanted: Mapping[str, Any]) -> str:
    """Return the name of an image in a builder's store: images of other pins have other names."""
    return f"localhost/{wanted['name']}:{digest_of({pin: wanted[pin] for pin in PINS})[:12]}"


def _made(
    wanted: Mapping[str, Any], settings: Settings, folder: Path, *, converts: bool, log: Callable[[str], None]
) -> str:
    """Build, unless the builder's store holds it, and return the image: a SIF in `folder`, or a tag."""
    program, sif = settings.program, str(folder / "image.sif")
    request = builders.Request(
        role=wanted["role"],
        base=wanted["base"],
        lock=wanted["lock"],
        revision=_revision(settings.root),
        pip=_pip(settings, folder),
    )
    if program == "apptainer":
        _run(builders.build_command(program, request, sif), settings.root, log)
        return sif
    tag = tag_of(wanted)
    held = subprocess.run(builders.has_command(program, tag), capture_output=True, check=False).returncode == 0
    if held and not settings.force:
        log(f"{tag}: in {program}'s store already")
    else:
        _run(builders.build_command(program, request, tag), settings.root, log)
    if not converts:
        return tag
    archive = folder / "image.tar"
    _run(builders.save_command(program, tag, archive), settings.root, log)
    packed = ["--mksquashfs-args", COMPRESSIONS[settings.compression]] if COMPRESSIONS[settings.compression] else []
    _run(["apptainer", "build", *packed, sif, f"{builders.archive_kind(program)}:{archive}"], settings.root, log)
    archive.unlink()
    return sif


def _pip(settings: Settings, folder: Path) -> PipSettings:
    found = machine_settings(folder) if settings.pip_conf is None else PipSettings(file=settings.pip_conf.resolve())
    given = {}
    for mount in settings.mounts:
        source, _, inside = mount.partition(":")
        given[source] = inside or source
    return PipSettings(file=found.file, mounts={**found.mounts, **given})


def _revision(root: Path) -> str:
    command = ["git", "-C", str(root), "describe", "--always", "--abbrev=40", "--dirty", "--exclude=*"]
    said = subprocess.run(command, capture_output=True, text=True, check=False)
    return said.stdout.strip() or "unknown"


def _run(command: Sequence[str], root: Path, log: Callable[[str], None]) -> None:
    """Run a command in the checkout with its output on the terminal; raise RobustftError if it fails."""
    log(f"$ {' '.join(command)}")
    status = subprocess.run(command, cwd=root, check=False).returncode
    if status:
        raise RobustftError(
            f"`{' '.join(command[:2])}` failed",
            where=root,
            observed=f"exit status {status}; its own words are above",
            next_step="docker/README.md says what a build needs; the image that was there before is untouched",
        )


def _identity(program: str, image: str) -> dict[str, Any]:
    command = builders.inside_command(program, image, ["cat", str(IDENTITY_FILE)], checkout=ROOT)
    said = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        return dict(json.loads(said.stdout))
    except ValueError:
        return {}


def _like(identity: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    return all(identity.get(key) == value for key, value in wanted.items())


def _check(
    program: str, image: str, wanted: Mapping[str, Any], imports: Sequence[str], log: Callable[[str], None]
) -> None:
    """Read the identity inside a finished image and import in it what its role needs."""
    identity = _identity(program, image)
    if not _like(identity, wanted):
        raise RobustftError(
            "the finished image is not the one that was asked for",
            where=f"{IDENTITY_FILE} in {image}",
            expected=json.dumps(wanted),
            observed=json.dumps(identity) if identity else "no identity that can be read",
            next_step="if files of docker/ or envs/ were edited during the build, build again",
        )
    command = builders.inside_command(program, image, ["python", "-c", f"import {', '.join(imports)}"], checkout=ROOT)
    tried = subprocess.run(command, capture_output=True, text=True, check=False)
    if tried.returncode:
        raise RobustftError(
            "the finished image cannot import what its role needs",
            where=image,
            expected=", ".join(imports),
            observed=tried.stderr.strip().splitlines()[-1] if tried.stderr.strip() else f"status {tried.returncode}",
        )
    log(f"checked inside: {identity['name']}, built with {identity['built_with']}, imports {', '.join(imports)}")


def _size(path: Path) -> str:
    return f"{path.stat().st_size / 1e6:.0f} MB"
