"""Metrics of training, and what a history says of the model that is kept."""

import pytest

from robustft.report.training_metrics import TRAINING_METRICS, kept_validation, read_history


@pytest.fixture
def history(tmp_path):
    path = tmp_path / "history.csv"
    path.write_text("epoch,robust_validation\n1,0.4\n2,\n3,0.6\n4,0.5\n")
    return read_history(path)


def test_the_kept_model_is_the_best_or_the_last_one_as_the_recipe_says(history):
    assert kept_validation(history, "best_validation") == 0.6
    assert kept_validation(history, "last") == 0.5


def test_without_validation_images_nothing_is_known_of_the_kept_model(history):
    assert kept_validation([{**row, "robust_validation": ""} for row in history], "last") is None
    assert kept_validation([{"epoch": "1"}], "best_validation") is None


def test_only_what_follows_from_the_method_alone_is_exact():
    assert [name for name, metric in TRAINING_METRICS.items() if metric.exact] == ["trained_parameters"]
