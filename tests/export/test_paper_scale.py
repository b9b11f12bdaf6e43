"""What the papers' own scale has and the small ones have not: downloads, published weights, licences.

Nothing of it has run here, so its records are made up; what is said of a step comes from the plan.
"""

from __future__ import annotations

import pytest

from robustft.config.load import Config
from robustft.export.audit_gate import Standing
from robustft.export.cards import _Card
from robustft.export.facts import facts_of
from robustft.plan import Plan
from robustft.provenance.audit import AuditReport
from robustft.provenance.lineage import Lineage
from robustft.provenance.record import Record

SHA = "ab" * 32


class MadeUp(Lineage):
    """A chain whose records and hashes are made up."""

    def record(self, step):
        def entry(path):
            return {"path": path, "bytes": 1, "sha256": SHA}

        values = {
            "step": {"kind": step.kind, "id": step.id, "spec": step.spec, "spec_sha256": SHA},
            "inputs": {role: entry(path) for role, path in step.inputs.items()},
            "outputs": {role: entry(path) for role, path in step.outputs.items()},
            "source": {"files": {}, "sha256": SHA},
            "environment": {
                "git": {"commit": "c", "clean": True},
                "image": {"name": "train", "base": "cuda"},
                "lock": {"path": "envs/run.txt", "sha256": SHA},
                "packages": {"torch": "2"},
                "python": "3.11",
            },
            "circumstances": {"seconds": 1.0, "processor": "P", "machine": "M", "ended": "E", "came_from": "a mirror"},
        }
        return Record(step.record, SHA, values)

    def hash_all(self, paths):
        self._hashes |= dict.fromkeys(paths, SHA)


@pytest.fixture(scope="module")
def lineage() -> MadeUp:
    return MadeUp(Plan(Config(scale="paper", papers=["twins", "pmg_aft"])))


@pytest.mark.parametrize("kind", ["download", "weights", "data", "train", "attack"])
def test_something_is_told_of_every_step(kind, lineage):
    steps = lineage.plan.of_kind(kind)
    assert steps
    for step in steps:
        facts = facts_of(step, lineage)
        assert len(facts) >= 2
        assert all(isinstance(label, str) and isinstance(text, str) and text for label, text in facts), step.key


def test_a_card_of_published_weights_names_their_file_and_licence(lineage):
    standing = Standing(AuditReport("paper"), reproduces=True)
    for step in lineage.plan.of_kind("weights"):
        text = _Card(lineage, standing, step, []).text()
        assert "A starting point of other runs" in text
        assert f"- Weights {step.id}: " in text
        assert "stand-ins" not in text
        if "file" in step.spec["weights"]:
            name = lineage.plan.config.files[step.spec["weights"]["file"]]["name"]
            assert f"{name}, SHA-256 {SHA}, from a mirror" in text
            assert "not on record" not in text.split("## Licence")[1].split("##")[0]


def test_a_trained_checkpoints_card_names_the_licences_of_weights_and_data_behind_it(lineage):
    standing = Standing(AuditReport("paper"), reproduces=True)
    step = lineage.plan.step("train", "twins/main/cifar10_49000/twins_at/seed0")
    licence = _Card(lineage, standing, step, []).text().split("## Licence")[1]
    assert "- Weights imagenet_linf_4: MIT" in licence
    assert "- Data cifar10: " in licence
