"""The source files that a step can import, from their import statements.

Snakemake does not see an edit in an imported module. So every rule has the hash of these files among its parameters,
and every record stores the hash of each. The planner (`plan`, `config`, `cost`, `cli`) is not among them: its whole
effect on a step is the step's specification, whose digest is tracked separately. So a new paper, method or table does
not run existing steps again.

A module from elsewhere, such as a method of a user, is followed in the same way, through this package and through
every other one. It ends at Python's own modules and at the distributions of the lock: their hashes were verified when
they were installed, and a record names their versions. This package itself imports no others; a test holds that.
"""

from __future__ import annotations

import ast
import contextlib
import functools
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import robustft
from robustft.errors import ConfigError
from robustft.files import PACKAGE, ROOT, digest_of, module_file, project_name, project_path, sha256_file

LOCK = "envs/run.txt"
"""The requirements file that names each package with its version and the hashes of its archives."""

ELSEWHERE = "elsewhere/"
"""Begins the name of a source file outside the project, which goes on as its module does."""


FIRST = frozenset({f"{PACKAGE.name}.source_only"})
"""What the package imports before all else."""


def module_of(implementation: str) -> str:
    """Return the module of `module:attribute`."""
    return implementation.split(":")[0]


def locked_versions(lock: Path) -> dict[str, set[str]]:
    """Return the versions that a hashed requirements file allows, by package name in small letters and hyphens."""
    versions: dict[str, set[str]] = {}
    for line in lock.read_text(encoding="utf-8").splitlines():
        if "==" in line and not line.startswith((" ", "#")):
            name, rest = line.split("==", 1)
            versions.setdefault(normalised(name.strip()), set()).add(rest.split()[0])
    return versions


def normalised(name: str) -> str:
    """Return a package's name in small letters and hyphens (PyPA, "Names and normalization")."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _top(module: str) -> str:
    return module.split(".")[0]


@functools.cache
def _file_of(module: str) -> Path | None:
    if _top(module) != PACKAGE.name:
        return module_file(module)
    base = PACKAGE.parent.joinpath(*module.split("."))  # asked for thousands of names: faster than Python's finder
    return next((path for path in (base.with_suffix(".py"), base / "__init__.py") if path.is_file()), None)


@functools.cache
def _verified(top: str) -> bool:
    """Tell whether a top-level module is Python's own, or of distributions that the lock names."""
    if top in sys.stdlib_module_names:
        return True
    distributions, locked = _distributions().get(top), locked_versions(project_path(LOCK))
    return bool(distributions) and all(normalised(name) in locked for name in distributions or ())


@functools.cache
def _distributions() -> dict[str, list[str]]:
    """Return the installed distributions of each top-level module. It takes a second, so only other code asks."""
    import importlib.metadata

    return dict(importlib.metadata.packages_distributions())


_BEGINNING = r"(?:from\b[ \t]*[\w.]+[ \t]+import|import)\b"
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
    """Return the modules to follow that `module` imports, anywhere in its text, and its parent packages."""
    path, top = _file_of(module), _top(module)
    if module == PACKAGE.name:  # it imports its public names lazily
        return FIRST
    if path is None or path.suffix != ".py":
        return frozenset()
    names = {name for node in ast.walk(_imports(path)) for name in _named(node, module, path)}
    if "." in module:
        names.add(module.rpartition(".")[0])
    if top == PACKAGE.name:
        return frozenset(name for name in names if _top(name) == top and _file_of(name))
    names |= {public for name in names for public in _public(name)}
    return frozenset(name for name in names if not _verified(_top(name)) and _file_of(name))


def _named(node: ast.AST, module: str, path: Path) -> Iterator[str]:
    """Yield what one import statement of a module may name, a module or not."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        package = module.split(".") if path.name == "__init__.py" else module.split(".")[:-1]
        base = package[: len(package) - node.level + 1] if node.level else []
        name = ".".join([*base, *([node.module] if node.module else [])])
        if name != PACKAGE.name:  # of this package's own file only the names are imported, not all public ones
            yield name
        yield from (f"{name}.{alias.name}" for alias in node.names)


def _public(name: str) -> list[str]:
    """Return the modules that a name of this package stands for: with `import robustft`, those of all public names."""
    package, _, attribute = name.partition(".")
    if package != PACKAGE.name:
        return []
    wanted = robustft.PUBLIC if attribute in ("", "*") else {attribute}
    return [PACKAGE.name, *(module for public, module in robustft.PUBLIC.items() if public in wanted)]


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
    """Return the names of the files of `closure(*modules)`, sorted: of the project's as `project_path` has them."""
    return sorted({_name(module, path) for module in closure(*modules) if (path := _file_of(module))})


def _name(module: str, path: Path) -> str:
    """Return the name of a module's file, which has no part of the place outside the project."""
    if path.is_relative_to(PACKAGE) or (path.is_relative_to(ROOT) and not _installed(path)):
        return project_name(path)
    ending = f"/{path.name}" if path.stem == "__init__" else path.suffix
    return ELSEWHERE + module.replace(".", "/") + ending


def _installed(path: Path) -> bool:
    """Tell whether a file is in a folder of installed packages, which may itself be in the project."""
    return "site-packages" in path.parts


@functools.cache
def source_path(name: str) -> str:
    """Return the path of a source file by its name."""
    if not name.startswith(ELSEWHERE):
        return str(project_path(name))
    parts = name.removeprefix(ELSEWHERE).split("/")
    module = parts[:-1] if parts[-1].startswith("__init__.") else [*parts[:-1], parts[-1].split(".")[0]]
    return str(_file_of(".".join(module)))


@functools.cache
def _hash(path: str, stamp: tuple[int, int]) -> str:  # the stamp is only there to tell states of the file apart
    return sha256_file(path)


def source_hashes(files: list[str]) -> dict[str, str]:
    """Return the SHA-256 of each source file (hashed once for each state of the file)."""
    hashes = {}
    for name in files:
        path = source_path(name)
        status = os.stat(path)  # noqa: PTH116 (faster than Path, for fifty files in each step)
        hashes[name] = _hash(path, (status.st_mtime_ns, status.st_size))
    return hashes


@functools.cache
def code_digest(files: tuple[str, ...]) -> str:
    """Return one hash over source files, as they were at the first call: a plan does not change while it is used."""
    return digest_of(source_hashes(list(files)))
