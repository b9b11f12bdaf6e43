"""A table or figure shows the cells of one evaluation and split for each metric."""

import pytest

from robustft.report.cells import across_datasets, cells_of

SHOWN = {"pgd": {"evaluation": "robustness", "split": "test"}}


def cell(attack="pgd", *, experiment="main", transfer_eval=False, evaluation="robustness", split="test") -> dict:
    key = {"experiment": experiment, "attack": attack, "transfer_eval": transfer_eval}
    return {**key, "evaluation": evaluation, "split": split, "mean": 0.5}


ENTRIES = {
    "own": cell(),
    "elsewhere": cell(transfer_eval=True),
    "validation": cell(split="validation"),
    "another evaluation": cell(evaluation="select"),
    "another experiment": cell(experiment="control"),
    "training": cell("epochs_to_best", evaluation=None, split=None),
}


@pytest.mark.parametrize(
    ("display", "metric", "name"),
    [
        ({}, "pgd", "own"),
        ({"across": "datasets"}, "pgd", "elsewhere"),
        ({}, "epochs_to_best", "training"),
        ({"across": "datasets"}, "epochs_to_best", "training"),
    ],
)
def test_a_display_has_the_cells_of_its_experiment_and_of_the_evaluation_that_it_shows(display, metric, name):
    assert across_datasets(display) == bool(display)
    found = cells_of({"experiment": "main", **display}, SHOWN, list(ENTRIES.values()), metric)
    assert found == [ENTRIES[name]]
