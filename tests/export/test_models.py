"""The models of a scale: each evaluated run with its measurements."""

from robustft.export.models import models, trained_on
from robustft.files import read_json
from robustft.provenance.lineage import Lineage


def test_every_measurement_belongs_to_one_model(finished):
    numbers = read_json(finished.step("numbers", "toy").outputs["numbers"])
    by_run = {model.run.id: model for model in models(finished, Lineage(finished))}
    assert list(by_run) == [run.id for run in finished.runs]
    assert sum(len(model.measured) for model in by_run.values()) == len(numbers["measurements"])
    model = by_run["toy/main/high/at/seed1"]
    for one in model.measured:
        assert (one.values["method"], one.values["seed"]) == ("at", 1)
        assert one.attack["name"] == one.values["attack"]
        assert one.threat == ("linf", "1/5")
        assert [step.id for step in one.steps] == [ledger["step"] for ledger in one.values["ledgers"]]


def test_failed_checks_are_named(finished):
    for model in models(finished, Lineage(finished)):
        for one in model.measured:
            assert one.failed == [check["check"] for check in one.values["checks"] if not check["ok"]]


def test_training_data_includes_pre_training_and_published_weights(finished, paper_scale):
    lineage = Lineage(finished)
    assert trained_on(lineage.closure([finished.step("train", "toy/main/high/at/seed0")])) == {"high", "low"}
    assert trained_on(paper_scale.plan.of_kind("weights")) == {"published weights"}
