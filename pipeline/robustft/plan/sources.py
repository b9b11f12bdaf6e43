"""The source files that a step can import, from their import statements.

Snakemake does not see an edit in an imported module. So every rule has the hash of these files among its parameters,
and every record stores the hash of each. The planner (`plan`, `config`, `cost`, `cli`) is not among them: its whole
effect on a step is the step's specification, whose digest is tracked separately. So a new paper, method or table does
not run existing steps again.
"""

from __future__ import annotations

import ast
import contextlib
import functools
import os
import re
from pathlib import Path

from robustft.errors import ConfigError
from robustft.files import PACKAGE, ROOT, digest_of, project_name, project_path, sha256_file


def module_of(implementation: str) -> str:
    """Return the module of `module:attribute`."""
    return implementation.split(":")[0]


@functools.cache
def _file_of(module: str) -> Path | None:
    parent = PACKAGE.parent if module.split(".")[0] == PACKAGE.name else ROOT
    base = parent.joinpath(*module.split("."))
    for candidate in (base.with_suffix(".py"), base / "__init__.py"):
        if candidate.is_file():
            return candidate
    return None


_BEGINNING = r"(?:from[ \t]+[\w.]+[ \t]+import|import)\b"
_STATEMENT = re.compile(rf"^[ \t]*({_BEGINNING}(?:[^\n(]*\([^)]*\)|[^\n]*))", re.MULTILINE)
_AMONG_OTHERS = re.compile(rf"[;:][ \t]*{_BEGINNING}")


def _imports(path: Path) -> ast.Module:
    """Return a syntax tree with at least the import statements of a file.

    If every import statement begins its line, it is the tree of these statements alone; a line of a text that looks
    like an import counts too. Otherwise it is the tree of the whole file, which takes several times as long.
    """
    text = path.read_text(encoding="utf-8")
    if not _AMONG_OTHERS.search(text):
        with contextlib.suppress(SyntaxError):
            return ast.parse("\n".join(_STATEMENT.findall(text)))
    return ast.parse(text, filename=str(path))


@functools.cache
def _direct(module: str) -> frozenset[str]:
    """Return the modules of this package that `module` imports, anywhere in its text, and its parent packages."""
    path = _file_of(module)
    if path is None or module == PACKAGE.name:  # the package imports its public names lazily
        return frozenset()
    top = module.split(".")[0]
    names = {module.rsplit(".", 1)[0]} if "." in module else set()
    for node in ast.walk(_imports(path)):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names.add(node.module)
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return frozenset(name for name in names if name.split(".")[0] == top and _file_of(name))


def closure(*modules: str) -> list[str]:
    """Return the modules that importing `modules` can bring in, themselves included, sorted."""
    seen: set[str] = set()
    queue = list(modules)
    while queue:
        module = queue.pop()
        if module in seen:
            continue
        if _file_of(module) is None:
            raise ConfigError(f"there is no module '{module}'", where=ROOT)
        seen.add(module)
        queue.extend(_direct(module))
    return sorted(seen)


@functools.cache
def source_files(*modules: str) -> list[str]:
    """Return the names of the files of `closure(*modules)` (see `project_path`), sorted."""
    return sorted(project_name(_file_of(module)) for module in closure(*modules))  # type: ignore[arg-type]


@functools.cache
def _path(name: str) -> str:
    return str(project_path(name))


@functools.cache
def _hash(path: str, stamp: tuple[int, int]) -> str:  # the stamp is only there to tell states of the file apart
    return sha256_file(path)


def source_hashes(files: list[str]) -> dict[str, str]:
    """Return the SHA-256 of each source file (hashed once for each state of the file)."""
    hashes = {}
    for name in files:
        path = _path(name)
        status = os.stat(path)  # noqa: PTH116 (faster than Path, for fifty files in each step)
        hashes[name] = _hash(path, (status.st_mtime_ns, status.st_size))
    return hashes


@functools.cache
def code_digest(files: tuple[str, ...]) -> str:
    """Return one hash over source files, as they were at the first call: a plan does not change while it is used."""
    return digest_of(source_hashes(list(files)))
