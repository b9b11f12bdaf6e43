"""Commands for projects of one's own: `init` makes one, `snakefile` says where the workflow lies."""

from __future__ import annotations

import argparse
from pathlib import Path

from robustft.cli.common import place
from robustft.errors import RobustftError
from robustft.files import PROJECT_FILE, ROOT, write_text

SKELETON = Path(__file__).parent / "skeleton"

FILES = {
    "robustft.yaml": "robustft.yaml",
    "papers/mine.yaml": "mine.yaml",
    "methods.py": "methods.py.txt",
    "tests/test_methods.py": "test_methods.py.txt",
    "README.md": "README.md",
}
"""The files of a new project, and where the package has each."""

SETTINGS = {
    "pytest.ini": "[pytest]\npythonpath = .\n",
    ".gitignore": "/results/\n/logs/\n/scratch/\n.snakemake/\n__pycache__/\n",
}


def add_projects(add) -> None:  # type: ignore[no-untyped-def]
    """Add the subcommands to the parser."""
    init = add("init", "make a project of your own in a folder: papers, methods and data over ours", init_command,
               plans=False)  # fmt: skip
    init.add_argument("folder", type=place, help="it is made if it is not there")
    add("snakefile", "print the path of the workflow, for `snakemake -s`", snakefile_command, plans=False)


def snakefile_command(_: argparse.Namespace) -> int:
    """Print the path of the Snakefile."""
    print(ROOT / "Snakefile")
    return 0


def init_command(arguments: argparse.Namespace) -> int:
    """Make a project that runs as it is. No file is replaced."""
    folder = arguments.folder.expanduser()
    new = {folder / name: (SKELETON / source).read_text(encoding="utf-8") for name, source in FILES.items()}
    new |= {folder / name: text for name, text in SETTINGS.items()}
    write_new(new)
    print(f"a project in {folder}: read {folder / 'README.md'}, then")
    print(f"  robustft run --project {folder}")
    return 0


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
