"""The facts that all renderers show: each is worded once, and a value names its basis and source."""

from __future__ import annotations

import pytest

from robustft.provenance import facts
from robustft.provenance.facts import Fact, settings
from robustft.provenance.lineage import FileFact
from tests.toy_run import SHA

ORIGINS = {
    "recipe.lr": ["papers/p", "released", "train.sh"],
    "recipe.epochs": ["papers/p", "published", "Table 3"],
    "recipe.decay.rate": ["papers/p", "released", "train.sh"],
    "recipe.compile": ["papers/p", "ours", ""],
}


def test_settings_are_listed_and_their_values_grouped_by_basis_and_source():
    recipe = {"epochs": 60, "lr": 0.1, "decay": {"rate": 0.5}, "compile": False}
    fact = Fact("Recipe", settings=settings(recipe, ORIGINS, "recipe"))
    assert fact.text == "epochs 60, lr 0.1, decay (rate 0.5), compile False"
    assert fact.origin == (
        "epochs: the paper, Table 3; lr, decay.rate: the released code, train.sh; compile: our choice, papers/p"
    )


def test_one_origin_of_all_values_needs_no_names_and_none_is_no_text():
    fact = Fact("Recipe", settings=settings({"lr": 0.1}, ORIGINS, "recipe"))
    assert fact.origin == "the released code, train.sh"
    assert Fact("Recipe", settings=settings({"lr": 0.1}, {}, "recipe")).origin == ""


def test_a_fact_without_value_and_settings_is_none():
    assert Fact("Training attack").text == "none"
    assert (
        Fact("Method", "m:M", settings=settings({"beta": 6.0, "empty": {}}, {}, "")).text == "m:M; beta 6.0, empty none"
    )


@pytest.mark.parametrize(
    ("observed", "end"), [(SHA, "verified"), ("cd" * 32, f"BUT THE FILE NOW HAS {'cd' * 32}"), (None, "IS MISSING")]
)
def test_a_file_is_said_to_be_what_its_record_says_or_not(observed, end):
    text = facts.file_fact("Model", FileFact("a/b", 1234, SHA, observed)).text
    assert text.startswith(f"a/b, 1,234 bytes, SHA-256 {SHA}, ")
    assert text.endswith(end)


def test_a_measurement_names_the_checks_that_failed():
    checks = [
        {"check": "over_eps", "value": 0.5, "limit": 1e-6, "ok": False, "text": "why"},
        {"check": "c", "ok": True},
    ]
    measurement = {"correct": 1, "images": 8, "accuracy": 0.125, "interval": [0.0224, 0.471], "checks": checks}
    assert [fact.text for fact in facts.measurement_facts(measurement)] == [
        "1 of 8 images",
        "12.5 %",
        "2.2 to 47.1 %",
        "1 of 2 failed: over_eps",
    ]
    (failed,) = facts.failed_checks(measurement)
    assert (failed.label, failed.text) == ("over_eps", "0.5, limit 1e-06. why")


def test_a_claim_shows_value_difference_and_margin_as_far_as_it_has_them():
    claim = {"kind": "value", "value": 50.25, "decimals": 2, "margin": 1, "source": "S", "confidence": "direct"}
    interval = {"estimate": 0.01, "low": -0.01, "high": 0.03, "seeds": 3}
    margins = {"at_half_margin": "inconclusive", "at_double_margin": "reproduced"}
    assert [fact.text for fact in facts.claim_facts({**claim, **interval, **margins})] == [
        "50.25",
        "+1.0 [-1.0, +3.0] points, 3 seeds",
        "1 points; at half of it inconclusive, at double reproduced",
        "S",
        "direct",
    ]
    assert facts.published_text({**claim, "value": "missing"}) == "not on record"
    assert [fact.label for fact in facts.claim_facts({**claim, "kind": "ordering"})] == ["Source", "Confidence"]


@pytest.mark.parametrize("verdict", ["reproduced", "holds"])
def test_only_the_papers_own_scale_turns_green(verdict):
    assert facts.tone(verdict, reproduces=True) == "good"
    assert facts.tone(verdict, reproduces=False) == "plain"


def test_what_is_not_judged_is_grey_and_a_reversed_ordering_red():
    assert {facts.tone(one, reproduces=False) for one in ("direction here", "not trained", "not run")} == {"none"}
    assert facts.tone("reversed", reproduces=True) == "bad"


@pytest.mark.parametrize("kind", ["download", "weights", "data", "train", "attack"])
def test_every_step_of_the_papers_own_scale_has_facts(kind, paper_scale):
    steps = paper_scale.plan.of_kind(kind)
    assert steps
    for step in steps:
        found = facts.facts_of(step, paper_scale)
        assert len(found) >= 2
        assert all(fact.label and fact.text for fact in found), step.key


def test_downloaded_weights_name_their_file_its_hash_and_where_it_came_from(paper_scale):
    step = next(one for one in paper_scale.plan.of_kind("weights") if "file" in one.spec["weights"])
    file = paper_scale.plan.config.files[step.spec["weights"]["file"]]
    (fact,) = facts.raw_file_facts(step, paper_scale)
    assert fact.text.startswith(f"{file['name']}, SHA-256 {SHA}, from a mirror, ")
