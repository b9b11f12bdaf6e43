"""A run is told live to TensorBoard or MLflow, for people who watch it there. Both packages are optional.

What is told is the row of each epoch in history.csv: losses, accuracies and the learning rate. It changes no result.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

from robustft.errors import RobustftError
from robustft.runtime.context import Context

Tracker = Callable[[dict[str, float]], None]
"""Is given the row of each epoch."""

PACKAGES = {"tensorboard": "tensorboard", "mlflow": "mlflow"}
FOLDER = Path("logs") / "tracking"


def tracker_of(context: Context) -> Tracker:
    """Return what tells the run of a step to the tracker of its settings, if they name one.

    Raises RobustftError if the tracker's package is not installed.
    """
    name = context.settings.get("tracking")
    if name is None:
        return lambda row: None
    if importlib.util.find_spec(PACKAGES[name]) is None:
        raise RobustftError(
            f"the package '{PACKAGES[name]}' is not installed, and the project says `tracking: {name}`",
            next_step=f"pip install {PACKAGES[name]}, or take the line out of robustft.yaml",
        )
    run = context.outputs["history"].parent.as_posix()
    return _tensorboard(run) if name == "tensorboard" else _mlflow(run)


def _tensorboard(run: str) -> Tracker:
    from torch.utils.tensorboard import SummaryWriter

    def tell(row: dict[str, float]) -> None:
        # Opened for each row: a killed job leaves whole files, and a resumed one goes on in the same folder.
        with SummaryWriter(str(FOLDER / "tensorboard" / run)) as writer:
            for key, value in row.items():
                writer.add_scalar(key, value, global_step=int(row["step"]))

    return tell


def _mlflow(run: str) -> Tracker:
    mlflow: Any = importlib.import_module("mlflow")  # optional, so no source of a step
    mlflow.set_tracking_uri(f"sqlite:///{(FOLDER / 'mlflow.db').absolute()}")
    FOLDER.mkdir(parents=True, exist_ok=True)
    mlflow.set_experiment("robustft")
    found = mlflow.search_runs(filter_string=f"attributes.run_name = '{run}'", output_format="list")
    identity = found[0].info.run_id if found else mlflow.start_run(run_name=run).info.run_id
    mlflow.end_run()

    def tell(row: dict[str, float]) -> None:
        with mlflow.start_run(run_id=identity):
            mlflow.log_metrics({key.replace("/", "."): value for key, value in row.items()}, step=int(row["step"]))

    return tell
