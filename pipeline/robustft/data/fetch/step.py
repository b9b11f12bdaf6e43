"""The `download` step: one published file, from a folder that already holds it or from its publisher, checked.

Environment: ROBUSTFT_MIRROR names folders that are looked in first, ROBUSTFT_OFFLINE=1 forbids the network.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from robustft.data.fetch.transfer import Meter, Part, Patience, Transfer, check_space
from robustft.data.fetch.web import Refused
from robustft.errors import ConfigError, RobustftError
from robustft.files import atomic_path, digest_of
from robustft.runtime.context import Context

MIRROR = "ROBUSTFT_MIRROR"
OFFLINE = "ROBUSTFT_OFFLINE"
HASHES = ("sha256", "md5", "sha256_prefix")

_CHUNK_BYTES = 1 << 20
_COPY_BYTES = 1 << 28
"""A multiple of every file system's block, as cloning a part of a file asks for."""


@dataclass(frozen=True)
class Observed:
    """What a file is, as read back from the disk."""

    bytes: int
    md5: str
    sha256: str

    @classmethod
    def of(cls, path: Path, *, log: Callable[[str], None]) -> Observed:
        """Read a file once."""
        md5, sha256 = hashlib.md5(usedforsecurity=False), hashlib.sha256()
        size, meter = 0, Meter(log, "checked", total=path.stat().st_size)
        with open(path, "rb") as stream:
            while chunk := stream.read(_CHUNK_BYTES):
                md5.update(chunk)
                sha256.update(chunk)
                size += len(chunk)
                meter.update(size)
        return cls(size, md5.hexdigest(), sha256.hexdigest())

    def problem(self, file: Mapping[str, Any]) -> str | None:
        """Say where it is not the published file, expected against observed; None if it is."""
        seen = {**vars(self), "sha256_prefix": self.sha256}
        wrong = [
            f"{key}: expected {file[key]}, observed {seen[key]}"
            for key in ("bytes", *HASHES)
            if file.get(key) is not None and not _agrees(key, file[key], seen[key])
        ]
        return f"it is not the published file ({'; '.join(wrong)})" if wrong else None


def _agrees(key: str, published: Any, seen: Any) -> bool:
    return seen.startswith(published.lower()) if key in HASHES else seen == published


def download(spec: dict[str, Any], context: Context, *, patience: Patience | None = None) -> None:
    """Write the published file `spec["file"]` {key, name, bytes?, md5?, sha256?, sha256_prefix?} to the output "file".

    `context.settings` holds `urls`, tried in order, and `manual`, what to do where there are none. To `context.facts`
    go `came_from` (the URL, or "mirror"), `place` (the URL, or the path in the mirror) and `observed`. Raises
    RobustftError, which names each place that was tried and why it would not do, if none has the file, and at once if
    the disk is full.
    """
    file = spec["file"]
    if Path(file["name"]).name != file["name"]:
        raise ConfigError("a file's name is more than a name", where=file["key"], observed=file["name"])
    tried = _without(file)
    for origin, place, bring in _places(file, context, patience or Patience()):
        try:
            observed = bring()
        except Refused as problem:
            tried.append(f"{place}: {problem}")
            context.log(f"{place}: {problem}")
            continue
        context.facts.update(came_from=origin, place=place, observed=vars(observed))
        context.log(f"{file['name']} is here, {observed.bytes} bytes, from {place}")
        if doubt := _doubt(file):
            context.log(f"{doubt}; observed SHA-256 {observed.sha256}")
        return
    raise _not_found(file, context.settings, tried)


def folders() -> list[Path]:
    """Return the folders of ROBUSTFT_MIRROR. Raises ConfigError for one that is not there (a disk not mounted, say)."""
    named = [Path(name) for name in os.environ.get(MIRROR, "").split(os.pathsep) if name]
    for folder in named:
        if not folder.is_dir():
            raise ConfigError(
                f"{MIRROR} names a folder that is not there", where=folder, next_step="mount or remove it"
            )
    return named


def mirrored(file: Mapping[str, Any]) -> list[Path]:
    """Return the files of the mirror that have the name of `file` {key, name}, in a folder of its key first; unread."""
    places = [folder / inner for folder in folders() for inner in (Path(file["key"], file["name"]), file["name"])]
    return [place for place in places if place.is_file()]


def _without(file: Mapping[str, Any]) -> list[str]:
    """Return a line for each folder of the mirror that does not have the file."""
    found = mirrored(file)
    lacking = [folder for folder in folders() if not any(folder in place.parents for place in found)]
    lines = [f"{folder}: there is no {file['name']} and no {file['key']}/{file['name']}" for folder in lacking]
    return lines if folders() else [f"{MIRROR} is not set"]


def missing(files: Mapping[str, Mapping[str, Any]], done: Callable[[str], bool]) -> list[str]:
    """Return a line for each file that is neither downloaded nor in the mirror: key, name, size, how to get it.

    `files` are entries of `files:` in the configuration by key; `done` tells of a key whether it was downloaded.
    Sizes are compared, nothing is hashed, and the network is not touched.
    """
    lines = []
    for key, file in files.items():
        sizes = [place.stat().st_size for place in mirrored({"key": key, **file})]
        if done(key) or any(file.get("bytes") in (None, size) for size in sizes):
            continue
        size = f"{file['bytes'] / 1e6:.1f} MB" if file.get("bytes") is not None else "size unknown"
        urls = file.get("urls") or []
        way = f"from {urls[0]}" if urls else f"by hand: {file.get('manual') or 'no address is on record'}"
        lines.append(f"{key}: {file['name']} ({size}), {way}")
    return lines


def _doubt(file: Mapping[str, Any]) -> str | None:
    """Say how little was published to check the file against; None if a whole hash was."""
    if file.get("sha256") is not None or file.get("md5") is not None:
        return None
    digits = len(file.get("sha256_prefix") or "")
    return f"only the first {digits} digits of its SHA-256 were published" if digits else "no hash of it was published"


def _hashed(file: Mapping[str, Any]) -> bool:
    return any(file.get(key) is not None for key in HASHES)


def _offline() -> bool:
    return os.environ.get(OFFLINE, "") not in ("", "0")


def _places(
    file: dict[str, Any], context: Context, patience: Patience
) -> Iterator[tuple[str, str, Callable[[], Observed]]]:
    """Yield for each place to look in, in order: its kind or URL, its path or URL, what brings the file from there."""
    for path in mirrored(file):
        yield "mirror", str(path), partial(_from_mirror, path, file, context)
    for url in [] if _offline() else context.settings.get("urls") or []:
        yield url, url, partial(_from_url, url, file, context, patience)


def _from_mirror(path: Path, file: dict[str, Any], context: Context) -> Observed:
    """Copy a file of the mirror to the output and check the copy.

    A hard link would cost nothing, but share bytes, times and mode with a file that is not ours: `snakemake --touch`
    would renew its date, an edit of either be one of both. Where the file system can, the copy is a clone, which takes
    no room either.
    """
    size = path.stat().st_size
    if file.get("bytes") not in (None, size):
        raise Refused(f"it is not the published file (bytes: expected {file['bytes']}, observed {size})")
    output = context.outputs["file"]
    with atomic_path(output) as part:
        _copy(path, part, log=context.log)
        observed = Observed.of(part, log=context.log)
        if problem := observed.problem(file):
            raise Refused(problem)
    return observed


def _copy(source: Path, target: Path, *, log: Callable[[str], None]) -> None:
    """Copy the bytes: as a clone where the file system can, inside the kernel or the file server where these can."""
    size, done = source.stat().st_size, 0
    if source.stat().st_dev != target.stat().st_dev:  # else it may become a clone
        check_space(target.parent, size)
    meter = Meter(log, "copied", total=size)
    with open(source, "rb", buffering=0) as reader, open(target, "wb", buffering=0) as writer:
        try:
            while done < size and (step := os.copy_file_range(reader.fileno(), writer.fileno(), _COPY_BYTES)):
                done += step
                meter.update(done)
        except (AttributeError, OSError) as error:  # the system cannot, or not between these two places
            if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT):
                raise
    if done < size:
        shutil.copyfile(source, target)


def _from_url(url: str, file: dict[str, Any], context: Context, patience: Patience) -> Observed:
    """Receive into a part in the scratch folder, check it, move it to the output."""
    part = Part(context.scratch / f"{digest_of(url)[:16]}.part")
    transfer = Transfer(url, part, bytes=file.get("bytes"), hashed=_hashed(file), patience=patience, log=context.log)
    for last in (False, True):
        transfer.run()
        observed = Observed.of(part.path, log=context.log)
        problem = observed.problem(file)
        if problem is None:
            _move(part.path, context.outputs["file"])
            return observed
        part.remove()
        if transfer.whole or last:
            break
        context.log(f"{url}: received in pieces, {problem}; starting over")
    raise Refused(str(problem))


def _move(source: Path, target: Path) -> None:
    """Give a checked file its final name, which is on the same disk unless results and scratch are on two."""
    with open(source, "rb") as stream:
        os.fsync(stream.fileno())
    try:
        source.replace(target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        with atomic_path(target) as part:
            shutil.copyfile(source, part)


def _not_found(file: dict[str, Any], settings: dict[str, Any], tried: list[str]) -> RobustftError:
    """Return the error that says where the file was looked for and how to place it by hand."""
    urls, manual = settings.get("urls") or [], settings.get("manual")
    place = f"place it as FOLDER/{file['name']} and set {MIRROR}=FOLDER"
    if not urls:
        what, how = "cannot be downloaded freely", f"{manual.rstrip('.')}; then {place}" if manual else place
    elif _offline():
        what = f"is in no mirror, and {OFFLINE} forbids the network"
        how = f"fetch it elsewhere from {' or '.join(urls)} and {place}"
    else:
        what, how = "could not be downloaded", f"run the same command again later; or fetch it elsewhere and {place}"
    wanted = [f"{key} {file[key]}" for key in ("bytes", *HASHES) if file.get(key) is not None]
    return RobustftError(
        f"the file {file['name']} ({file['key']}) {what}",
        expected=", ".join(wanted) or "no size and no hash was published",
        observed="".join(f"\n    {line}" for line in tried) or "nothing was tried",
        next_step=how,
    )
