"""Ledgers whose hashes a forger made agree: what contradicts specification, data or checks is named."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from robustft.provenance.audit_ledgers import check_ledger, check_ledgers
from robustft.provenance.audit_state import AuditState
from robustft.provenance.record import Record

LEDGER = "results/small/toy/main/high/at/seed0/robustness.1of1.ledger.parquet"


def forge(table: pa.Table, path: str = LEDGER) -> None:
    pq.write_table(table, path)


def column(table: pa.Table, name: str, values: np.ndarray) -> pa.Table:
    number = table.schema.get_field_index(name)
    return table.set_column(number, table.schema.field(name), pa.array(values, table.schema.field(name).type))


def told(plan, path: str = LEDGER) -> list[str]:
    """What is found in a ledger that its record vouches for."""
    state = AuditState(plan)
    step = plan.producer(path)
    data = plan.producer(step.inputs["data"])
    state.records = {one.key: Record(one.record, "", {}) for one in (step, data)}
    check_ledger(state, step, {})
    return [f"{finding.code} {finding.text}" for finding in state.report.findings]


def test_an_honest_ledger_contradicts_nothing(finished):
    state = AuditState(finished)
    state.records = {step.key: Record(step.record, "", {}) for step in finished.steps.values()}
    check_ledgers(state)
    assert state.report.findings == []


def test_images_are_those_of_the_split(copied):
    table = pq.read_table(LEDGER)
    images = table["image"].to_numpy().copy()
    images[:2] = images[1::-1]
    forge(column(table, "image", images))
    (found,) = told(copied)
    assert found == "wrong-ledger clean: its images are not images 0 to 20 of high/test"


def test_labels_are_those_of_the_data(copied):
    table = pq.read_table(LEDGER)
    labels = table["label"].to_numpy().copy()
    labels[0] = (labels[0] + 1) % 3
    correct = table["prediction"].to_numpy() == labels
    forge(column(column(table, "label", labels), "correct", correct))
    (found,) = told(copied)
    assert "the data say" in found
    assert "(1 such images)" in found


def test_a_ledger_has_the_rows_of_its_specification(copied):
    forge(pq.read_table(LEDGER).slice(0, 19))
    (found,) = told(copied)
    assert found.startswith("wrong-ledger it has 19 rows, and 20 images under")


@pytest.mark.parametrize(("distance", "text"), [(0.9, "beyond eps 0.2"), (np.nan, "are no numbers"), (-1, "is -1")])
def test_a_distance_beyond_eps_that_no_check_told_of_is_named(distance, text, copied):
    table = pq.read_table(LEDGER)
    distances = table["distance"].to_numpy().copy()
    distances[-1] = distance
    forge(column(table, "distance", distances))
    (found,) = told(copied)
    assert text in found


def test_checks_that_were_taken_out_are_missing(copied):
    """A ledger without its sanity checks had no dagger in any table."""
    forge(pq.read_table(LEDGER).replace_schema_metadata({b"robustft": b"{}"}))
    (found,) = told(copied)
    assert found.startswith("missing-check sanity checks that every ledger has: modules_in_training_mode (model)")


@pytest.mark.parametrize(
    "metadata", [b"[]", b"[" * 100_000, b'{"model": {"zero_gradients": "x"}}', b'{"model": [1]}', b"\xff"]
)
def test_metadata_of_another_kind_is_a_finding(metadata, copied):
    forge(pq.read_table(LEDGER).replace_schema_metadata({b"robustft": metadata}))
    state = AuditState(copied)
    state.records = {step.key: Record(step.record, "", {}) for step in copied.steps.values()}
    check_ledgers(state)
    assert [finding.subject for finding in state.report.findings] == [LEDGER]


def test_a_ledger_that_claims_millions_of_rows_is_not_read(copied, monkeypatch):
    monkeypatch.setattr("robustft.provenance.audit_ledgers.count_rows", lambda path: 300_000_000)
    monkeypatch.setattr("robustft.provenance.audit_ledgers.read_ledger", lambda path: 1 / 0)
    (found,) = told(copied)
    assert "it has 300000000 rows" in found
