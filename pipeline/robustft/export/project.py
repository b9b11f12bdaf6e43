"""The project in an export: its files and its citation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from robustft.errors import RobustftError
from robustft.files import PACKAGE, ROOT, project_name

SINGLE = ("Snakefile", "dvc.yaml", "pyproject.toml", "CITATION.cff", "LICENSE")
FOLDERS = {
    "config": {".yaml", ".csv"},
    "envs": {".txt"},
    "pipeline": {".py", ".smk", ".rst", ".html", ".css", ".js"},
    "profiles": {".yaml"},
}
"""The files of each folder that are needed to run the workflow again, by suffix."""


def project_files() -> list[str]:
    """Return the names of the files that run the workflow (see `files.project_path`), in order."""
    folders = {PACKAGE: FOLDERS["pipeline"]} | {ROOT / name: suffixes for name, suffixes in FOLDERS.items()}
    names = {name for name in SINGLE if (ROOT / name).is_file()}
    for folder, suffixes in folders.items():  # in a wheel the package is not in pipeline/
        paths = (path for path in folder.rglob("*") if path.suffix in suffixes and path.is_file())
        names |= {project_name(path) for path in paths if "__pycache__" not in path.parts}
    return sorted(names)


def citation(root: Path = ROOT) -> dict[str, Any]:
    """Return the content of CITATION.cff. Raises RobustftError if it is missing."""
    path = root / "CITATION.cff"
    if not path.is_file():
        raise RobustftError("a file is missing", where=path, next_step="take it from the project's repository")
    return dict(yaml.safe_load(path.read_text(encoding="utf-8")))


def author_name(author: dict[str, str]) -> str:
    """Return a person's or a group's name from an author of CITATION.cff."""
    return author.get("name") or f"{author['given-names']} {author['family-names']}"
