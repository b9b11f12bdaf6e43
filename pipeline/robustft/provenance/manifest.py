"""The `seal` step: one hash that stands for every record of a scale.

A record is vouched for by the records made after it; the seal vouches for the last ones. Quote or sign the root, and
nothing behind it can be changed without being noticed.
"""

from __future__ import annotations

from typing import Any

from robustft.files import digest_of, sha256_file, write_json
from robustft.runtime.context import Context


def seal(spec: dict[str, Any], context: Context) -> None:
    """Write the hashes of all records and their root."""
    records = {path: sha256_file(path) for path in spec["records"]}
    root = digest_of(records)
    write_json(context.outputs["seal"], {"scale": spec["scale"], "records": records, "root": root})
    context.log(f"{len(records)} records, root {root}")
