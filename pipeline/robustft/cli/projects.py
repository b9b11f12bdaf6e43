"""Commands for projects of one's own: `init` and `finetune` make one, `snakefile` says where the workflow lies."""

from __future__ import annotations

import argparse
from pathlib import Path

from robustft.cli.common import place
from robustft.cli.finetune import add_finetune
from robustft.cli.new_files import write_new
from robustft.files import ROOT

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
    add_finetune(add)
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
