"""The steps that a table needs."""

from __future__ import annotations

import pytest

from robustft.cost import costs
from robustft.cost.selection import steps_for_table
from robustft.errors import RobustftError
from tests.cost.small import ALONE
from tests.toy_config import paper

TABLES = {
    "tables": {
        "small": {"title": "T", "experiment": "main", "rows": ["at"], "columns": ["fgsm"], "caption": "C"},
        "hard": {"title": "T", "experiment": "main", "rows": ["at"], "columns": ["pgd2"], "caption": "C"},
    },
    "evaluations": {"more": {"attacks": ["pgd2"], "split": "test", "shard_images": 10, "parts": 2}},
}


def test_a_table_needs_its_rows_columns_and_what_they_start_from(planned):
    model = planned(paper=paper(**TABLES, experiment={"evaluations": ["robustness", "more"]}), scale=ALONE)
    data = ["data:digits", "train:pretraining/low_standard"]
    runs = [f"train:toy/main/high/at/seed{seed}" for seed in (0, 1)]
    small = [f"attack:toy/main/high/at/seed{seed}/robustness.1of1" for seed in (0, 1)]
    hard = [f"attack:toy/main/high/at/seed{seed}/more.{n}of2" for seed in (0, 1) for n in (1, 2)]
    assert {step.key for step in steps_for_table(model.plan, "toy/small")} == {*data, *runs, *small}
    assert {step.key for step in steps_for_table(model.plan, "toy/hard")} == {*data, *runs, *hard}
    found = costs(model, table="toy/small")
    assert found.whole.runs == 2
    assert found.alone["toy"].steps == found.whole.steps


def test_an_unknown_table_is_an_error_that_names_the_nearest(model):
    with pytest.raises(RobustftError, match="toy/mian") as error:
        steps_for_table(model.plan, "toy/mian")
    assert "toy/main" in str(error.value)
