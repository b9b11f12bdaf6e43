"""Every method that the configuration names has a concrete case, and every configured variant can be built."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from robustft.config.load import Config
from robustft.methods.protocol import Tuned, build_method
from robustft.runtime.components import locate

from .cases import MethodCase


def configured() -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield (name, entry) of every method in config/methods.yaml and in the papers' files."""
    config = Config(scale="smoke")
    for paper, document in {"methods": None, **config.papers}.items():
        for name, entry in (document.values["methods"] if document else config.baselines).items():
            yield f"{paper}/{name}", entry


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
    trained = {entry["implementation"] for _, entry in configured() if "implementation" in entry}
    assert trained
    assert uncovered(trained, concrete_cases()) == set()


def test_a_method_without_a_case_would_be_found():
    assert uncovered({"robustft.methods.none:None"}, concrete_cases()) == {"robustft.methods.none:None"}


def test_every_case_lies_in_a_file_that_pytest_collects():
    for case in concrete_cases():
        assert Path(inspect.getfile(case)).name.startswith("test_"), case


TRAINED = [pytest.param(*item, id=item[0]) for item in configured() if "implementation" in item[1]]
DERIVED = [pytest.param(entry["derivation"], id=name) for name, entry in configured() if "derivation" in entry]


@pytest.mark.parametrize(("name", "entry"), TRAINED)
def test_every_configured_variant_can_be_built(name, entry):
    method = build_method({"name": name, "parameters": {}, **entry})
    assert method.uses_auxiliary == entry.get("uses_auxiliary", False)  # the planner goes by what the entry says
    for part, built in (
        (entry, method.inner if isinstance(method, Tuned) else method),
        (entry.get("tuning", {}), getattr(method, "tuning", None)),
    ):
        for parameter, value in part.get("parameters", {}).items():
            assert getattr(built, parameter) == value


@pytest.mark.parametrize("derivation", DERIVED)
def test_every_configured_derivation_exists_and_takes_its_parameters(derivation):
    inspect.signature(locate(derivation["implementation"])).bind([], **derivation.get("parameters", {}))
