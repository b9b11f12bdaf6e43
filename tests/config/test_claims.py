"""Published tables: every cell is a number, missing or absent, and every name has a translation or a reason."""

import msgspec
import pytest

from robustft.config.claims import DatasetTarget, MethodTarget, MetricTarget, PublishedTable, Statement

TABLE = {"about": "A", "source": "S", "confidence": "direct"}
COLUMNS = {"columns": ["One"]}
STATEMENT = {"id": "q", "claim": "C", "source": "S", "confidence": "direct"}


@pytest.mark.parametrize("row", [[1.5], ["missing"], [None], "missing"])
def test_a_cell_is_a_number_or_missing_or_absent(row):
    table = msgspec.convert({**TABLE, **COLUMNS, "rows": {"clean": {"A": row}}}, PublishedTable)
    assert table.rows["clean"]["A"] == row


@pytest.mark.parametrize(
    ("kind", "values", "message"),
    [
        (PublishedTable, {**TABLE, **COLUMNS, "rows": {"clean": {"A": ["absent"]}}}, "absent"),
        (PublishedTable, TABLE, "give 'columns' with 'rows', or 'unread'"),
        (PublishedTable, {**TABLE, **COLUMNS}, "give 'columns' with 'rows', or 'unread'"),
        (PublishedTable, {**TABLE, **COLUMNS, "rows": {}, "unread": "why"}, "give 'columns' with 'rows', or 'unread'"),
        (MethodTarget, {"experiment": "main"}, "give 'method' or 'outside'"),
        (DatasetTarget, {"images": 9}, "give 'dataset' or 'average_of' or 'outside'"),
        (MetricTarget, {"evaluations": ["robustness"]}, "give 'metric' or 'outside'"),
        (Statement, STATEMENT, "give 'judged_by' or 'outside'"),
        (Statement, {**STATEMENT, "judged_by": ["c"], "outside": "theory"}, "give 'judged_by' or 'outside'"),
    ],
)
def test_what_has_neither_value_nor_reason_is_refused(kind, values, message):
    with pytest.raises(msgspec.ValidationError, match=message):
        msgspec.convert(values, kind)
