"""A paper's document: each part is closed, and a table or a claim is of one kind."""

import pytest

from robustft.config.papers import Difference, Ordering, Table, Value
from robustft.errors import ConfigError

CLAIM = {"id": "c", "statement": "S", "experiment": "main", "metric": "fgsm", "source": "S", "confidence": "direct"}
VALUE = {**CLAIM, "kind": "value", "method": "at", "value": 1.5}
NEW = {"title": "T", "experiment": "main", "caption": "C"}


@pytest.mark.parametrize("shown", [{"columns": ["clean"]}, {"across": "datasets", "metric": "clean"}])
def test_a_table_has_columns_or_is_across_data_sets(shown, document):
    assert isinstance(document("paper", {"tables": {"new": {**NEW, **shown}}}).typed.tables["new"], Table)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"tables": {"main": {"across": "datasets", "metric": "fgsm"}}},
            "tables.main: give 'columns', or .*, not both",
        ),
        ({"tables": {"new": NEW}}, "tables.new: give 'columns' or 'across' with 'metric'"),
        ({"tables": {"new": {**NEW, "across": "datasets"}}}, "tables.new: give 'columns' or"),
        ({"experiments": {"main": {"methods": ["at", "at"]}}}, "experiments.main: 'methods' has 'at' twice"),
        ({"experiments": {"main": {"overrides": {"at": {"tuning": {"rank": 1}}}}}}, "unknown key 'rank'"),
        ({"evaluations": {"robustness": {"split": "train"}}}, "'train' is not a valid value"),
        ({"claims": [{**VALUE, "kind": "valu"}]}, "claims.0.kind: 'valu' is not a valid value.*'value'"),
        ({"claims": [{**VALUE, "value": "absent"}]}, "claims.0.value: 'absent' is not a valid value.*missing"),
        ({"claims": [{**VALUE, "confidence": "drect"}]}, "did you mean 'direct'"),
        ({"claims": [{**CLAIM, "kind": "ordering", "left": "at"}]}, "claims.0: the key 'right' is missing"),
        ({"claims": [{**VALUE, "left": "at"}]}, "claims.0.left: unknown key 'left'"),
    ],
)
def test_what_contradicts_itself_or_is_not_known_is_refused(change, message, document):
    with pytest.raises(ConfigError, match=f"(?s){message}"):
        document("paper", change)


def test_a_claim_is_of_the_kind_that_it_names(document):
    sides = {"left": "at", "right": "partial"}
    claims = [
        {**CLAIM, "kind": "ordering", **sides},
        {**VALUE, "value": "missing"},
        {**CLAIM, "kind": "difference", **sides, "value": 3, "margin": 0.5},
    ]
    typed = document("paper", {"claims": claims}).typed
    assert [type(claim) for claim in typed.claims] == [Ordering, Value, Difference]
