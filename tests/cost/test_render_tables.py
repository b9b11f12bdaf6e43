from __future__ import annotations

import pytest

from robustft.cost.render_tables import describe_tables
from tests.cost.small import ALONE, MACHINE


@pytest.fixture
def plan(planned):
    return planned(scale=ALONE).plan


def test_tables_are_listed_with_their_price(plan):
    text = describe_tables(plan, machine=MACHINE)
    assert text.startswith("scale small, each table alone, the cheapest first")
    assert all(step.id in text for step in plan.of_kind("table"))
    assert "of one core" in text
    assert "not comparable" not in text


def test_a_budget_names_what_fits_and_what_would_be_next(plan):
    assert "No table fits. The cheapest: toy/" in describe_tables(plan, budget_s=0.001, machine=MACHINE)
    text = describe_tables(plan, budget_s=1e9, machine=MACHINE)
    assert all(step.spec["table"]["title"] in text for step in plan.of_kind("table"))


def test_a_subset_says_what_its_claims_read(planned):
    text = describe_tables(planned(scale={**ALONE, "subset": {"images": 4}}).plan, machine=MACHINE)
    assert 'With at most 4 images an evaluation: every claim reads "not comparable: subset".' in text
    text = describe_tables(planned(scale={**ALONE, "seeds": 1}).plan, machine=MACHINE)
    assert "With 1 seed: every claim about a training is inconclusive." in text
