"""A card for each checkpoint, with what was measured of it and nothing else."""

from __future__ import annotations

import re

import pytest
import yaml

from robustft.export.audit_gate import Standing
from robustft.export.cards import _Card, export_cards
from robustft.files import read_json, sha256_file
from robustft.provenance.audit_state import AuditReport
from tests.toy_run import SHA


@pytest.fixture
def folder(finished, tmp_path):
    return export_cards(finished, tmp_path / "cards", log=lambda line: None)


def front(text: str) -> dict:
    head, _, body = text.removeprefix("---\n").partition("\n---\n")
    assert text.startswith("---\n")
    assert body.lstrip().startswith("# ")
    return yaml.safe_load(head)


def test_every_checkpoint_has_a_card_that_is_linked(finished, folder):
    steps = finished.of_kind("train")
    index = (folder / "README.md").read_text(encoding="utf-8")
    cards = {path.parent.relative_to(folder).as_posix() for path in folder.rglob("README.md")} - {"."}
    assert cards == {step.id for step in steps}
    assert all(f"({step.id}/README.md)" in index for step in steps)


def test_a_card_tells_what_was_counted(finished, folder):
    numbers = read_json(finished.step("numbers", "toy").outputs["numbers"])
    text = (folder / "toy/main/high/at/seed0/README.md").read_text(encoding="utf-8")
    mine = [one for one in numbers["measurements"] if (one["method"], one["seed"]) == ("at", 0)]
    assert len(mine) == 4
    results = front(text)["model-index"][0]["results"]
    assert len(results) == 4
    for one, result in zip(mine, results, strict=True):
        assert f"| {one['correct']} of {one['images']} images | {100 * one['accuracy']:.1f} % |" in text
        assert result["metrics"][0]["value"] == round(100 * one["accuracy"], 2)
        assert result["metrics"][0]["verified"] is False
    assert "not a reproduction" in text


def test_a_card_carries_no_raw_html(finished, monkeypatch, tmp_path):
    """Hubs render a card's HTML; a title is data."""
    monkeypatch.setitem(finished.config.baselines["at"], "title", "AT <img src=x onerror=alert(1)> | 99.9")
    folder = export_cards(finished, tmp_path / "cards", log=lambda line: None)
    text = (folder / "toy/main/high/at/seed0/README.md").read_text(encoding="utf-8")
    _, _, body = text.removeprefix("---\n").partition("\n---\n")
    assert r"AT \<img" in body
    assert not re.search(r"(?<!\\)<[A-Za-z/!]", body)


def test_a_card_names_its_checkpoint_and_all_that_is_behind_it_by_hash(finished, folder):
    step = finished.step("train", "toy/main/high/continued/seed1")
    text = (folder / step.id / "README.md").read_text(encoding="utf-8")
    for path in (step.outputs["checkpoint"], step.record, *step.inputs.values()):
        assert f"`{sha256_file(path)}`" in text, path
    assert "09f66e6debdee2cd" in text, "the data file inside scikit-learn"
    assert "CC BY 4.0" in text


def test_a_model_without_a_checkpoint_is_told_of_on_the_cards_of_its_members(folder):
    for name in ("at", "partial"):
        text = (folder / f"toy/main/high/{name}/seed0/README.md").read_text(encoding="utf-8")
        assert "## Models made from it" in text
        assert "`toy/main/high/merged/seed0`" in text
        assert "`toy/main/high/merged/seed1`" not in text
    assert not (folder / "toy/main/high/merged").exists()


def test_a_starting_point_is_said_to_be_one(folder):
    text = (folder / "pretraining/low_standard/README.md").read_text(encoding="utf-8")
    assert "A starting point of other runs" in text
    assert "model-index" not in front(text), "it was not evaluated"
    assert "## What was measured" not in text


def test_a_card_of_published_weights_names_their_file_and_licence(paper_scale):
    standing = Standing(AuditReport("paper"), reproduces=True)
    for step in paper_scale.plan.of_kind("weights"):
        text = _Card(paper_scale, standing, step, []).text()
        assert "A starting point of other runs" in text
        assert f"- Weights {step.id}: " in text
        assert "stand-ins" not in text
        if "file" in step.spec["weights"]:
            name = paper_scale.plan.config.files[step.spec["weights"]["file"]]["name"]
            assert f"{name}, SHA-256 `{SHA}`, from a mirror" in text
            assert "not on record" not in text.split("## Licence")[1].split("##")[0]


def test_a_trained_checkpoints_card_names_the_licences_of_weights_and_data_behind_it(paper_scale):
    standing = Standing(AuditReport("paper"), reproduces=True)
    step = paper_scale.plan.step("train", "twins/main/cifar10_49000/twins_at/seed0")
    licence = _Card(paper_scale, standing, step, []).text().split("## Licence")[1]
    assert "- Weights imagenet_linf_4: MIT" in licence
    assert "- Data cifar10: " in licence
