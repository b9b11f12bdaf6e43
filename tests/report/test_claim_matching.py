"""Which measurements a claim is about, and what of a claim a scale changes."""

import copy

import pytest

from robustft.errors import ConfigError
from robustft.report.claim_matching import (
    judged_parts,
    margin_name,
    matching_members,
    operands,
    require_one_measurement,
    resolved,
    sides,
    unmeasured,
)
from robustft.report.claims import expanded
from tests.report.test_claims import DOCUMENT


@pytest.fixture
def document() -> dict:
    return copy.deepcopy(DOCUMENT)


# -- at a scale --------------------------------------------------------------------------------------------------------

DATASETS = {"one": {"source": "s"}, "two": {"source": "s"}, "one_view": {"source": "s"}, "digits": {"source": "d"}}


def here(claims: list[dict], stand_ins: dict[str, str], sources: dict | None = None) -> list[dict]:
    return resolved(claims, stand_ins=stand_ins, datasets=DATASETS, sources=sources or {})


def test_data_sets_are_those_of_the_scale(document):
    one, average = here(expanded(document)[:2], {"one": "one_view"})
    assert (one["dataset"], one["images"]) == ("one_view", {"one_view": 100})
    assert average["datasets"] == ["one_view", "two"]
    assert "stand_in" not in one  # another view of the same source is the published data


def test_another_source_or_a_lossy_copy_is_a_stand_in(document):
    claims = expanded(document)[:2]
    assert [claim.get("stand_in") for claim in here(claims, {"one": "digits"})] == ["digits", "digits"]
    assert [claim.get("stand_in") for claim in here(claims, {"two": "digits"})] == [None, "digits"]
    assert [claim.get("stand_in") for claim in here(claims, {}, {"s": {"lossy": True}})] == ["one", "one"]


def test_claims_are_left_as_they_were(document):
    claims = expanded(document)
    before = copy.deepcopy(claims)
    here(claims, {"one": "digits"})
    assert claims == before


def parts(own: list[dict], document: dict | None, margins: dict[str, str]) -> dict:
    arguments = {"stand_ins": {"one": "one_view"}, "datasets": DATASETS, "sources": {}}
    return judged_parts({"paper": "toy", "claims": own, "margins": margins}, document, **arguments)


OWN = {"id": "o", "kind": "ordering", "experiment": "main", "left": "a", "right": "b", "metric": "clean"}


def test_the_parts_of_a_verdicts_step(document):
    assert parts([OWN], None, {"1 points": "unused"}) == {"claims": [OWN], "margins": {}}
    found = parts([OWN], document, {"1 points": "because"})
    assert [table["id"] for table in found["tables"]] == ["t1", "t2"]
    table = found["tables"][0]
    assert [claim["id"] for claim in table["claims"]] == [claim["id"] for claim in expanded(document)]
    assert table["outside"] == {"other_average": 2, "other_method": 2}
    assert table["claims"][0]["dataset"] == "one_view"
    assert found["tables"][1]["unread"] == "nothing is known of it"
    assert found["margins"] == {"1 points": "because"}


def test_a_margin_needs_a_reason(document):
    with pytest.raises(ConfigError, match=r"a margin without a reason(.|\n)*'1 points'(.|\n)*2 points"):
        parts([OWN], document, {"2 points": "another one"})
    with pytest.raises(ConfigError, match=r"the claim 'o' has a margin(.|\n)*'3 points'"):
        parts([{**OWN, "margin": 3.0}], None, {})
    epochs = {**OWN, "kind": "value", "method": "a", "metric": "epochs_to_best", "value": 40, "margin": 12.5}
    with pytest.raises(ConfigError, match=r"'12.5 epochs'"):
        parts([epochs], None, {"12.5 points": "another unit"})
    assert parts([{**epochs, "value": "missing"}], None, {})["margins"] == {}


def test_a_margin_is_named_with_its_unit():
    assert margin_name({"metric": "clean", "margin": 1.0}) == "1 points"
    assert margin_name({"metric": "trained_parameters", "margin": 425_760.0}) == "425760 parameters"


# -- what measures a claim ---------------------------------------------------------------------------------------------


def member(method: str = "at", dataset: str = "one", evaluation: str = "zero_shot", **more: object) -> dict:
    same = {"experiment": "main", "transfer_eval": True, "attacks": ["pgd"], "ledger": "l", "seed": 0}
    same |= {"trained_on": dataset, "split": "test"}
    return {**same, "method": method, "dataset": dataset, "evaluation": evaluation, **more}


def test_the_operands_of_a_claim():
    ordering = {"kind": "ordering", "left": "a", "right": "b", "metric": "m", "right_metric": "n"}
    assert operands(ordering) == [("a", "m"), ("b", "n")]
    assert operands({"kind": "value", "method": "a", "metric": "m"}) == [("a", "m")]
    best = {**ordering, "right": ["b", "c"]}
    assert operands(best) == [("a", "m"), ("b", "n"), ("c", "n")]
    assert sides(best) == [(["a"], "m"), (["b", "c"], "n")]


@pytest.mark.parametrize(
    ("other", "fits"),
    [
        ({}, True),
        ({"method": "trades"}, False),
        ({"dataset": "two"}, False),
        ({"evaluation": "tuned"}, False),
        ({"experiment": "grid"}, False),
        ({"attacks": ["clean"]}, False),
    ],
)
def test_a_ledger_fits_a_claim_in_all_that_the_claim_names(other, fits, document):
    claim = expanded(document)[0]
    assert bool(matching_members(claim, [member(**other)], ("at", "pgd"))) == fits


def test_without_an_evaluation_a_claim_is_about_the_test_images_of_the_data_set_trained_on(document):
    claim = {key: part for key, part in expanded(document)[0].items() if key != "evaluation"}
    assert not matching_members(claim, [member()], ("at", "pgd"))
    assert matching_members(claim, [member(transfer_eval=False)], ("at", "pgd"))
    assert matching_members({**claim, "experiment": ["grid", "main"]}, [member(transfer_eval=False)], ("at", "pgd"))
    assert not matching_members(claim, [member(transfer_eval=False, split="validation")], ("at", "pgd"))


def test_a_claim_about_two_measurements_is_refused(document):
    """Validation and test images were pooled into one accuracy."""
    claim = {key: part for key, part in expanded(document)[0].items() if key != "evaluation"}
    one, other = member(transfer_eval=False), member(transfer_eval=False, evaluation="again")
    parts_of_one = {**one, "ledger": "second part"}
    validation = {**other, "split": "validation"}
    require_one_measurement([claim], [one, parts_of_one, {**one, "seed": 1}, validation])
    with pytest.raises(ConfigError, match=r"two measurements of at on one(.|\n)*again test; (.|\n)*zero_shot test"):
        require_one_measurement([claim], [one, other])
    require_one_measurement([{**claim, "evaluation": "again"}], [one, other])
    with pytest.raises(ConfigError, match="two measurements"):
        require_one_measurement([{**claim, "evaluation": ["again", "zero_shot"]}], [one, other])
    with pytest.raises(ConfigError, match="two measurements"):  # two runs
        require_one_measurement([{**claim, "experiment": ["main", "grid"]}], [one, {**one, "experiment": "grid"}])


def test_a_claim_is_measured_only_if_each_of_its_data_sets_is(document):
    one, average = expanded(document)[:2]
    told: dict = {"training_metrics": ["epochs_to_best"]}
    assert unmeasured([one, average], [member()], [], **told) == [average["id"]]
    assert unmeasured([one, average], [member(), member(dataset="two")], [], **told) == []
    needed = {**one, "metric": "epochs_to_best"}
    assert unmeasured([needed], [member()], [], **told) == [one["id"]]
    run = {"experiment": "main", "method": "at", "dataset": "one"}
    assert unmeasured([needed], [], [run], **told) == []
    assert unmeasured([{**needed, "experiment": ["main", "grid"]}], [], [run], **told) == [one["id"]]
    gap = {"id": "g", "kind": "ordering", "left": "at", "right": "none", "metric": "pgd", "experiment": "main"}
    assert unmeasured([{**gap, "evaluation": "zero_shot"}], [member()], [], **told) == ["g"]
