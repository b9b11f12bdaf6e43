"""Data that a package ships, verdicts as text and figures are made again: an edit whose hashes agree is named."""

from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file

from robustft.provenance import audit_remade
from robustft.provenance.audit_files import read_records
from robustft.provenance.audit_remade import check_data, check_texts_and_figures
from robustft.provenance.audit_state import AuditState


def told(plan) -> list[str]:
    state = AuditState(plan)
    read_records(state)
    check_data(state)
    check_texts_and_figures(state)
    return [str(finding) for finding in state.report.findings]


def test_what_was_made_is_made_again(finished):
    assert told(finished) == []


def test_test_images_that_are_training_images_are_named(copied):
    """The file of the package was hashed, and not whether decoding it gives this."""
    path = copied.step("data", "digits").outputs["data"]
    with safe_open(path, framework="np") as file:
        about, tensors = file.metadata(), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    tensors["high/test"] = np.resize(tensors["high/train"], len(tensors["high/test"]))
    save_file(tensors, path, metadata=about)
    (found,) = told(copied)
    assert found == f"[wrong-file] {path}: making it again gives other bytes"


@pytest.mark.parametrize("kind", ["md", "html"])
def test_an_edited_verdict_is_named_with_its_line(kind, copied):
    path = Path(f"results/small/toy/verdicts.{kind}")
    path.write_text(path.read_text().replace("AT loses", "AT gains"))
    (found,) = told(copied)
    assert found.startswith(f"[wrong-file] {path}: it has '")
    assert "AT gains" in found.split("making it again gives")[0]


def test_a_figure_of_other_versions_is_a_note(finished, monkeypatch):
    recorded = {"environment": {"packages": {"matplotlib": "0.1"}}}
    monkeypatch.setattr(audit_remade, "environment", lambda: {"packages": {"matplotlib": "3"}})
    assert audit_remade._drawn_elsewhere(recorded) == "with matplotlib 0.1"
