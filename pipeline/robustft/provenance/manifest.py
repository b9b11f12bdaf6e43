"""The `manifest` step: one hash, the root, that stands for every record of a scale, and one for its numbers alone.

Each record is vouched for by the records of later steps; the manifest vouches for the last ones. Whoever has quoted or
signed the root notices any change behind it. Records hold times and hosts, so the root is of one run; the content root
is the same for every run that measured the same.
"""

from __future__ import annotations

from typing import Any

from robustft.files import digest_of, read_json, sha256_file, write_json
from robustft.report.content import content_root
from robustft.runtime.context import Context


def manifest(spec: dict[str, Any], context: Context) -> None:
    """Write the SHA-256 of each record, the root (the SHA-256 of these in canonical JSON) and the content root."""
    records = {path: sha256_file(path) for path in spec["records"]}
    root = digest_of(records)
    content = content_root({paper: read_json(context.inputs[f"numbers:{paper}"]) for paper in spec["papers"]})
    about = {"scale": spec["scale"], "records": records, "root": root, "content_root": content}
    write_json(context.outputs["manifest"], about)
    context.log(f"{len(records)} records, root {root}, content root {content}")
