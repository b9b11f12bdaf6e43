"""The `download` step: one published file, from a mirror that already holds it or from its publisher, checked.

Environment: ROBUSTFT_MIRROR names folders that are tried first, ROBUSTFT_OFFLINE=1 forbids the network.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

from robustft.data.fetch import mirror
from robustft.data.fetch.disguise import disguised, is_text
from robustft.data.fetch.mirror import MIRROR, OFFLINE
from robustft.data.fetch.published import HASHES, Observed, checked, doubt, is_hashed
from robustft.data.fetch.transfer import Patience, Transfer
from robustft.data.fetch.web import Refused
from robustft.errors import ConfigError, RobustftError
from robustft.files import atomic_path, digest_of
from robustft.runtime.context import Context


def download(spec: dict[str, Any], context: Context, *, patience: Patience | None = None) -> None:
    """Write the published file `spec["file"]` {key, name, bytes?, md5?, sha256?, members?, ...} to the output "file".

    An archive that lies unpacked in a mirror is packed again, without compression, and each of its `members` checked.
    `context.settings` holds `urls`, tried in order, and `manual`, what to do where there are none. `context.facts`
    receives `came_from` (the URL, or "mirror"), `place` (the URL, or the path in the mirror) and `observed`. Raises
    RobustftError if no place has the file, with each place and its problem, and at once if the disk is full.
    """
    file = spec["file"]
    if Path(file["name"]).name != file["name"]:
        raise ConfigError("a file's name must not hold a folder", where=file["key"], observed=file["name"])
    problems = mirror.lacking(file)
    urls = [] if _offline() else context.settings.get("urls") or []
    for place in (*mirror.mirrored(file), *mirror.unpacked(file), *urls):
        try:
            if isinstance(place, Path):
                observed = _from_mirror(place, file, context)
            else:
                observed = _from_url(place, file, context, patience or Patience())
        except Refused as problem:
            problems.append(f"{place}: {problem}")
            context.log(f"{place}: {problem}")
            continue
        came_from = "mirror" if isinstance(place, Path) else place
        context.facts.update(came_from=came_from, place=str(place), observed=vars(observed))
        context.log(f"{file['name']} is here, {observed.bytes} bytes, from {place}")
        if reason := doubt(file):
            context.log(f"{reason}; observed SHA-256 {observed.sha256}")
        return
    raise _no_place_has_it(file, context.settings, problems)


def _offline() -> bool:
    return os.environ.get(OFFLINE, "").lower() not in ("", "0", "false", "no")


def _from_mirror(path: Path, file: dict[str, Any], context: Context) -> Observed:
    """Copy a file of the mirror to the output, if the copy is the published file."""
    size = path.stat().st_size
    if path.is_file() and file.get("bytes") not in (None, size) and not file.get("members"):
        raise Refused(f"it is not the published file (bytes: expected {file['bytes']}, observed {size})")
    with atomic_path(context.outputs["file"]) as part:
        if path.is_file():
            mirror.copy(path, part, log=context.log)
        else:
            mirror.pack(path, file["members"], part)
        observed, problem = _checked(part, file, context)
        if problem:
            raise Refused(problem if path.is_file() else f"not the published files: {_wrong(path, file)}")
    return observed


def _wrong(folder: Path, file: dict[str, Any]) -> str:
    """Name the unpacked files that are not the published ones."""
    observed = {name: Observed.of(folder / name, log=lambda _: None).md5 for name in file["members"]}
    wrong = [name for name, md5 in file["members"].items() if observed[name] != md5]
    return ", ".join(f"{name}: expected {file['members'][name]}, observed {observed[name]}" for name in wrong)


def _from_url(url: str, file: dict[str, Any], context: Context, patience: Patience) -> Observed:
    """Receive into a part in the scratch folder, check it, move it to the output."""
    part = context.scratch / f"{digest_of(url)[:16]}.part"
    transfer = Transfer(url, part, file, patience=patience, log=context.log)
    for last in (False, True):
        whole = transfer.run()
        observed, problem = _checked(part, file, context)
        if problem is None:
            _move(part, context.outputs["file"])
            transfer.remove()
            return observed
        transfer.remove()
        if whole or last:
            break
        context.log(f"{url}: received in pieces, {problem}; starting over")
    raise Refused(str(problem))


def _checked(path: Path, file: dict[str, Any], context: Context) -> tuple[Observed, str | None]:
    """Return what a file on the disk is, and why it is not the published one: by a hash, or else by its looks."""
    observed, problem = checked(path, file, log=context.log)
    if problem is None and not is_hashed(file):
        problem = disguised(path, text=is_text(file["name"]))
    return observed, problem


def _move(source: Path, target: Path) -> None:
    """Give a checked file its final name; results and scratch may be on two disks."""
    with open(source, "rb") as stream:
        os.fsync(stream.fileno())  # slow: a process killed meanwhile still has the part
    with atomic_path(target) as path:
        shutil.move(source, path)


def _no_place_has_it(file: dict[str, Any], settings: dict[str, Any], problems: list[str]) -> RobustftError:
    """Return the error with every place that was tried and how to place the file by hand."""
    urls, manual = settings.get("urls") or [], settings.get("manual")
    place = f"place it as FOLDER/{file['name']} and set {MIRROR}=FOLDER"
    if not urls:
        what, how = "cannot be downloaded freely", f"{manual.rstrip('.')}; then {place}" if manual else place
    elif _offline():
        what = f"is in no mirror, and {OFFLINE} forbids the network"
        how = f"fetch it elsewhere from {' or '.join(urls)} and {place}"
    else:
        what, how = "could not be downloaded", f"run the same command again later; or fetch it elsewhere and {place}"
    published = [f"{key} {file[key]}" for key in ("bytes", *HASHES) if file.get(key) is not None]
    return RobustftError(
        f"the file {file['name']} ({file['key']}) {what}",
        expected=", ".join(published) or "no size and no hash was published",
        observed="".join(f"\n    {line}" for line in problems),
        next_step=how,
    )
