"""Under a table stand the deviations that touch its rows; all stand on a page of their own."""

from __future__ import annotations

import pytest

from robustft.errors import ConfigError
from tests import toy_config
from tests.plan.toy_plan import ALL
from tests.toy_config import method

TABLES = {
    "tables": {
        "main": {"title": "T", "experiment": "main", "columns": ["clean", "fgsm"], "caption": "C"},
        "partial": {"title": "T", "experiment": "main", "columns": ["clean"], "rows": ["partial"], "caption": "C"},
    }
}


def touched(planned, touches, **changes) -> list[str]:
    """Return the tables that a deviation touches, and check that the page says the same."""
    deviation = {"key": "d", "text": "why", **({"touches": touches} if touches is not None else {})}
    changes["paper"] = {**ALL, **TABLES, "deviations": [deviation], **changes.pop("paper", {})}
    plan = planned(**changes)
    found = [step.spec["table"]["name"] for step in plan.of_kind("table") if step.spec["deviations"]]
    elsewhere = [step.spec["table"]["name"] for step in plan.of_kind("table") if step.spec["deviations_elsewhere"]]
    assert sorted(found + elsewhere) == ["main", "partial"]
    (entry,) = plan.step("deviations", "toy").spec["deviations"]
    assert entry == {"key": "d", "text": "why", "tables": found}
    return found


@pytest.mark.parametrize(
    ("touches", "tables"),
    [
        (None, ["main", "partial"]),
        ("nothing", []),
        ({"methods": ["at"]}, ["main"]),
        ({"components": ["adversarial_training"]}, ["main"]),
        ({"components": ["adversarial_training.AdversarialTraining"]}, ["main"]),
        ({"components": ["standard.Standard"]}, ["main", "partial"]),
        ({"components": ["protocol.Partial"]}, ["main", "partial"]),
        ({"components": ["merging"]}, ["main"]),  # a derivation
        ({"columns": ["fgsm"]}, ["main"]),
        ({"experiments": ["main"]}, ["main", "partial"]),
        ({"datasets": ["high"]}, ["main", "partial"]),
        ({"datasets": ["spared"]}, []),
        ({"scales": ["small"]}, ["main", "partial"]),
        ({"scales": ["paper"]}, []),
        ({"methods": ["at"], "columns": ["fgsm"]}, ["main"]),
        ({"methods": ["at"], "scales": ["paper"]}, []),
        ({"methods": ["partial"], "components": ["adversarial_training"]}, []),  # of one row, not of two
    ],
)
def test_a_deviation_stands_under_the_tables_whose_rows_it_touches(touches, tables, planned):
    assert touched(planned, touches) == tables


def test_a_stand_in_is_not_touched_by_what_is_done_with_the_papers_own_data(planned):
    stand_ins = {"scale": {"stand_ins": {"datasets": {"low": "low", "spared": "high"}}}}
    changes = {**ALL, "experiments": {"main": {**ALL["experiments"]["main"], "datasets": ["spared"]}}}
    assert touched(planned, {"datasets": ["spared"]}, paper=changes, **stand_ins) == []


def test_a_row_is_touched_by_what_it_starts_from(planned):
    """What is done otherwise in a pre-training is under the tables of what is tuned from it."""
    pretraining = {"low_standard": toy_config.pretraining(method="at")}
    changes = {**ALL, "methods": {**ALL["methods"], "partial": method(toy_config.STANDARD)}}
    there = {"scale": {"pretraining": pretraining}}
    assert touched(planned, {"components": ["adversarial_training"]}, paper=changes, **there) == ["main", "partial"]


@pytest.mark.parametrize(
    ("touches", "message"),
    [
        ({"components": ["adversarial_trainin"]}, "unknown component .*'adversarial_trainin'"),
        ({"methods": ["ta"]}, "unknown method 'ta'"),
        ({"experiments": ["mian"]}, "unknown experiment 'mian'"),
        ({"columns": ["fgms"]}, "unknown metric 'fgms'"),
        ({"datasets": ["hihg"]}, "unknown data set 'hihg'"),
    ],
)
def test_a_misspelt_name_is_an_error_that_offers_the_right_one(touches, message, planned):
    with pytest.raises(ConfigError, match=message) as error:
        planned(paper={"deviations": [{"key": "d", "text": "why", "touches": touches}]})
    assert "did you mean" in str(error.value)


def test_a_paper_without_deviations_has_no_page(planned):
    assert planned().of_kind("deviations") == []
