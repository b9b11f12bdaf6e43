"""No number on record of a paper is lost: it is a published value of the configuration, or of a kind that is none."""

import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from robustft.config.load import Config
from robustft.files import ROOT
from robustft.report.claims import MISSING, cells

RECORD = ROOT.parent / "shared" / "papers"
"""The record of each paper: PAPER.yaml, and found/PAPER.yaml with what was read later. It is beside the checkout."""

PAPERS = sorted(path.parent.name for path in (ROOT / "config" / "papers").glob("*/claims.yaml"))

NO_RESULTS = {
    r"arxiv|completeness|coverage|tables\.\w+\.decimals": "says what was read, and how it is printed",
    r"peer_facts\.forward_passes": "says how a model is evaluated",
    r"settings_from_code|recipe_from_code|hyperparameters_official_code|baseline_code_settings": "a recipe, which the "
    "experiments hold with its basis",
    r"tables\.\w+\.(settings|eval_settings_of_that_repo)": "a protocol, which the table's settings or source say",
    r"tables\.\w+\.digitizing_uncertainty": "a tolerance, which `read_off` or the table's source says",
    r"tables\.\w+\.x": "the columns of a plot",
    r"tables\.figure1_epochs\.circle_area_pixels": "areas of marks, whose epochs are printed in a table",
    r"datasets": "sizes of data sets, which config/datasets.yaml holds with their hashes",
    r"derived(_counts)?\b": "counts worked out by whoever wrote the record, printed nowhere",
}
"""Numbers that are no result, by where they stand, and why."""

REPEATED = {
    r"derived_checks|peer_facts": "equal to a value that is judged",
    r"tables\.autolora_table2_confirmation\.cells": "cells of a table on record, as reviews repeat them",
    r"peer_results\.robustbench_mo2022": "on record in the first file too",
}
"""Results that repeat others; each must be a published value of the paper all the same."""

FRACTIONS = ("radar_ours_vs_baseline", "heuillet_robust_resnet50")
"""Tables with fractions, which the configuration has in percent."""

ELSEWHERE = {"own_paper_secondary": "notes_of_unknown_origin"}
"""The part of a record that has no name of a table."""


def load(path) -> dict[str, Any]:
    if not path.is_file():
        pytest.skip(f"the record is not beside this checkout ({path})")
    return yaml.load(path.read_text(encoding="utf-8"), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))


def numbers(tree: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, float]]:
    """Yield every number of a record, also one in quotes or before a remark, with the keys that lead to it."""
    if isinstance(tree, dict):
        for key, value in tree.items():
            yield from numbers(value, (*path, str(key)))
    elif isinstance(tree, list):
        for value in tree:
            name = value.get("id") if isinstance(value, dict) else None
            yield from numbers(value, (*path, name) if name else path)
    elif isinstance(tree, int | float) and not isinstance(tree, bool):
        yield ".".join(path), float(tree)
    elif isinstance(tree, str) and (found := re.match(r"(-?\d+(\.\d+)?)( \(|$)", tree)):
        yield ".".join(path), float(found[1])


def listed(where: str, patterns: dict[str, str]) -> bool:
    return any(re.match(pattern, where) for pattern in patterns)


def in_percent(where: str, value: float) -> float:
    return round(100 * value, 6) if any(table in where for table in FRACTIONS) else value


def values(config: Config, paper: str) -> dict[str, Counter[float]]:
    """Return the published values of a paper by table; those of its own claims under "claims"."""
    by_table: dict[str, Counter[float]] = {"claims": Counter()}
    for cell in cells(config.claims[paper]):
        if cell.value != MISSING:
            by_table.setdefault(cell.table, Counter())[float(cell.value)] += 1
    for claim in config.papers[paper].values["claims"]:
        if claim.get("value", MISSING) != MISSING:
            by_table["claims"][float(claim["value"])] += 1
    return by_table


@pytest.fixture(scope="module")
def config() -> Config:
    return Config(scale="smoke")


@pytest.mark.parametrize("paper", PAPERS)
def test_every_table_found_has_its_values_in_the_configuration(paper, config):
    """Each value as often as the table has it: the table of that name, and tables that continue the name."""
    expected: dict[str, Counter[float]] = {}
    for where, value in numbers(load(RECORD / "found" / f"{paper}.yaml")):
        if listed(where, NO_RESULTS) or listed(where, REPEATED):
            continue
        table = where.split(".")[1] if where.startswith(("tables.", "peer_results.")) else where.split(".")[0]
        expected.setdefault(ELSEWHERE.get(table, table).lower(), Counter())[in_percent(where, value)] += 1
    observed: dict[str, Counter[float]] = {}
    for name, found in values(config, paper).items():
        table = max((table for table in expected if name.startswith(table)), key=len, default=name)
        observed[table] = observed.get(table, Counter()) + found
    for table, wanted in expected.items():
        there = observed.get(table, Counter())
        assert _once(there, paper, table) == _once(wanted, paper, table), f"{paper}: {table}"


def _once(found: Counter[float], paper: str, table: str) -> Counter[float] | set[float]:
    """The main table of Adv-SS prints its two rows without pre-training three times."""
    return set(found) if (paper, table) == ("adv_ss_pretraining", "main_p_by_f") else found


@pytest.mark.parametrize("paper", PAPERS)
@pytest.mark.parametrize("folder", [".", "found"])
def test_every_number_on_record_is_a_published_value_or_of_a_kind_that_is_none(paper, folder, config):
    known = {value for found in values(config, paper).values() for value in found}
    for where, value in numbers(load(RECORD / folder / f"{paper}.yaml")):
        assert listed(where, NO_RESULTS) or in_percent(where, value) in known or _counted(paper, where), where


def _counted(paper: str, where: str) -> bool:
    """ADAPT's share of 1 % is a claim about a count."""
    return paper == "adapt" and where == "tables.abstract.cells.value"


@pytest.mark.parametrize("paper", PAPERS)
def test_no_value_of_a_published_table_is_from_memory(paper, config):
    on_record = {
        in_percent(where, value)
        for folder in (".", "found")
        for where, value in numbers(load(RECORD / folder / f"{paper}.yaml"))
    }
    for cell in cells(config.claims[paper]):
        assert cell.value == MISSING or float(cell.value) in on_record, cell


def test_every_exception_is_of_use():
    places = [
        where
        for paper in PAPERS
        for folder in (".", "found")
        for where, _ in numbers(load(RECORD / folder / f"{paper}.yaml"))
    ]
    for pattern in (*NO_RESULTS, *REPEATED):
        assert any(re.match(pattern, where) for where in places), pattern
