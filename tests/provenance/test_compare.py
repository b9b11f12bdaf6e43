"""Two results folders: cells equal, within spread or different; flipped verdicts; bytes; and folders that are none."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from robustft.cli import main
from robustft.errors import RobustftError
from robustft.files import digest_of, sha256_file, write_json
from robustft.provenance.compare import Comparison, spread
from robustft.report.content import content_root
from robustft.report.numbers import CELL

AT = ("main", "cars", "robustness", "test", "cars", False, "at", "pgd10")
EPOCHS = ("main", "cars", None, None, "cars", False, "at", "epochs")


def cell(key, values, *, images=100, unit="share"):
    mean = sum(values) / len(values)
    sd = math.sqrt(sum((v - mean) ** 2 for v in values) / (len(values) - 1)) if len(values) > 1 else None
    return {**dict(zip(CELL, key, strict=True)), "mean": mean, "sd": sd, "seeds": list(range(len(values))),
            "images": images, "unit": unit}  # fmt: skip


def numbers(*cells, ledger="0" * 64):
    measurements = [
        {**{part: one[part] for part in CELL}, "seed": seed, "accuracy": one["mean"], "images": one["images"],
         "ledgers": [{"step": "x", "sha256": ledger}]}
        for one in cells for seed in one["seeds"] if one["unit"] == "share"
    ]  # fmt: skip
    return {"scale": "demo", "measurements": measurements, "trainings": [], "cells": list(cells)}


def folder(path: Path, *cells, verdict="holds", output=b"checkpoint", processor="P", ledger="0" * 64) -> Path:
    """A results folder with one paper, and one step with its record."""
    write_json(path / "toy" / "numbers.json", numbers(*cells, ledger=ledger))
    write_json(path / "toy" / "verdicts.json", {"verdicts": [{"id": "better", "verdict": verdict}]})
    file = path / "toy" / "checkpoint.safetensors"
    file.write_bytes(output)
    spec, source = {"seed": 0}, {"a.py": "1" * 64}
    entry = {"path": "results/demo/toy/checkpoint.safetensors", "sha256": sha256_file(file), "bytes": len(output)}
    write_json(
        path / "toy" / "checkpoint.record.json",
        {
            "schema": "robustft-record-1",
            "step": {"kind": "train", "id": "toy", "spec": spec, "spec_sha256": digest_of(spec)},
            "inputs": {},
            "outputs": {"checkpoint": entry},
            "source": {"files": source, "sha256": digest_of(source)},
            "environment": {"git": {}, "image": None, "lock": {}, "packages": {"torch": "2"}, "python": "3"},
            "circumstances": {"vouchers": {}, "seconds": 1, "attempt": 1, "started": "", "ended": "",
                              "processor": processor, "machine": "x86_64", "host": str(path)},
        },
    )  # fmt: skip
    return path


@pytest.fixture
def compared(tmp_path):
    """Compare a folder with one that differs from it by some arguments."""

    def compare(one, other, a=None, b=None):
        return Comparison(folder(tmp_path / "a", *one, **(a or {})), folder(tmp_path / "b", *other, **(b or {})))

    return compare


def statuses(comparison):
    return [pair.status for pair in comparison.pairs]


def test_two_equal_runs_have_one_content_root_whatever_their_ledgers_hosts_and_orders_are(compared):
    cells = [cell(AT, [0.5, 0.6, 0.7]), cell(EPOCHS, [3.0, 4.0], images=0, unit="epochs")]
    found = compared(cells, cells[::-1], b={"ledger": "1" * 64})
    assert statuses(found) == ["equal", "equal"]
    assert found.a.content_root == found.b.content_root
    assert found.same


def test_the_content_root_changes_with_any_number():
    one, other = numbers(cell(AT, [0.5, 0.6])), numbers(cell(AT, [0.5, 0.61]))
    assert content_root({"toy": one}) != content_root({"toy": other})
    assert content_root({"toy": one}) != content_root({"car": one})


def test_the_spread_of_several_seeds_is_students():
    a, b = cell(AT, [0.5, 0.6, 0.7]), cell(AT, [0.6, 0.7, 0.8])
    # Both have s = 0.1: 2.776 (t of 4 degrees of freedom) x sqrt(0.01/3 + 0.01/3).
    assert spread(a, b) == pytest.approx(2.776445 * math.sqrt(0.02 / 3), rel=1e-6)


def test_the_spread_of_one_seed_is_the_sampling_of_its_images():
    # Of 96 images and 2 successes and failures more: (48 + 2) / 100 = 0.5, variance 0.25 / 100 each.
    a = cell(AT, [0.5], images=96)
    assert spread(a, a) == pytest.approx(1.959964 * math.sqrt(2 * 0.25 / 100), rel=1e-6)
    assert spread(cell(EPOCHS, [3.0], unit="epochs"), cell(EPOCHS, [4.0], unit="epochs")) == 0


@pytest.mark.parametrize(
    ("other", "status"),
    [
        (cell(AT, [0.5, 0.6, 0.7]), "equal"),
        (cell(AT, [0.6, 0.7, 0.8]), "within spread"),
        (cell(AT, [0.8, 0.9, 1.0]), "differs"),
        (cell(AT, [0.5, 0.6, 0.7], images=99), "differs"),
        (cell((*AT[:-1], "clean"), [0.5, 0.6, 0.7]), "only in A"),
    ],
)
def test_a_cell_is_equal_within_the_spread_or_different(compared, other, status):
    found = compared([cell(AT, [0.5, 0.6, 0.7])], [other])
    assert statuses(found)[0] == status
    assert found.same == (status in ("equal", "within spread"))


def test_validation_and_test_images_are_different_cells(compared):
    validation = cell(("main", "cars", "select", "validation", *AT[4:]), [0.5, 0.6])
    assert statuses(compared([cell(AT, [0.5, 0.6])], [validation])) == ["only in A", "only in B"]


def test_a_flipped_verdict_is_a_difference(compared):
    found = compared([cell(AT, [0.5])], [cell(AT, [0.5])], b={"verdict": "inconclusive"})
    assert found.flipped == {"toy/better": ("holds", "inconclusive")}
    assert not found.same


@pytest.mark.parametrize(
    ("change", "unrepeated"),
    [({}, []), ({"output": b"other"}, ["train:toy"]), ({"output": b"other", "processor": "Q"}, [])],
)
def test_on_one_kind_of_machine_a_step_must_repeat_byte_for_byte(compared, change, unrepeated):
    found = compared([cell(AT, [0.5])], [cell(AT, [0.5])], b=change)
    assert found.unrepeated == unrepeated
    assert found.bytes == {"different" if change else "equal": 1}
    assert found.same == (not unrepeated)


def test_the_command_says_it_in_words_in_json_and_by_its_exit_status(tmp_path, capsys):
    folder(tmp_path / "a", cell(AT, [0.5, 0.6, 0.7]))
    folder(tmp_path / "b", cell(AT, [0.8, 0.9, 1.0]), verdict="inconclusive")
    a, b = str(tmp_path / "a"), str(tmp_path / "b")
    assert main(["compare", a, a]) == 0
    assert capsys.readouterr().out.endswith("EQUAL: the same numbers\n")
    assert main(["compare", a, b]) == 1
    said = capsys.readouterr().out
    cell_line = "toy/main/cars/at/pgd10 (robustness test): 60.00 +- 10.00 % on 100 images against 90.00 +- 10.00 %"
    assert cell_line in said
    assert "toy/better: holds in A, inconclusive in B" in said
    assert said.endswith("DIFFERENT\n")
    assert main(["compare", a, b, "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert (found["same"], found["cells"][0]["status"], found["scale"]) == (False, "differs", "demo")


def test_a_folder_that_holds_no_results_is_an_error_that_names_the_one_that_was_meant(tmp_path, capsys):
    good = folder(tmp_path / "checkout" / "results" / "demo", cell(AT, [0.5]))
    for wrong in (tmp_path / "checkout", tmp_path / "checkout" / "results"):
        assert main(["compare", str(wrong), str(good)]) == 2
        assert f"did you mean {good}?" in capsys.readouterr().err
    assert main(["compare", str(tmp_path / "nowhere"), str(good)]) == 2
    assert "no such folder" in capsys.readouterr().err


def test_folders_of_two_scales_and_numbers_of_another_version_are_errors(tmp_path):
    good, other = folder(tmp_path / "a", cell(AT, [0.5])), folder(tmp_path / "b", cell(AT, [0.5]))
    write_json(other / "toy" / "numbers.json", {**numbers(cell(AT, [0.5])), "scale": "smoke"})
    with pytest.raises(RobustftError, match="of different scales"):
        Comparison(good, other)
    old = {key: value for key, value in cell(AT, [0.5]).items() if key != "split"}
    write_json(other / "toy" / "numbers.json", {**numbers(), "cells": [old]})
    with pytest.raises(RobustftError, match=r"not of this version[\s\S]*'split'"):
        Comparison(good, other)
