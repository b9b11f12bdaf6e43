"""The content of a scale: its numbers and nothing else, so that two runs that measured the same have one hash.

Times, hosts, paths and the hashes of ledgers are not among them: they differ between two correct runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from robustft.files import canonical_json, digest_of


def content(numbers: Mapping[str, Any]) -> dict[str, Any]:
    """Return the numbers of one paper's numbers.json: measurements, metrics of training and cells, each in order."""
    return {
        part: sorted(({k: v for k, v in one.items() if k != "ledgers"} for one in numbers[part]), key=canonical_json)
        for part in ("measurements", "trainings", "cells")
    }


def content_root(papers: Mapping[str, Mapping[str, Any]]) -> str:
    """Return one SHA-256 over the content of each paper's numbers.json, by the paper's name."""
    return digest_of({paper: digest_of(content(numbers)) for paper, numbers in papers.items()})
