"""The programs that build images, and the commands of each. The recipes are in docker/."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from robustft.errors import RobustftError, lookup
from robustft.images.pip_settings import PipSettings

PROBES = {
    "docker": ("docker", "info"),
    "podman": ("podman", "info"),
    "buildah": ("buildah", "info"),
    "apptainer": ("apptainer", "--version"),
}
"""For each program a command that succeeds only where the program can build, in order of preference."""

QUICK = ("--compression-format", "gzip", "--compression-level", "1")


@dataclass(frozen=True, kw_only=True)
class Request:
    """An image to build: its role, base, lock, the checkout's git revision, and the settings of pip for the build."""

    role: str
    base: str
    lock: str
    revision: str
    pip: PipSettings

    def arguments(self, built_with: str) -> dict[str, str]:
        """Return the build arguments of the recipe."""
        return {
            "BASE_IMAGE": self.base,
            "ROLE": self.role,
            "LOCK": self.lock,
            "REVISION": self.revision,
            "BUILT_WITH": built_with,
        }


def version(program: str) -> str:
    """Return the version line of a program, without the part in brackets."""
    output = subprocess.run([program, "--version"], capture_output=True, text=True, check=False).stdout
    return output.strip().split("\n")[0].split(" (")[0]


def works(program: str) -> str | None:
    """Return why a program cannot build here, or None if it can."""
    if shutil.which(program) is None:
        return "not installed"
    probe = subprocess.run(PROBES[program], capture_output=True, text=True, check=False)
    if probe.returncode == 0:
        return None
    lines = (probe.stderr or probe.stdout).strip().splitlines()
    return lines[-1].strip() if lines else f"`{' '.join(PROBES[program])}` ended with {probe.returncode}"


def choose(name: str | None, log: Callable[[str], None]) -> str:
    """Return the named program, or the first that works, and log why others do not. Raises RobustftError for none."""
    if name is not None:
        lookup(PROBES, name, kind="builder", where="--builder")
    reasons = {}
    for program in [name] if name else list(PROBES):
        reason = works(program)
        if reason is None:
            log(f"building with {version(program)}")
            return program
        reasons[program] = reason
        log(f"not with {program}: {reason}")
    raise RobustftError(
        "no program here can build an image",
        expected=f"one of {', '.join(PROBES)}" if name is None else name,
        observed="; ".join(f"{program}: {reason}" for program, reason in reasons.items()),
        next_step="install one of them (Apptainer also runs the images), or start its service",
    )


def build_command(program: str, request: Request, target: str) -> list[str]:
    """Return the command that builds an image at the top of the checkout; `target` is a tag, for Apptainer a file."""
    arguments = request.arguments(version(program))
    if program == "apptainer":
        return _apptainer(request, arguments, target)
    pip = request.pip
    if program == "docker" and pip.mounts:
        raise RobustftError(
            "docker cannot see files of this machine while it builds, and pip's settings name some",
            observed=", ".join(pip.mounts),
            next_step="build with podman, buildah or apptainer, or give a --pip-conf that names an address",
        )
    build = {
        "docker": ["docker", "build", "--progress=plain"],
        "podman": ["podman", "build", "--layers=false"],
        "buildah": ["buildah", "build"],
    }[program]
    options = [part for name, value in arguments.items() for part in ("--build-arg", f"{name}={value}")]
    secret = ["--secret", f"id=pip_conf,src={pip.file}"] if pip.file else []
    volumes = [part for source, inside in pip.mounts.items() for part in ("--volume", f"{source}:{inside}:ro")]
    return [
        *build,
        *options,
        *secret,
        *volumes,
        "--file",
        f"docker/{request.role}/Dockerfile",
        "--tag",
        target,
        ".",
    ]


def _apptainer(request: Request, arguments: dict[str, str], target: str) -> list[str]:
    bootstrap, separator, place = request.base.partition(":/")
    if separator:  # docker-archive:/FILE, oci-archive:/FILE, localimage:/FILE
        source = {"BOOTSTRAP": bootstrap, "FROM": f"/{place.lstrip('/')}"}
    else:
        name, _, digest = request.base.partition("@")
        # Apptainer accepts a tag or a digest, not both.
        short = name.rsplit("/", 1)[-1]
        source = {"FROM": f"{name[: len(name) - len(short)]}{short.split(':')[0]}@{digest}" if digest else name}
    options = [part for key, value in {**arguments, **source}.items() for part in ("--build-arg", f"{key}={value}")]
    binds = {str(request.pip.file): "/etc/pip.conf"} if request.pip.file else {}
    mounts = [
        part for out, inside in {**binds, **request.pip.mounts}.items() for part in ("--bind", f"{out}:{inside}:ro")
    ]
    definition = f"docker/{request.role}/robustft-{request.role}.def"
    return ["apptainer", "build", *options, *mounts, target, definition]


def has_command(program: str, tag: str) -> list[str]:
    """Return the command that succeeds if the program's store has an image of this name."""
    return {
        "docker": ["docker", "image", "inspect", tag],
        "podman": ["podman", "image", "exists", tag],
        "buildah": ["buildah", "inspect", "--type", "image", tag],
    }[program]


def save_command(program: str, tag: str, archive: Path) -> list[str]:
    """Return the command that writes an image to an archive that Apptainer reads, with little or no compression."""
    return {
        "docker": ["docker", "save", "--output", str(archive), tag],
        "podman": ["podman", "save", "--format", "docker-archive", "--output", str(archive), tag],
        # From the other kind of archive Apptainer first compresses the layers at the highest level, then unpacks them.
        "buildah": ["buildah", "push", *QUICK, tag, f"oci-archive:{archive}"],
    }[program]


def archive_kind(program: str) -> str:
    """Return Apptainer's name for the kind of archive that `save_command` writes."""
    return "oci-archive" if program == "buildah" else "docker-archive"


def inside_command(program: str, image: str, command: Sequence[str], *, checkout: Path) -> list[str]:
    """Return the command that runs another one inside an image, in the checkout, which is mounted read-only."""
    if program == "apptainer":
        mount = ["--bind", f"{checkout}:{checkout}:ro", "--pwd", str(checkout)]
        return ["apptainer", "exec", "--cleanenv", "--no-home", *mount, image, *command]
    if program == "buildah":
        script = (
            'c=$(buildah from "$0") && trap "buildah rm $c >/dev/null" EXIT && '
            'm=$1 && shift && buildah run --volume "$m:$m:ro" --workingdir "$m" "$c" -- "$@"'
        )
        return ["bash", "-c", script, image, str(checkout), *command]
    return [
        program,
        "run",
        "--rm",
        "--volume",
        f"{checkout}:{checkout}:ro",
        "--workdir",
        str(checkout),
        image,
        *command,
    ]
