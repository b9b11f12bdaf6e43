"""The record: the JSON that a step writes in its own process about its inputs, environment and outputs.

`step`, `inputs`, `outputs`, `source` and `environment` are the same for two runs of one commit on one machine;
everything that differs (time, host, memory, attempts, hashes of other records) is under `circumstances`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from robustft.errors import IntegrityError
from robustft.files import digest_of, read_hashed_json, sha256_file

SCHEMA = "robustft-record-1"
PARTS = {"schema", "step", "inputs", "outputs", "source", "environment", "circumstances"}
ENTRY = {"path", "sha256", "bytes"}
INNER = {
    "step": {"kind", "id", "spec", "spec_sha256"},
    "source": {"files", "sha256"},
    "environment": {"git", "image", "lock", "packages", "python"},
    "circumstances": {"vouchers", "seconds", "attempt", "started", "ended"},
}
"""The keys that every entry of a file, and that these parts have; other keys depend on the step."""


def file_entry(path: str | Path) -> dict[str, Any]:
    """Return path, SHA-256 and size of a file. Raises IntegrityError if it is missing."""
    path = Path(path)
    if not path.is_file():
        raise IntegrityError("a file is missing", where=path, next_step="run snakemake to make it")
    return {"path": str(path), "sha256": sha256_file(path), "bytes": path.stat().st_size}


@dataclass(frozen=True)
class Record:
    """A record as read from its file, with the hash that later records quote."""

    path: str
    sha256: str
    values: dict[str, Any]

    def output(self, path: str) -> dict[str, Any] | None:
        """Return the entry of an output file; None if the record has none."""
        return next((entry for entry in self.values["outputs"].values() if entry["path"] == path), None)


def _misshapen(values: dict[str, Any]) -> str | None:
    """Return the first part with a wrong inner type or a missing key; None if there is none."""
    for part in sorted(PARTS - {"schema"}):
        if not isinstance(values[part], dict):
            return part
    for part in ("inputs", "outputs"):
        if any(not isinstance(entry, dict) or set(entry) != ENTRY for entry in values[part].values()):
            return part
    lacking = {part: keys - set(values[part]) for part, keys in INNER.items()}
    return next((part for part, keys in lacking.items() if keys), None)


def problem_with(values: Any) -> str | None:
    """Return the fault of a JSON value that is no valid record; None if it is valid."""
    if not isinstance(values, dict):
        return "it is not a JSON object"
    if values.get("schema") != SCHEMA:
        return f"its schema is {values.get('schema')!r}, not '{SCHEMA}'"
    if set(values) != PARTS:
        return f"its parts are {sorted(values)}, not {sorted(PARTS)}"
    misshapen = _misshapen(values)
    if misshapen:
        return f"its part '{misshapen}' does not have the entries that a step writes"
    try:
        spec, files = digest_of(values["step"]["spec"]), digest_of(values["source"]["files"])
    except (UnicodeEncodeError, RecursionError) as error:  # half a character, or mappings in mappings without end
        return f"its values are no text: {error}"
    if values["step"]["spec_sha256"] != spec:
        return "its specification does not have the hash written beside it"
    if values["source"]["sha256"] != files:
        return "its source files do not have the hash written beside them"
    return None


def read_record(path: str | Path) -> Record:
    """Read and check one record. Raises IntegrityError if it is missing, cut off or not a record."""
    if not Path(path).is_file():
        raise IntegrityError("a record is missing", where=path, next_step="run snakemake to make it")
    values, sha256 = read_hashed_json(path)
    problem = problem_with(values)
    if problem:
        raise IntegrityError(
            "a record is not valid", where=path, observed=problem, next_step="delete it and run snakemake"
        )
    return Record(str(path), sha256, values)
