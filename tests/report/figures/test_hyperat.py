"""HyperAT's figures: bars of single and merged defences, and accuracy against epochs."""

from __future__ import annotations

import pandas as pd
import pytest

from robustft.report.figures import hyperat_iterations, hyperat_merging
from robustft.report.figures.step import Material
from robustft.report.figures.style import save

# method: (title, clean, PGD-20)
ROWS = {
    "lora_at": ("LoRA, PGD-AT", 60.0, 31.0),
    "hyperat_pgd_at": ("HyperAT (PGD-AT)", 62.0, 33.5),
    "specialist_pgd_at": ("Specialist (PGD-AT)", 61.0, 34.0),
    "hyperat_merged": ("HyperAT, merged", 63.0, 36.25),
}
COLORS = dict(zip(ROWS, ("#9CC9E6", "#4A98CC", "#004D7A", "#D55E00"), strict=True))


def bars(datasets=("digits",), *, seeds: int = 3) -> Material:
    cells = [
        {"dataset": dataset, "method": method, "attack": attack, "mean": mean / 100, "sd": 0.01 if seeds > 1 else None}
        for dataset in datasets
        for method, (_, clean, robust) in ROWS.items()
        for attack, mean in (("clean", clean), ("pgd20_uniform", robust))
    ]
    return Material(
        history=pd.DataFrame(columns=["method"]),
        titles={method: title for method, (title, *_) in ROWS.items()},
        colors=COLORS,
        cells=pd.DataFrame(cells),
        order=list(ROWS),
        columns=["clean", "pgd20_uniform"],
        attacks={"clean": "Clean", "pgd20_uniform": "PGD-20 (uniform start)"},
        datasets={dataset: dataset.upper() for dataset in datasets},
    )


def lines() -> Material:
    rows = [
        {"dataset": "d", "method": method, "seed": seed, "epoch": epoch,
         "robust_validation": 0.1 * epoch + 0.02 * seed, "clean_validation": 0.12 * epoch}
        for method in ("lora_at", "hyperat_merged") for seed in (0, 1) for epoch in range(1, 5)
    ]  # fmt: skip
    titles = {method: title for method, (title, *_) in ROWS.items()}
    return Material(history=pd.DataFrame(rows), titles=titles, colors=COLORS, order=["lora_at", "hyperat_merged"])


def written(axes) -> list[str]:
    return [text.get_text() for text in axes.texts]


def test_each_method_has_a_clean_and_a_robust_bar_of_its_own_length_and_colour():
    (axes,) = hyperat_merging.draw(bars(), title="A title").axes
    widths = [patch.get_width() for patch in axes.patches]
    assert widths == [60.0, 62.0, 61.0, 63.0, 31.0, 33.5, 34.0, 36.25]
    assert written(axes) == ["60.0", "62.0", "61.0", "63.0", "31.0", "33.5", "34.0", "36.2"]
    assert [label.get_text() for label in axes.get_yticklabels()] == [title for title, *_ in ROWS.values()]
    assert len({patch.get_facecolor()[:3] for patch in axes.patches}) == 4


def test_there_is_a_panel_for_each_data_set():
    panels = hyperat_merging.draw(bars(("one", "two")), title="A title").axes
    assert [axes.get_title() for axes in panels] == ["ONE", "TWO"]


def test_one_seed_has_no_spread():
    (axes,) = hyperat_merging.draw(bars(seeds=1), title="A title").axes
    assert written(axes)[0] == "60.0"


def test_lines_are_means_over_seeds_in_percent():
    robust, clean = hyperat_iterations.draw(lines(), title="A title").axes
    assert robust.lines[0].get_ydata().tolist() == pytest.approx([11.0, 21.0, 31.0, 41.0])
    assert clean.lines[1].get_ydata().tolist() == pytest.approx([12.0, 24.0, 36.0, 48.0])
    assert robust.lines[0].get_marker() != robust.lines[1].get_marker()  # told apart without colour


@pytest.mark.parametrize(("draw", "material"), [(hyperat_merging.draw, bars), (hyperat_iterations.draw, lines)])
def test_equal_data_give_equal_bytes(draw, material, tmp_path):
    files = []
    for name in ("a", "b"):
        paths = {kind: tmp_path / f"{name}.{kind}" for kind in ("svg", "pdf")}
        save(draw(material(), title="A title"), **paths)
        files.append([path.read_bytes() for path in paths.values()])
    assert files[0] == files[1]
