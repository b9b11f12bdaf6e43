"""HyperAT's bars of single and merged defences."""

from __future__ import annotations

import pandas as pd

from robustft.report.figures import hyperat_merging
from robustft.report.figures.step import Material

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
