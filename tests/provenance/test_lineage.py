"""What stands behind a cell is that cell's own: no other experiment's claim, no other evaluation's measurement."""

from __future__ import annotations

import pytest

from robustft.plan import Plan
from robustft.provenance.lineage import Lineage
from tests import toy_config

ORDERING = {
    "id": "order",
    "statement": "AT is more robust",
    "kind": "ordering",
    "experiment": "main",
    "left": "at",
    "right": "partial",
    "metric": "fgsm",
    "source": "S",
    "confidence": "direct",
}
VALUE = {
    "id": "value",
    "statement": "AT keeps some",
    "kind": "value",
    "experiment": "main",
    "dataset": "high",
    "method": "at",
    "metric": "fgsm",
    "value": "missing",
    "decimals": 1,
    "margin": 1,
    "source": "S",
    "confidence": "missing",
}
CELL = {
    "experiment": "main",
    "trained_on": "high",
    "evaluation": "robustness",
    "split": "test",
    "dataset": "high",
    "transfer_eval": False,
    "method": "at",
    "attack": "fgsm",
}


@pytest.fixture
def lineage(tmp_path) -> Lineage:
    return Lineage(Plan(toy_config.write(tmp_path / "config", paper={"claims": [ORDERING, VALUE]})))


JUDGED = {"verdicts": [{"id": "order", "verdict": "holds"}]}


def test_a_claim_without_a_verdict_of_its_own_gets_the_one_that_it_has_by_rule(lineage):
    found = {claim["id"]: claim["verdict"] for claim in lineage.claims("toy", CELL, JUDGED)}
    assert found == {"order": "holds", "value": "no published value on record"}


@pytest.mark.parametrize(
    ("change", "left"),
    [
        ({"method": "partial"}, ["order"]),
        ({"dataset": "low"}, ["order"]),
        ({"experiment": "other"}, []),
        ({"attack": "clean"}, []),
        ({"evaluation": "transfer", "transfer_eval": True}, []),
        ({"method": "control"}, []),
    ],
)
def test_a_claim_stands_under_its_own_cells_alone(change, left, lineage):
    assert [claim["id"] for claim in lineage.claims("toy", {**CELL, **change}, JUDGED)] == left


def test_a_measurement_elsewhere_is_not_told_under_the_cell_of_the_runs_own_data(lineage):
    """One attack on one data set, in an evaluation of the run's own data and in one of others: two cells."""
    own, other = ({**CELL, "seed": 0, "transfer_eval": transfer_eval} for transfer_eval in (False, True))
    numbers = {"measurements": [own, other]}
    assert lineage.measurements(numbers, CELL) == [own]
    assert lineage.measurements(numbers, {**CELL, "transfer_eval": True}) == [other]


def test_a_measurement_of_validation_images_is_not_told_under_the_cell_of_test_images(lineage):
    other = {**CELL, "seed": 0, "evaluation": "select", "split": "validation"}
    assert lineage.measurements({"measurements": [other, {**CELL, "seed": 0}]}, CELL) == [{**CELL, "seed": 0}]


def test_everything_behind_a_step_is_found_once(lineage):
    step = lineage.plan.step("attack", "toy/main/high/at/seed0/robustness.1of1")
    found = [one.key for one in lineage.closure([step])]
    assert len(found) == len(set(found))
    assert set(found) == {
        step.key,
        "train:toy/main/high/at/seed0",
        "train:pretraining/low_standard",
        "data:digits",
    }
