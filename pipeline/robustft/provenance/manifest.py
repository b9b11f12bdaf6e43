"""The `manifest` step: one hash, the root, that stands for every record of a scale.

Each record is vouched for by the records of later steps; the manifest vouches for the last ones. Whoever has quoted or
signed the root notices any change behind it.
"""

from __future__ import annotations

from typing import Any

from robustft.files import digest_of, sha256_file, write_json
from robustft.runtime.context import Context


def manifest(spec: dict[str, Any], context: Context) -> None:
    """Write the SHA-256 of each record, and the root: the SHA-256 of these in canonical JSON."""
    records = {path: sha256_file(path) for path in spec["records"]}
    root = digest_of(records)
    write_json(context.outputs["manifest"], {"scale": spec["scale"], "records": records, "root": root})
    context.log(f"{len(records)} records, root {root}")
