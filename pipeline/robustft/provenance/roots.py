"""The root of some papers: one hash that stands for every record behind their results.

It is the hash over the records of their manifests. So no record is outside of it, that of a manifest neither, and no
file holds it that a run of fewer papers would write again.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from robustft.errors import RobustftError
from robustft.files import digest_of, sha256_file
from robustft.plan import RESULTS, Plan


def root_over(manifests: Mapping[str, str]) -> str:
    """Return the root of some papers: the SHA-256 over that of each paper's manifest record, in canonical JSON."""
    return digest_of(dict(manifests))


def manifest_records(plan: Plan, folder: Path = Path(RESULTS)) -> dict[str, str]:
    """Return the SHA-256 of each paper's manifest record, of the results in a folder.

    Raises RobustftError if a paper has none: it has not been run to its end.
    """
    found = {}
    for step in plan.of_kind("manifest"):
        path = folder / step.record.removeprefix(f"{RESULTS}/")
        if not path.is_file():
            raise RobustftError(
                f"{step.id} has not been run to its end at scale {plan.scale}",
                where=path,
                observed="its manifest has no record",
                next_step="run snakemake, or name the papers that have been run: --papers",
            )
        found[step.id] = sha256_file(path)
    return found
