"""Tests mirror the package: who changes a module finds its tests at once, and sees what is not tested."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from robustft.files import PACKAGE

TESTS = Path(__file__).parent

ELSEWHERE: dict[str, str] = {}
"""Modules without a test file of their own, and the reason. A new module goes here only if it has no behaviour."""

MODULES = [path.relative_to(PACKAGE).as_posix() for path in sorted(PACKAGE.rglob("*.py")) if path.name[0] != "_"]


def has_public_names(path: Path) -> bool:
    """Tell whether a module defines a function or class that other modules may use."""
    kinds = (ast.FunctionDef, ast.ClassDef)
    return any(isinstance(node, kinds) and node.name[0] != "_" for node in ast.parse(path.read_text()).body)


def mirrored(module: str) -> Path:
    """Return the test file of a module, from the folder of the tests."""
    path = Path(module)
    return path.with_name(f"test_{path.name}")


@pytest.mark.parametrize("module", MODULES)
def test_a_module_has_its_test_file_at_the_same_place(module):
    needed = has_public_names(PACKAGE / module) and module not in ELSEWHERE
    assert not needed or (TESTS / mirrored(module)).is_file(), (
        f"pipeline/robustft/{module} has no tests of its own: write tests/{mirrored(module)}, with what the docstrings "
        "of its public functions and classes promise, and move there what other files already test of it"
    )


def test_no_exception_outlives_its_reason():
    for module in ELSEWHERE:
        assert has_public_names(PACKAGE / module), f"{module} needs no exception"
        assert not (TESTS / mirrored(module)).exists(), f"{module} has a test file now: take it off the list"
