from __future__ import annotations

from pathlib import Path

import pytest

from robustft.config.grids import expand_grids
from robustft.errors import ConfigError

SELECT = {"attack": "pgd10", "split": "validation"}


def paper(grid, select=SELECT):
    experiment = {"methods": ["trades"], "evaluations": ["robustness"], "grid": grid, "select": select}
    return {"experiments": {"search": experiment}}


def test_every_point_is_a_method_that_is_measured_on_validation_images_alone():
    values = paper({"recipe.lr": [0.1, 0.2], "parameters.beta": [1, 6]})
    expand_grids(values, Path("mine.yaml"))
    experiment = values["experiments"]["search"]
    assert experiment["methods"] == ["trades_g1", "trades_g2", "trades_g3", "trades_g4"]
    assert values["methods"]["trades_g2"] == {
        "extends": "trades",
        "recipe": {"lr": 0.1},
        "parameters": {"beta": 6},
        "title": "trades, lr 0.1, beta 6",
    }
    assert [one["split"] for one in experiment["evaluations"].values()] == ["validation"]


@pytest.mark.parametrize(
    ("grid", "select", "message"),
    [
        ({"recipe.lr": [0.1]}, {"attack": "pgd10", "split": "test"}, "on validation images"),
        ({"lr": [0.1]}, SELECT, "recipe.lr"),
        ({"recipe.lr": 0.1}, SELECT, "no list"),
        ({"recipe.lr": [0.1]}, None, "select"),
    ],
)
def test_a_fault_is_named(grid, select, message):
    with pytest.raises(ConfigError, match=message):
        expand_grids(paper(grid, select), Path("mine.yaml"))
