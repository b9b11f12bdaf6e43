"""Figures: drawn from histories, equal bytes for equal data."""

import numpy as np
import pandas as pd
import pytest

from pipeline.context import Context
from pipeline.report.figures.step import figure

METHODS = {"at": "AT", "twins_at": "TWINS-AT"}


@pytest.fixture
def drawn(tmp_path):
    inputs, members = {}, []
    for method, groups in (("at", ["all"]), ("twins_at", ["frozen", "adaptive"])):
        for seed in range(2):
            rng = np.random.default_rng(seed)
            rows = pd.DataFrame({"epoch": range(1, 6), "weight_norm": rng.random(5) + 9})
            for group in groups:
                for column in ("gradient_norm", "gradient_over_weight", "relative_step"):
                    rows[f"{column}/{group}"] = rng.random(5) + 0.1
            for column in ("robust_train", "robust_test", "clean_test"):
                rows[column] = rng.random(5)
            path = tmp_path / f"{method}{seed}.csv"
            rows.to_csv(path, index=False)
            inputs[f"{method}{seed}"] = path
            members.append({"history": f"{method}{seed}", "dataset": "d", "method": method, "seed": seed})
    about = {"name": "f", "title": "A title", "caption": "A caption.", "methods": list(METHODS)}
    about["kind"] = "pipeline.report.figures.twins_diagnostics:draw"
    spec = {"scale": "demo", "reproduces": False, "methods": METHODS, "members": members, "figure": about}
    spec["colors"] = {"at": "#0072B2", "twins_at": "#D55E00"}

    def draw(folder: str):
        (tmp_path / folder).mkdir()
        outputs = {role: tmp_path / folder / f"f.{role}" for role in ("svg", "pdf", "caption")}
        figure(spec, Context(inputs, outputs, tmp_path))
        return outputs

    return draw


def test_equal_data_give_equal_bytes(drawn):
    first, second = drawn("a"), drawn("b")
    for role in first:
        assert first[role].read_bytes() == second[role].read_bytes(), role


def test_the_caption_says_what_is_shown_and_what_it_is_not(drawn):
    text = drawn("a")["caption"].read_text()
    for part in ("**A title.** A caption.", "Scale demo", "seeds 0, 1", "not a reproduction"):
        assert part in text
