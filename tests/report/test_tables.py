"""Tables: four views of one grid, each of which the audit can read back."""

import csv
import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from robustft.files import PACKAGE, ROOT
from robustft.report.formats import FORMATS, parse_rows
from robustft.report.tables import build_grid, cell_text

SPEC = {
    "scale": "demo",
    "paper": "p",
    "reproduces": False,
    "methods": {"at": "AT", "twins_at": "TWINS-AT & co_1 <b>"},
    "attacks": {
        "clean": "Clean",
        "pgd20": "PGD-20",
        "epochs_to_best": "Epochs to best",
        "trained_parameters": "Trained parameters",
    },
    "datasets": {"d": "Dogs", "e": "Elephants"},
    "budgets": {},
    "rows": ["at", "twins_at"],
    "table": {
        "name": "main",
        "title": "T",
        "experiment": "main",
        "columns": ["clean", "pgd20"],
        "caption": "100 % of it.",
    },
    "shown": {
        "clean": {"evaluation": "robustness", "split": "test"},
        "pgd20": {"evaluation": "robustness", "split": "test", "norm": "linf", "eps": "8/255", "steps": 20},
    },
    "control": "control",
    "deviations": [{"key": "k", "text": "why"}],
    "deviations_elsewhere": 3,
}


def cell(
    method: str,
    attack: str,
    mean: float,
    sd: float | None,
    *,
    dataset: str = "d",
    failed=(),
    transfer_eval: bool = False,
) -> dict:
    key = {"experiment": "main", "dataset": dataset, "method": method, "attack": attack, "transfer_eval": transfer_eval}
    return {
        **key,
        "trained_on": "d" if transfer_eval else dataset,
        "evaluation": "robustness",
        "split": "test",
        "seeds": [0, 1, 2],
        "images": 128,
        "unit": "share",
        "mean": mean,
        "sd": sd,
        "failed_checks": list(failed),
    }


def training(method: str, metric: str, unit: str, mean: float, sd: float | None, **more) -> dict:
    """A cell of what training tells: no images, no failed checks."""
    return {**cell(method, metric, mean, sd), "unit": unit, "images": 0, "evaluation": None, "split": None, **more}


def table(**changes) -> dict:
    """The specification with some parts of its table replaced."""
    return {**SPEC, "table": {**SPEC["table"], **changes}}


NUMBERS = {
    "cells": [
        cell("at", "clean", 0.9714, 0.0049),
        cell("at", "pgd20", 0.6912, 0.034, failed=["probabilities"]),
        cell("twins_at", "clean", 0.9, None),
    ]
}


def test_cell_texts_by_hand():
    assert cell_text(cell("at", "clean", 0.9714, 0.0049)) == "97.1 ± 0.5"
    assert cell_text(cell("at", "clean", 0.9, None)) == "90.0"
    assert cell_text(cell("at", "clean", 0.9, 0.0, failed=["x"])) == "90.0 ± 0.0 †"
    assert cell_text(None) == "not run"


def test_counts_are_whole_and_epochs_are_plain_numbers():
    assert cell_text(training("at", "trained_parameters", "count", 85_802_501.0, 0.0)) == "85,802,501"
    assert cell_text(training("at", "trained_parameters", "count", 999.0, None)) == "999"
    assert cell_text(training("at", "epochs_to_best", "epochs", 12.5, 3.5355)) == "12.5 ± 3.5"
    assert cell_text(training("at", "epochs_to_best", "epochs", 12.0, None)) == "12.0"


def test_the_head_says_threat_attack_split_images_and_seeds_and_notes_the_rest():
    """The first table of TWINS named neither norm nor eps."""
    grid = build_grid(SPEC, NUMBERS)
    assert grid.head == [
        "Accuracy in percent, mean ± sample standard deviation over seeds.",
        "Threat model: Linf, eps 8/255.",
        "Attack: PGD-20, 20 steps.",
        "Evaluation robustness: 128 test images of d; seeds 0, 1, 2.",
        "Scale demo: small stand-ins, not a reproduction of a published number.",
    ]
    notes = "\n".join(grid.notes)
    for text in ("† a sanity check failed", "Deviation k: why"):
        assert text in notes


@pytest.mark.parametrize("kind", ["md", "tex", "html"])
def test_the_head_stands_in_every_format_before_the_rows(kind):
    text = FORMATS[kind](build_grid(SPEC, NUMBERS))
    assert text.index("eps 8/255") < text.index("97.1")
    if kind == "tex":
        assert "eps 8/255" in text[text.index(r"\caption{") : text.index(r"\begin{tabular}")]


def test_several_data_sets_get_a_column():
    both = {"cells": [*NUMBERS["cells"], cell("at", "clean", 0.5, 0.1, dataset="e")]}
    grid = build_grid(SPEC, both)
    assert grid.header[0] == "Data set"
    assert grid.row_names == ["d.at", "d.twins_at", "e.at", "e.twins_at"]


def test_what_training_tells_is_no_basis():
    # It counts no images, and a run of other seeds there would not be one under an attack.
    told = training("at", "epochs_to_best", "epochs", 3.0, 1.0, seeds=[7])
    spec = table(columns=["clean", "epochs_to_best"])
    head = build_grid(spec, {"cells": [cell("at", "clean", 0.9, 0.1), told]}).head
    assert "Evaluation robustness: 128 test images of d; seeds 0, 1, 2." in head


def test_a_budget_that_the_scale_changes_is_told_under_the_columns_that_it_touches():
    budgets = {"pgd20": {"steps": 5, "threat": {"eps": "1/9"}}, "another": {"steps": 1}}
    notes = build_grid({**SPEC, "budgets": budgets}, NUMBERS).notes
    assert "PGD-20 at this scale differs from config/attacks.yaml: steps 5, threat.eps 1/9." in notes
    assert not [note for note in notes if "another" in note]
    assert not [note for note in build_grid(SPEC, NUMBERS).notes if "differs" in note]


def test_metrics_of_training_stand_beside_accuracies_and_a_derived_run_has_a_dash():
    cells = [
        *NUMBERS["cells"],
        training("at", "trained_parameters", "count", 12345.0, 0.0),
        training("twins_at", "trained_parameters", "count", 6.0, 0.0),
        training("at", "epochs_to_best", "epochs", 3.0, 1.0),
    ]
    grid = build_grid(table(columns=["clean", "epochs_to_best", "trained_parameters"]), {"cells": cells})
    assert grid.header == ["Method", "Clean", "Epochs to best", "Trained parameters"]
    assert [row[1:] for row in grid.rows] == [["97.1 ± 0.5", "3.0 ± 1.0", "12,345"], ["90.0", "–", "6"]]
    assert grid.alignment == "lrrr"


def test_only_the_rows_asked_for_are_shown_in_their_order():
    grid = build_grid({**SPEC, "rows": ["twins_at"]}, NUMBERS)
    assert grid.row_names == ["twins_at"]
    assert [row[1:] for row in grid.rows] == [["90.0", "not run"]]
    # An alarm of a row that is not shown is no note of this table.
    assert not [note for note in grid.notes if "sanity check" in note]
    assert build_grid({**SPEC, "rows": ["twins_at", "at"]}, NUMBERS).row_names == ["twins_at", "at"]


def measurement(method: str, dataset: str, seed: int, accuracy: float, *, failed: str = "") -> dict:
    checks = [{"check": failed, "ok": False}] if failed else [{"check": "over_eps", "ok": True}]
    key = {"experiment": "main", "dataset": dataset, "method": method, "attack": "pgd20", "seed": seed}
    key |= {"trained_on": "d", "transfer_eval": True, "evaluation": "robustness", "split": "test"}
    return {**key, "images": 128, "accuracy": accuracy, "checks": checks}


ACROSS = {**table(columns=None, across="datasets", metric="pgd20"), "shown": {"pgd20": SPEC["shown"]["pgd20"]}}
BOTH = {
    "cells": [
        cell("at", "pgd20", 0.99, 0.0),  # on the data set trained on: no part of a table across others
        cell("at", "pgd20", 0.5, 0.1, transfer_eval=True),
        cell("at", "pgd20", 0.25, 0.05, dataset="e", transfer_eval=True),
        cell("at", "clean", 0.99, 0.0, transfer_eval=True),
        cell("at", "clean", 0.99, 0.0, dataset="f", transfer_eval=True),
        cell("twins_at", "pgd20", 0.7, None, transfer_eval=True),
    ],
    "measurements": [
        measurement("at", "d", 0, 0.4),
        measurement("at", "d", 1, 0.6),
        measurement("at", "e", 0, 0.2),
        measurement("at", "e", 1, 0.3),
        measurement("twins_at", "d", 0, 0.7),
        {**measurement("at", "d", 0, 0.99), "attack": "clean"},
        {**measurement("at", "d", 0, 0.99), "experiment": "other"},
        {**measurement("at", "d", 0, 0.99), "transfer_eval": False},
    ],
}


def test_across_data_sets_a_column_is_a_data_set_and_the_last_their_average_by_hand():
    grid = build_grid(ACROSS, BOTH)
    assert grid.header == ["Method", "Dogs", "Elephants", "Average"]
    assert grid.column_names == ["d", "e", "average"]
    assert grid.alignment == "lrrr"
    # Seed 0: (0.4 + 0.2) / 2 = 0.3; seed 1: 0.45. Mean 0.375, sample sd 0.15 / sqrt 2 = 0.1061.
    assert grid.rows[0] == ["AT", "50.0 ± 10.0", "25.0 ± 5.0", "37.5 ± 10.6"]


def test_an_average_over_some_of_the_data_sets_is_not_shown():
    assert build_grid(ACROSS, BOTH).rows[1][1:] == ["70.0", "not run", "not run"]
    missing = {**BOTH, "measurements": [m for m in BOTH["measurements"] if (m["dataset"], m["seed"]) != ("e", 1)]}
    assert build_grid(ACROSS, missing).rows[0][-1] == "not run"  # seed 1 lacks a data set


def test_an_alarm_on_one_data_set_marks_the_average():
    rows = [*BOTH["measurements"][:3], measurement("at", "e", 1, 0.3, failed="probabilities")]
    assert build_grid(ACROSS, {**BOTH, "measurements": rows}).rows[0][-1] == "37.5 ± 10.6 †"


def test_across_data_sets_the_head_counts_them_and_the_control_is_under_the_metric():
    control = {**cell("standard", "pgd20", 0.004, None), "experiment": "control"}
    clean = {**cell("standard", "clean", 0.9, None), "experiment": "control"}
    grid = build_grid(ACROSS, {**BOTH, "cells": [*BOTH["cells"], control, clean]})
    assert "Evaluation robustness: 128 test images of each of 2 data sets; seeds 0, 1, 2." in grid.head
    assert "Undefended control under the same attacks: PGD-20 0.4." in grid.notes


@pytest.mark.parametrize("kind", ["md", "tex", "html"])
def test_a_table_across_data_sets_can_be_read_back_too(kind):
    rows = parse_rows(FORMATS[kind](build_grid(ACROSS, BOTH)), kind)
    assert [len(row) for row in rows] == [4, 4]
    assert rows[0][3].replace(r"$\pm$", "±") == "37.5 ± 10.6"


def test_the_undefended_control_is_shown_under_the_table():
    control = {**cell("standard", "pgd20", 0.004, None), "experiment": "control"}
    grid = build_grid(SPEC, {"cells": [*NUMBERS["cells"], control]})
    assert "Undefended control under the same attacks: PGD-20 0.4." in grid.notes
    assert len(grid.rows) == 2


def test_the_controls_line_holds_accuracies_only():
    """A count of parameters was once shown there, times a hundred."""
    control = {**cell("standard", "pgd20", 0.004, None), "experiment": "control"}
    count = {**training("standard", "trained_parameters", "count", 5000.0, None), "experiment": "control"}
    spec = table(columns=["pgd20", "trained_parameters"])
    notes = build_grid(spec, {"cells": [*NUMBERS["cells"], control, count]}).notes
    assert "Undefended control under the same attacks: PGD-20 0.4." in notes


def test_measurements_on_other_data_sets_are_no_rows_of_a_plain_table():
    """A table of attacks once listed each corrupted test set as further rows, most of them not run."""
    cells = [*NUMBERS["cells"], cell("at", "clean", 0.5, None, dataset="e", transfer_eval=True)]
    assert build_grid(SPEC, {"cells": cells}).rows == build_grid(SPEC, NUMBERS).rows


SELECT = {"evaluation": "select", "split": "validation"}


def of_validation(*cells: dict) -> list[dict]:
    return [{**one, **SELECT, "images": 96} for one in cells]


def test_a_table_shows_one_evaluation_and_its_split():
    """Cells of two evaluations were once laid over each other."""
    both = [*NUMBERS["cells"], *of_validation(cell("at", "clean", 0.125, 0.1), cell("at", "pgd20", 0.125, 0.1))]
    assert build_grid(SPEC, {"cells": both}) == build_grid(SPEC, NUMBERS)
    selecting = {**SPEC, "shown": {name: {**one, **SELECT} for name, one in SPEC["shown"].items()}}
    grid = build_grid(selecting, {"cells": both})
    assert grid.rows[0] == ["AT", "12.5 ± 10.0", "12.5 ± 10.0"]


def records(grid) -> list[dict]:
    return list(csv.DictReader(io.StringIO(FORMATS["csv"](grid))))


def test_the_deviations_that_touch_no_row_are_a_page_away():
    """All of a paper's deviations once stood under each of its tables."""
    grid = build_grid(SPEC, NUMBERS)
    assert FORMATS["md"](grid).endswith("- 3 deviations touch no row here; all are in ../deviations.md\n")
    assert '<a href="../deviations.html">' in FORMATS["html"](grid)
    assert build_grid({**SPEC, "deviations_elsewhere": 0}, NUMBERS).see is None


def test_cells_of_one_seed_have_no_deviation_and_say_so():
    lone = [{**cell("at", "clean", 0.9, None), "seeds": [0]}]
    assert build_grid(SPEC, {"cells": lone}).head[0] == "Accuracy in percent, of one seed."


def test_csv_has_one_line_a_cell_and_one_value_a_field():
    """A field once read "69.1 ± 3.4 †"."""
    found = records(build_grid(SPEC, NUMBERS))
    assert [(one["row"], one["column"]) for one in found] == [
        (row, column) for row in ("at", "twins_at") for column in ("clean", "pgd20")
    ]
    assert found[1] == {
        "row": "at",
        "column": "pgd20",
        "method": "at",
        "trained_on": "d",
        "dataset": "d",
        "attack": "pgd20",
        "evaluation": "robustness",
        "split": "test",
        "norm": "linf",
        "eps": "8/255",
        "eps_decimal": "0.03137254901960784",
        "steps": "20",
        "unit": "share",
        "mean": "0.6912",
        "sd": "0.034",
        "seeds": "3",
        "images": "128",
        "flagged": "1",
    }
    unseeded, not_run = found[2:]
    assert (unseeded["mean"], unseeded["sd"], unseeded["norm"], unseeded["flagged"]) == ("0.9", "", "", "0")
    assert (not_run["mean"], not_run["seeds"], not_run["images"], not_run["flagged"]) == ("", "0", "", "")


def test_csv_across_data_sets_has_a_data_set_for_each_cell_and_none_for_the_average():
    found = records(build_grid(ACROSS, BOTH))
    assert [(one["column"], one["dataset"], one["attack"]) for one in found[:3]] == [
        ("d", "d", "pgd20"), ("e", "e", "pgd20"), ("average", "", "pgd20"),
    ]  # fmt: skip
    assert [float(one["mean"]) for one in found[:3]] == pytest.approx([0.5, 0.25, 0.375])
    assert [one["images"] for one in found[:3]] == ["128", "128", "256"]


def test_across_data_sets_models_trained_on_two_are_two_rows():
    """The cells of one were laid over those of the other."""
    there = [{**one, "trained_on": "t", "mean": 0.125} for one in BOTH["cells"][1:3]]
    measured = [{**one, "trained_on": "t", "accuracy": 0.125} for one in BOTH["measurements"][:4]]
    both = {"cells": BOTH["cells"] + there, "measurements": BOTH["measurements"] + measured}
    grid = build_grid(ACROSS, both)
    assert grid.header[:2] == ["Trained on", "Method"]
    assert grid.row_names == ["d.at", "d.twins_at", "t.at", "t.twins_at"]
    assert [row[-1] for row in grid.rows] == ["37.5 ± 10.6", "not run", "12.5 ± 0.0", "not run"]


def test_a_table_of_validation_images_says_validation_images():
    """HyperAT's search of learning rates once said "test images"."""
    selecting = {**SPEC, "shown": {name: {**one, **SELECT} for name, one in SPEC["shown"].items()}}
    cells = of_validation(cell("at", "clean", 0.5, 0.1), cell("at", "pgd20", 0.25, 0.1))
    text = FORMATS["md"](build_grid(selecting, {"cells": cells}))
    assert "96 validation images" in text
    assert "test" not in text


def backwards(tree):
    """Turn the order of all keys around."""
    if isinstance(tree, dict):
        return {key: backwards(tree[key]) for key in reversed(tree)}
    return [backwards(one) for one in tree] if isinstance(tree, list) else tree


def test_the_order_of_keys_changes_no_table():
    """A specification is compared and kept with sorted keys: a kept table made again from it had its columns moved."""
    shown = {**SPEC["shown"], "aa": {**SPEC["shown"]["pgd20"], "eps": "4/255"}}
    groups = [["F4", [["Selfie", "twins_at"], ["Jigsaw", "at"]]], ["F1", [["Selfie", "at"], ["Jigsaw", "at"]]]]
    table = {**SPEC["table"], "columns": ["pgd20", "clean", "aa"], "groups": groups}
    spec = {**SPEC, "shown": shown, "table": table, "attacks": {**SPEC["attacks"], "aa": "AutoAttack"}}
    spec["budgets"] = {"pgd20": {"steps": 3}, "aa": {"queries": 2, "restarts": 1}}
    cells = [cell(method, attack, 0.5, 0.1) for method in ("at", "twins_at") for attack in shown]
    grid, turned = (build_grid(one, {"cells": cells, "measurements": []}) for one in (spec, backwards(spec)))
    assert turned == grid
    assert grid.header[1] == "Selfie: PGD-20"


WRITE = """
import sys
from pathlib import Path
from robustft.files import read_json, write_json
from robustft.report.formats import FORMATS
from robustft.report.tables import build_grid
from tests.report.measured import World, kept
from tests.report.test_tables import SPEC
folder = Path(sys.argv[1])
world = World(folder)
for method in ("at", "twins_at"):
    for seed in range(3):
        attacks = {"clean": kept(9 - seed, 12), "pgd20": kept(5 + seed, 12)}
        world.add(method, seed, attacks, evaluation="robustness")
numbers = read_json(world.files()["numbers"])
for kind, render in FORMATS.items():
    Path(folder / f"table.{kind}").write_text(render(build_grid(SPEC, numbers)), encoding="utf-8")
"""


def written(folder: Path, **environment: str) -> dict[str, bytes]:
    """Write ledgers, numbers and tables in a process of its own, and return the bytes of its files."""
    folder.mkdir(parents=True)
    done = subprocess.run(
        [sys.executable, "-c", WRITE, str(folder)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": f"{PACKAGE.parent}{os.pathsep}{ROOT}", **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_users_account_changes_no_number_and_no_table(tmp_path):
    """Locale, time zone, encoding, hash seed and width of the terminal are the user's, numbers are not."""
    hostile = {
        "LC_ALL": "de_DE.UTF-8",
        "TZ": "Asia/Tokyo",
        "PYTHONHASHSEED": "7",
        "COLUMNS": "20",
        "HOME": str(tmp_path),
    }
    plain = written(tmp_path / "plain", PYTHONHASHSEED="0")
    assert len(plain) == 6 + 1 + 4
    assert written(tmp_path / "hostile", **hostile, PYTHONUTF8="0", NUMEXPR_MAX_THREADS="1") == plain
    assert written(tmp_path / "ascii", LC_ALL="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0") == plain
