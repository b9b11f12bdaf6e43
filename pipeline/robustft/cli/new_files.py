"""New files of a project: all of them or none, and never over another file."""

from __future__ import annotations

from pathlib import Path

from robustft.errors import RobustftError
from robustft.files import PROJECT_FILE, write_text


def write_new(files: dict[Path, str]) -> None:
    """Write files. Raises RobustftError before the first one if one is there already, or its folder is a file."""
    for path in files:
        if path.exists():
            what = "there is a project here already" if path.name == PROJECT_FILE else "a file is in the way"
            raise RobustftError(what, where=path, next_step="choose another folder")
        if wrong := next((parent for parent in path.parents if parent.exists() and not parent.is_dir()), None):
            raise RobustftError("a file is where a folder should be", where=wrong, next_step="choose another folder")
    for path, text in files.items():
        write_text(path, text)
