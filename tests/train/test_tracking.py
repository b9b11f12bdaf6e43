from __future__ import annotations

from pathlib import Path

import pytest

from robustft.errors import RobustftError
from robustft.runtime.context import Context
from robustft.train import tracking
from robustft.train.tracking import tracker_of

ROWS = [{"epoch": 1.0, "step": 3.0, "loss": 2.0}, {"epoch": 2.0, "step": 6.0, "loss": 1.0}]


def context(**settings) -> Context:
    output = Path("results/own/mine/main/shapes/at/seed0/history.csv")
    return Context(inputs={}, outputs={"history": output}, scratch=Path("scratch"), settings=settings)


def test_without_a_tracker_nothing_is_told(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tracker_of(context())(ROWS[0])
    assert list(tmp_path.iterdir()) == []


def test_a_tracker_that_is_not_installed_is_named(monkeypatch):
    monkeypatch.setitem(tracking.PACKAGES, "mlflow", "no_such_package")
    with pytest.raises(RobustftError, match="no_such_package"):
        tracker_of(context(tracking="mlflow"))


def test_tensorboard_reads_the_rows_back(tmp_path, monkeypatch):
    reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    monkeypatch.chdir(tmp_path)
    for row in ROWS:  # two processes, as of a run that was killed and resumed
        tracker_of(context(tracking="tensorboard"))(row)
    events = reader.EventAccumulator(str(next(tmp_path.rglob("seed0"))))
    events.Reload()
    assert [(one.step, one.value) for one in events.Scalars("loss")] == [(3, 2.0), (6, 1.0)]


def test_mlflow_reads_the_rows_back(tmp_path, monkeypatch):
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.chdir(tmp_path)
    for row in ROWS:
        tracker_of(context(tracking="mlflow"))(row)
    (run,) = mlflow.search_runs(experiment_names=["robustft"], output_format="list")
    history = mlflow.MlflowClient().get_metric_history(run.info.run_id, "loss")
    assert [(one.step, one.value) for one in history] == [(3, 2.0), (6, 1.0)]
