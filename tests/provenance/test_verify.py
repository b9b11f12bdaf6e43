"""Verified is what an allowed signer has signed and what is still here; anything else says why it is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from robustft.provenance.audit import audit
from robustft.provenance.explain import explain
from robustft.provenance.roots import manifest_records
from robustft.provenance.statements import RECHECK, RUN, make_statement, place, read_statement, sign
from robustft.provenance.verify import endorsements, standing, verify
from tests.provenance.signed import allow, make_key, needs_ssh
from tests.toy_run import edit

FOLDER = Path("results/small")
RECORD = "results/small/toy/manifest.record.json"

NONE = {"claimed": {"population": 0, "drawn": 0}, "others": {"population": 5, "drawn": 0}, "checked": []}
AGREED = {"sources": {"checked": []}, "trainings": NONE, "ledgers": {**NONE, "others": {"population": 5, "drawn": 2}}}
"""What a recheck of two ledgers says."""

pytestmark = needs_ssh


@pytest.fixture(autouse=True)
def no_signers_of_this_machine(monkeypatch):
    """The tests' own files of allowed signers only."""
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")


@pytest.fixture
def alice(copied, tmp_path):
    """The results, signed by Alice; her key."""
    key = make_key(tmp_path, "alice")
    sign(place(make_statement(RUN, "small", manifest_records(copied), {}), FOLDER), key)
    return key


def verified(plan, signers=None, *, audited=True):
    return verify(plan, FOLDER, signers=signers, report=audit(plan) if audited else None)


def test_results_that_an_allowed_signer_signed_are_verified(copied, alice, tmp_path):
    found = verified(copied, allow(tmp_path, alice=alice))
    assert found.ok
    assert any(line.strip().startswith("signed by alice (ED25519 key SHA256:") for line in found.lines)
    assert "audit: passed" in found.lines


def test_without_an_audit_it_says_so(copied, alice, tmp_path):
    found = verified(copied, allow(tmp_path, alice=alice), audited=False)
    assert found.ok
    assert any("audit: not made" in line for line in found.lines)


@pytest.mark.parametrize("given", [True, False])
def test_a_key_that_nobody_allows_verifies_nothing(given, copied, alice, tmp_path):
    signers = allow(tmp_path, mallory=make_key(tmp_path, "mallory")) if given else None
    found = verified(copied, signers)
    assert not found.ok
    assert any("nobody's among your allowed signers" in line for line in found.lines)
    assert ("--signers" in found.lines[-1]) is not given


def test_results_run_again_or_changed_since_are_not_what_was_signed(copied, alice, tmp_path):
    edit(RECORD, '"attempt": 1', '"attempt": 2')
    found = verified(copied, allow(tmp_path, alice=alice))
    assert not found.ok
    assert any("results have changed since: toy" in line for line in found.lines)


def test_a_changed_ledger_under_an_unchanged_manifest_is_found_by_the_audit(copied, alice, tmp_path):
    path = Path("results/small/toy/main/high/at/seed0/robustness.1of1.ledger.parquet")
    path.write_bytes(path.read_bytes() + b"\n")
    found = verified(copied, allow(tmp_path, alice=alice))
    assert not found.ok
    assert "the audit has findings" in found.lines[-1]


def test_a_statement_edited_after_it_was_signed_is_called_false(copied, alice, tmp_path):
    (path,) = (FOLDER / "signatures").glob("*.json")
    edit(str(path), '"scale"', '"note": "added", "scale"')
    found = verified(copied, allow(tmp_path, alice=alice))
    assert not found.ok
    assert any("FALSE" in line for line in found.lines)
    assert "IS NOT ITS SIGNATURE" in standing(read_statement(path))


def test_results_without_a_statement_are_not_verified(copied, tmp_path):
    found = verified(copied)
    assert not found.ok
    assert found.lines[-1].startswith("NOT VERIFIED: no statement of these results")


def test_a_recheck_signed_by_an_allowed_signer_is_no_signature_of_the_results(copied, tmp_path):
    key = make_key(tmp_path, "bob")
    sign(place(make_statement(RECHECK, "small", manifest_records(copied), {}), FOLDER), key)
    found = verified(copied, allow(tmp_path, bob=key))
    assert not found.ok
    assert any("in a form that is not known" in line for line in found.lines)


def test_the_verifiers_own_signers_are_those_of_git(copied, alice, tmp_path, monkeypatch):
    (tmp_path / "gitconfig").write_text(f'[gpg "ssh"]\n  allowedSignersFile = {allow(tmp_path, alice=alice)}\n')
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "gitconfig"))
    assert verified(copied).ok


def test_the_audit_does_not_mind_statements_beside_the_results(copied, alice):
    assert audit(copied).findings == []


def test_the_standing_of_a_statement_names_its_keys(copied, alice):
    (path,) = (FOLDER / "signatures").glob("*.json")
    assert standing(read_statement(path)).startswith("signed with the ED25519 key SHA256:")
    for signature in path.parent.glob("*.sig"):
        signature.unlink()
    assert standing(read_statement(path)).startswith("not signed")


def test_what_stands_beside_the_results_is_told_with_its_keys_and_what_has_changed(copied, alice):
    place(make_statement(RECHECK, "small", manifest_records(copied), {"seed": "7", **AGREED}), FOLDER)
    again, signed = endorsements(copied)
    assert signed.label == "Signed results"
    assert "signed with the ED25519 key" in signed.text
    assert again.label == "Run again by a verifier"
    assert again.text.startswith("2 of 5 ledgers, drawn by the seed 7: all agree, root ")
    assert again.text.endswith("not signed, so anybody may have written it")
    edit(RECORD, '"attempt": 1', '"attempt": 2')
    assert all("CHANGED SINCE: toy" in fact.text for fact in endorsements(copied))
    Path(RECORD).unlink()
    assert endorsements(copied) == ()


def test_explain_tells_what_stands_beside_the_results(copied, alice):
    assert "Signed results: these results, root " in explain(copied, "toy/main:at/fgsm")
