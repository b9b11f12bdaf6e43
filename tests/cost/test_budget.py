"""Tables by price, and those that fit a budget: what several need is paid for once."""

from __future__ import annotations

import pytest

from robustft.cost.budget import table_prices, within
from tests.toy_config import paper


@pytest.fixture
def model(planned):
    shown = {"experiment": "main", "caption": "C", "columns": ["clean", "fgsm"]}
    tables = {"few": {**shown, "title": "Few", "rows": ["at"]}, "many": {**shown, "title": "Many"}}
    return planned(paper=paper(tables=tables), scale={"bundle": 0})


def test_the_cheapest_table_is_the_first_and_a_table_costs_what_it_needs(model):
    few, many, *_ = table_prices(model)
    assert few.name == "toy/few"
    assert few.seconds < many.seconds
    trained = sum(model.seconds(step) for step in few.steps if step.kind in ("train", "attack"))
    assert few.seconds == pytest.approx(trained)


def test_a_budget_takes_what_adds_least_until_nothing_fits(model):
    prices = {one.name: one for one in table_prices(model)}
    few, many = prices["toy/few"], prices["toy/many"]
    assert within(model, prices.values(), few.seconds / 2) == []
    (only,) = within(model, [few, many], many.seconds - 0.01)
    assert (only.table.name, only.added) == ("toy/few", pytest.approx(few.seconds))
    both = within(model, [few, many], many.seconds + few.seconds)
    assert [choice.table.name for choice in both] == ["toy/few", "toy/many"]
    shared = {step.key for step in few.steps} & {step.key for step in many.steps}
    assert shared
    assert sum(choice.added for choice in both) < few.seconds + many.seconds


def test_a_claim_counts_where_the_table_alone_can_judge_it(model):
    claims = {one.name: {claim["id"] for claim in one.claims} for one in table_prices(model)}
    spec = model.plan.step("verdicts", "toy").spec
    of_one = {
        c["id"] for c in spec["claims"] if c["kind"] == "value" and c["method"] == "at" and c["value"] != "missing"
    }
    assert claims["toy/few"] == {id for id in of_one if id in claims["toy/many"]}
    assert claims["toy/few"] <= claims["toy/many"]
