"""The inputs of a step: what its record says of them, and that they are still that when the step has read them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from robustft.errors import IntegrityError
from robustft.files import sha256_file
from robustft.provenance.record import file_entry, read_record

State = tuple[int, int, int, int]
"""Of a file: inode, size, and the times of its last write and change. No user can set the last one."""


def vouched_input(role: str, path: str, record_path: str) -> tuple[dict[str, Any], dict[str, str]]:
    """Return an input's entry and its voucher, after comparing its bytes with the record of the step that wrote it.

    Raises IntegrityError if they differ.
    """
    entry = file_entry(path)
    record = read_record(record_path)
    output = record.output(path)
    if output is None or output["sha256"] != entry["sha256"]:
        raise IntegrityError(
            f"the input '{role}' is not what its step wrote",
            where=path,
            expected=f"{output['sha256'] if output else 'an entry'} ({record_path})",
            observed=entry["sha256"],
            next_step=f"delete {path} and run snakemake; it will be made again",
        )
    return entry, {"record": record_path, "sha256": record.sha256}


def state_of(path: str) -> State:
    """Return the state of a file, which another one and any write would change."""
    status = Path(path).stat()
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def require_unchanged(inputs: Mapping[str, Mapping[str, Any]], states: Mapping[str, State]) -> None:
    """Raise IntegrityError for an input that is no longer what was hashed: a step may have read either.

    Args:
        inputs: the entries by role.
        states: what `state_of` returned for each role before the file was hashed. One of another state is hashed again.
    """
    for role, entry in inputs.items():
        if state_of(entry["path"]) != states[role] and (observed := sha256_file(entry["path"])) != entry["sha256"]:
            raise IntegrityError(
                f"the input '{role}' changed while the step read it",
                where=entry["path"],
                expected=entry["sha256"],
                observed=observed,
                next_step="run the same command again; nothing else may write into results/ meanwhile",
            )
