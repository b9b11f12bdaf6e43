"""The `manifest` step: the record of every step that a paper's results need, with its hash.

It has one hash over these records, and one over the paper's numbers alone. Records hold times and hosts, so the first
is of one run; the content root is the same for every run that measured the same. `roots.py` has the root over papers.
"""

from __future__ import annotations

from typing import Any

from robustft.files import digest_of, read_json, sha256_file, write_json
from robustft.report.content import content_root
from robustft.runtime.context import Context


def manifest(spec: dict[str, Any], context: Context) -> None:
    """Write the SHA-256 of each record, their root (the SHA-256 of these in canonical JSON) and the content root."""
    paper = spec["paper"]
    records = {path: sha256_file(path) for path in spec["records"]}
    root, content = digest_of(records), content_root({paper: read_json(context.inputs[f"numbers:{paper}"])})
    about = {"scale": spec["scale"], "paper": paper, "records": records, "root": root, "content_root": content}
    write_json(context.outputs["manifest"], about)
    context.log(f"{len(records)} records, root {root}, content root {content}")
