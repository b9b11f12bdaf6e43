"""Entries in RobustBench's shape: what was measured as text with two decimals, and null for what was not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from robustft.export import models as exported
from robustft.export.cards import export_cards
from robustft.export.models import Measured
from robustft.export.robustbench import export_robustbench
from robustft.files import read_json, sha256_file

SHAPE = {
    "link": str, "name": str, "authors": str, "additional_data": bool, "number_forward_passes": int, "dataset": str,
    "venue": str, "architecture": str, "eps": str, "clean_acc": (str, type(None)), "reported": (str, type(None)),
    "autoattack_acc": (str, type(None)), "footnote": str, "unreliable": bool, "robustft": dict,
}  # fmt: skip


@pytest.fixture
def folder(finished, tmp_path):
    return export_robustbench(finished, tmp_path / "out", log=lambda line: None)


def entries(folder) -> dict:
    return {name: read_json(folder / name) for name in read_json(folder / "index.json")["entries"]}


def test_each_model_has_an_entry_for_each_data_set_and_threat_model(finished, folder):
    found = entries(folder)
    own = [name for name in found if name.startswith("high/Linf/")]
    other = [name for name in found if name.startswith("low/Linf/")]
    assert len(own) == len(other) == len(finished.runs) == 8
    for entry in found.values():
        assert set(entry) == set(SHAPE)
        for key, kind in SHAPE.items():
            assert isinstance(entry[key], kind), key


def test_values_are_those_counted_and_what_was_not_measured_is_null(finished, folder):
    numbers = read_json(finished.step("numbers", "toy").outputs["numbers"])
    counted = {one["id"]: one for one in numbers["measurements"]}
    entry = entries(folder)["high/Linf/toy-main-high-at-seed1.json"]
    clean = counted["main/high/at/seed1/robustness/clean"]
    assert entry["clean_acc"] == f"{100 * clean['correct'] / clean['images']:.2f}"
    assert entry["eps"] == "1/5"
    assert entry["autoattack_acc"] is None
    assert "AutoAttack was not run" in entry["footnote"]
    assert entry["reported"] is None, "a stand-in has no published value"
    assert "not a reproduction" in entry["footnote"]
    attacks = {one["attack"]: one for one in entry["robustft"]["measurements"]}
    assert attacks["fgsm"]["correct"] == counted["main/high/at/seed1/robustness/fgsm"]["correct"]
    other = entries(folder)["low/Linf/toy-main-high-at-seed1.json"]
    assert other["clean_acc"] is None, "only PGD-2 was run there"
    assert "Fine-tuned on high, measured on low." in other["footnote"]


def test_an_alarm_makes_an_entry_unreliable_and_is_named(finished, folder):
    numbers = read_json(finished.step("numbers", "toy").outputs["numbers"])
    for entry in entries(folder).values():
        ids = {
            (one["method"], one["seed"], one["dataset"], check["check"])
            for one in numbers["measurements"]
            for check in one["checks"]
            if not check["ok"]
        }
        method, seed = entry["robustft"]["run"].split("/")[3], entry["robustft"]["seed"]
        failed = {check for m, s, d, check in ids if (m, s, d) == (method, seed, entry["dataset"])}
        assert entry["unreliable"] == bool(failed)
        assert all(check in entry["footnote"] for check in failed)


def test_further_training_data_and_all_checkpoints_are_told(folder):
    entry = entries(folder)["high/Linf/toy-main-high-merged-seed0.json"]
    assert entry["additional_data"] is True, "pre-trained on the low digits"
    assert "Also trained on: low." in entry["footnote"]
    assert len(entry["robustft"]["checkpoints"]) == 2
    assert entry["number_forward_passes"] == 1, "merged weights are one network"
    for file in entry["robustft"]["checkpoints"]:
        assert sha256_file(file["path"]) == file["sha256"]


def autoattack(images: int, **changes) -> Measured:
    attack = {"algorithm": "autoattack", "version": "standard", "target": "exported_model", "title": "AutoAttack"}
    return Measured({"images": images, "checks": []}, {**attack, **changes}, ("linf", "8/255"), ())


def test_only_the_standard_ensemble_on_enough_images_is_autoattack():
    """An AutoAttack with 20 of 5,000 queries was exported as AutoAttack, in `autoattack_acc` and on cards."""
    whole = autoattack(1000)
    assert (whole.standard_autoattack, whole.title) == (True, "AutoAttack")
    assert autoattack(1000, square_queries=5000).standard_autoattack
    named = {
        "Square with 20 of 5,000 queries; 64 images": autoattack(64, square_queries=20),
        "Square with 4,999 of 5,000 queries": autoattack(10000, square_queries=4999),
        "gradients of robustft.models.tunings.prompts:without_prompts": autoattack(
            1000, target="robustft.models.tunings.prompts:without_prompts"
        ),
        "20 of 100 iterations": autoattack(1000, iterations=20),
        "999 images": autoattack(999),
    }
    for words, one in named.items():
        assert not one.standard_autoattack
        assert one.title == f"Reduced AutoAttack ({words})"
    pgd = Measured({"images": 4, "checks": []}, {"algorithm": "pgd", "title": "PGD-20"}, ("linf", "8/255"), ())
    assert (pgd.standard_autoattack, pgd.title) == (False, "PGD-20")


@pytest.mark.parametrize(("images", "expected"), [(1000, "50.00"), (64, None)])
def test_a_reduced_autoattack_is_no_value_of_an_entry_and_is_named_in_its_footnote(
    finished, tmp_path, monkeypatch, images, expected
):
    def measured(lineage, paper, one):
        found = original(lineage, paper, one)
        if one["attack"] != "fgsm":
            return found
        return replace(autoattack(images), values={**one, "images": images, "correct": images // 2, "accuracy": 0.5},
                       threat=found.threat, steps=found.steps)  # fmt: skip

    original = exported._measured
    monkeypatch.setattr(exported, "_measured", measured)
    entry = entries(export_robustbench(finished, tmp_path / "out", log=lambda line: None))[
        "high/Linf/toy-main-high-at-seed1.json"
    ]
    assert entry["autoattack_acc"] == expected
    footnote = "Reduced AutoAttack (64 images): 50.00 %; this is no accuracy under AutoAttack."
    assert (footnote in entry["footnote"]) == (expected is None)
    card = export_cards(finished, tmp_path / "cards", log=lambda line: None) / "toy/main/high/at/seed1/README.md"
    assert ("Reduced AutoAttack (64 images)" in card.read_text(encoding="utf-8")) == (expected is None)
