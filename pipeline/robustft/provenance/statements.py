"""Statements beside the results: what somebody says of a root, in a file that can be signed.

Each is an in-toto statement (https://in-toto.io/Statement/v1). Its subjects are the records of the papers' manifests,
by SHA-256, so it is about these results and no others. Two predicates are ours: what was run (`robustft sign`), and
what a verifier has run again (`robustft recheck`). Signatures lie beside a statement: `NAME.json.KEY.sig`.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from robustft.errors import IntegrityError, RobustftError
from robustft.files import read_json, write_bytes, write_json
from robustft.plan import RESULTS
from robustft.provenance import ssh
from robustft.provenance.roots import root_over

TYPE = "https://in-toto.io/Statement/v1"
RUN = "urn:robustft:run:1"
"""The predicate of what was run: scale, papers, roots, commits, images, times."""
RECHECK = "urn:robustft:recheck:1"
"""The predicate of what was run again: draws, outcomes, machine."""

FOLDERS = {RUN: "signatures", RECHECK: "rechecks"}
"""Where statements of a kind lie in the results of a scale."""

_RECORD = re.compile(r"results/([a-z0-9_]+)/([a-z0-9_]+)/manifest\.record\.json")


@dataclass(frozen=True)
class Statement:
    """A statement as read from its file."""

    path: Path
    data: bytes
    kind: str
    scale: str
    manifests: dict[str, str]
    """The SHA-256 of the manifest record of each paper that it is about."""
    predicate: dict[str, Any]

    @property
    def root(self) -> str:
        """The root that it is about."""
        return root_over(self.manifests)

    @property
    def signatures(self) -> list[Path]:
        """The signatures that lie beside it."""
        return sorted(self.path.parent.glob(f"{self.path.name}*.sig"))

    def changed(self, manifests: Mapping[str, str]) -> list[str]:
        """Return the papers that are no longer as stated, given the manifest records of now."""
        return [paper for paper, sha256 in self.manifests.items() if manifests.get(paper) != sha256]


def make_statement(kind: str, scale: str, manifests: Mapping[str, str], predicate: Mapping[str, Any]) -> dict[str, Any]:
    """Return a statement about the papers whose manifest records have these hashes."""
    subjects = [
        {"name": f"{RESULTS}/{scale}/{paper}/manifest.record.json", "digest": {"sha256": sha256}}
        for paper, sha256 in sorted(manifests.items())
    ]
    about = {"scale": scale, "papers": sorted(manifests), "root": root_over(manifests)}
    return {"_type": TYPE, "subject": subjects, "predicateType": kind, "predicate": {**about, **predicate}}


def read_statement(path: Path) -> Statement:
    """Read a statement. Raises IntegrityError for a file that is none, or whose root is not that of its subjects."""
    values = read_json(path)
    try:
        subjects = [(_RECORD.fullmatch(one["name"]), one["digest"]["sha256"]) for one in values["subject"]]
        named = [(match, sha256) for match, sha256 in subjects if match and isinstance(sha256, str)]
        scale, predicate = values["predicate"]["scale"], values["predicate"]
        right = (
            (values["_type"], values["predicateType"] in FOLDERS) == (TYPE, True)
            and len(named) == len(subjects) > 0
            and {match[1] for match, _ in named} == {scale}
        )
    except (KeyError, TypeError, AttributeError):
        right = False
    if not right:
        raise IntegrityError(
            "the file is no statement of robustft", where=path, expected=f"{TYPE} of predicate {RUN} or {RECHECK}"
        )
    manifests = {match[2]: sha256 for match, sha256 in named}
    statement = Statement(path, path.read_bytes(), values["predicateType"], scale, manifests, predicate)
    if predicate.get("root") != statement.root:
        raise IntegrityError(
            "the root in a statement is not that of its subjects",
            where=path,
            expected=statement.root,
            observed=predicate.get("root"),
        )
    return statement


def beside(folder: Path) -> tuple[list[Statement], list[str]]:
    """Return the statements beside the results in a folder such as `results/demo`, and what is wrong with others."""
    found, problems = [], []
    for path in sorted(path for name in FOLDERS.values() for path in (folder / name).glob("*.json")):
        try:
            found.append(read_statement(path))
        except RobustftError as error:
            problems.append(f"{path}: {str(error).splitlines()[0]}")
    return found, problems


def files_beside(folder: Path) -> list[Path]:
    """Return the files of all statements beside the results in a folder, with their signatures."""
    return [path for one in beside(folder)[0] for path in (one.path, *one.signatures)]


def run_statement(
    scale: str, manifests: Mapping[str, str], records: Iterable[Mapping[str, Any]], **more: Any
) -> dict[str, Any]:
    """Return the statement of what was run, from the values of all records behind a root.

    The same records give the same statement.
    """
    records = list(records)
    environments, circumstances = ([record[part] for record in records] for part in ("environment", "circumstances"))
    images = {str(one["image"]): one["image"] for one in environments if one["image"]}
    predicate = {
        "steps": len(environments),
        "commits": sorted({str(one["git"]["commit"]) for one in environments}),
        "clean": all(one["git"]["clean"] is True for one in environments),
        "locks": sorted({str(one["lock"]["sha256"]) for one in environments}),
        "images": [images[name] for name in sorted(images)],
        "outside_images": sum(one["image"] is None for one in environments),
        "started": min(str(one["started"]) for one in circumstances),
        "ended": max(str(one["ended"]) for one in circumstances),
        **more,
    }
    return make_statement(RUN, scale, manifests, predicate)


def place(statement: Mapping[str, Any], folder: Path) -> Path:
    """Write a statement among the results in a folder such as `results/demo`, and return its path."""
    kind, root = statement["predicateType"], statement["predicate"]["root"]
    path = folder / FOLDERS[kind] / f"{root[:16]}.json"
    write_json(path, statement)
    return path


def sign(statement: Path, key: Path) -> tuple[Path, ssh.Key]:
    """Sign a statement, and return the path of the signature beside it, and the key."""
    data = read_statement(statement).data
    signature = ssh.sign(data, key)
    part = statement.with_name(f"{statement.name}.new.sig")
    write_bytes(part, signature)
    made = ssh.signing_key(data, part)
    named = hashlib.sha256(made.fingerprint.encode()).hexdigest()[:12]
    return part.rename(statement.with_name(f"{statement.name}.{named}.sig")), made
