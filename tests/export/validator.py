"""The public validator of RO-Crates, run as a program without a network.

It has every profile with it, but fetches the JSON-LD context of RO-Crate 1.1, so its cache is given one first: the
context of RO-Crate 1.3 that the library `rocrate` has with it, with the terms that 1.1 maps elsewhere as 1.1 has them.
"""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import requests
import rocrate
import urllib3
from requests.adapters import BaseAdapter, HTTPAdapter
from requests_cache import CachedSession

CONTEXT = "https://w3id.org/ro/crate/1.1/context"
AS_IN_1_1 = {
    "ComputationalWorkflow": "https://bioschemas.org/ComputationalWorkflow",
    "FormalParameter": "https://bioschemas.org/FormalParameter",
    "input": "https://bioschemas.org/ComputationalWorkflow#input",
    "output": "https://bioschemas.org/ComputationalWorkflow#output",
    "sha256": None,
}


class _Answer(BaseAdapter):
    """Answers every request with the context."""

    def __init__(self, body: bytes) -> None:
        super().__init__()
        self.body = body

    def send(self, request: requests.PreparedRequest, **_: Any) -> requests.Response:
        headers = {"Content-Type": "application/ld+json"}
        raw = urllib3.HTTPResponse(io.BytesIO(self.body), headers=headers, status=200, preload_content=False)
        return HTTPAdapter().build_response(request, raw)

    def close(self) -> None:
        pass


def warm_cache(path: Path) -> Path:
    """Put the context into a cache of the validator's kind."""
    packaged = json.loads((Path(rocrate.__file__).parent / "data" / "ro-crate.jsonld").read_text(encoding="utf-8"))
    terms = {**packaged["@context"], **AS_IN_1_1}
    body = json.dumps({"@context": {term: iri for term, iri in terms.items() if iri}}).encode()
    with CachedSession(cache_name=str(path), expire_after=-1, backend="sqlite", allowable_codes=(200,)) as session:
        session.mount("https://", _Answer(body))
        assert session.get(CONTEXT).status_code == 200
    return path


def validate(crate: Path, *, cache: Path, fail_fast: bool = False) -> dict[str, Any]:
    """Return the validator's report on a crate at the level of what is required."""
    report = cache.with_suffix(".report.json")
    report.unlink(missing_ok=True)
    program = Path(sys.executable).with_name("rocrate-validator")
    command = [str(program), "--disable-color", "validate", "--offline", "--cache-path", str(cache), "--no-paging"]
    command += ["--output-format", "json", "--output-file", str(report), *(["--fail-fast"] if fail_fast else [])]
    said = subprocess.run([*command, str(crate)], capture_output=True, text=True, timeout=600, check=False)
    assert report.is_file(), said.stdout + said.stderr
    return json.loads(report.read_text(encoding="utf-8"))
