"""Every method that the configuration names has a concrete case, and every configured variant can be built."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.files import ROOT
from pipeline.methods.protocol import build_method

from .cases import MethodCase

CONFIG = [ROOT / "config" / "methods.yaml", *sorted((ROOT / "config" / "papers").glob("*.yaml"))]


def configured() -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield (name, entry) of every method in config/methods.yaml and in the papers' files."""
    for path in CONFIG:
        for name, entry in (yaml.safe_load(path.read_text(encoding="utf-8")).get("methods") or {}).items():
            yield f"{path.stem}/{name}", entry


def concrete_cases() -> list[type[MethodCase]]:
    """Return the cases that pytest collects from this folder, after importing all of its test files."""
    for path in sorted(Path(__file__).parent.glob("test_*.py")):
        importlib.import_module(f"{__package__}.{path.stem}")
    found, queue = [], [MethodCase]
    while queue:
        case = queue.pop()
        queue.extend(case.__subclasses__())
        if not inspect.isabstract(case) and case.__name__.startswith("Test"):
            found.append(case)
    return found


def uncovered(implementations: set[str], cases: list[type[MethodCase]]) -> set[str]:
    return implementations - {f"{type(case.method).__module__}:{type(case.method).__qualname__}" for case in cases}


def test_every_configured_method_class_has_a_case():
    named = {entry["implementation"] for _, entry in configured()}
    assert len(named) >= 6  # four baselines and the two objectives of TWINS; none would make this test empty
    assert uncovered(named, concrete_cases()) == set()


def test_a_method_without_a_case_would_be_found():
    assert uncovered({"pipeline.methods.none:None"}, concrete_cases()) == {"pipeline.methods.none:None"}


def test_every_case_lies_in_a_file_that_pytest_collects():
    for case in concrete_cases():
        assert Path(inspect.getfile(case)).name.startswith("test_"), case


@pytest.mark.parametrize(("name", "entry"), [pytest.param(*item, id=item[0]) for item in configured()])
def test_every_configured_variant_can_be_built(name, entry):
    method = build_method({"name": name, "parameters": {}, **entry})
    for parameter, value in entry.get("parameters", {}).items():
        assert getattr(method, parameter) == value
