"""Statements: about one root, in the in-toto form, and refused where they contradict themselves."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from robustft.errors import IntegrityError
from robustft.files import digest_of, write_json
from robustft.provenance.record import read_record
from robustft.provenance.roots import manifest_records
from robustft.provenance.statements import (
    RECHECK,
    RUN,
    beside,
    make_statement,
    place,
    read_statement,
    run_statement,
    sign,
)
from tests.provenance.signed import make_key, needs_ssh

MANIFESTS = {"toy": "a" * 64, "other": "b" * 64}


def test_a_statement_has_the_form_of_in_toto_and_names_the_manifests_records():
    made = make_statement(RECHECK, "small", MANIFESTS, {"seed": "1"})
    assert made["_type"] == "https://in-toto.io/Statement/v1"
    assert made["predicateType"] == "urn:robustft:recheck:1"
    name = "results/small/toy/manifest.record.json"
    assert {"name": name, "digest": {"sha256": "a" * 64}} in made["subject"]
    about = {"scale": "small", "papers": ["other", "toy"], "root": digest_of(MANIFESTS), "seed": "1"}
    assert made["predicate"] == about


def test_what_was_run_is_told_from_the_records_and_is_the_same_each_time(finished):
    def statement():
        records = (read_record(step.record).values for step in finished.steps.values())
        return run_statement("small", manifest_records(finished), records, content_root="c")

    predicate = statement()["predicate"]
    assert statement() == statement()
    assert (predicate["steps"], predicate["content_root"]) == (len(finished.steps), "c")
    assert predicate["outside_images"] + len(predicate["images"]) > 0
    assert predicate["started"] <= predicate["ended"]
    assert len(predicate["commits"]) == 1


def test_a_statement_is_read_as_it_was_placed(tmp_path):
    path = place(make_statement(RUN, "small", MANIFESTS, {}), tmp_path)
    assert path == tmp_path / "signatures" / f"{digest_of(MANIFESTS)[:16]}.json"
    read = read_statement(path)
    assert (read.kind, read.scale, read.manifests, read.root) == (RUN, "small", MANIFESTS, digest_of(MANIFESTS))
    assert read.changed({**MANIFESTS, "toy": "c" * 64}) == ["toy"]
    assert read.changed(MANIFESTS) == []


@pytest.mark.parametrize(
    "edit",
    [
        lambda one: one.clear(),
        lambda one: one["predicate"].update(root="0" * 64),
        lambda one: one["predicate"].update(scale="paper"),
        lambda one: one["subject"].pop(),
        lambda one: one["subject"][0].update(name="/etc/passwd"),
        lambda one: one.update(predicateType="https://slsa.dev/provenance/v1"),
        lambda one: one.update(subject=7),
    ],
)
def test_a_statement_that_contradicts_itself_is_refused_and_listed(edit, tmp_path):
    content = make_statement(RUN, "small", MANIFESTS, {})
    edit(content)
    write_json(tmp_path / "signatures" / "x.json", content)
    with pytest.raises(IntegrityError):
        read_statement(tmp_path / "signatures" / "x.json")
    statements, problems = beside(tmp_path)
    assert statements == []
    assert len(problems) == 1
    assert problems[0].startswith(str(tmp_path / "signatures" / "x.json"))


@pytest.mark.parametrize("text", ["no JSON", "[]", "null", "1"])
def test_any_other_file_is_refused(text, tmp_path):
    (tmp_path / "rechecks").mkdir()
    (tmp_path / "rechecks" / "x.json").write_text(text)
    assert [statements for statements, _ in [beside(tmp_path)]] == [[]]


@needs_ssh
def test_two_signers_sign_one_statement_beside_each_other(tmp_path):
    path = place(make_statement(RUN, "small", MANIFESTS, {}), tmp_path)
    before = path.read_bytes()
    signatures = {sign(path, make_key(tmp_path, name))[0] for name in ("alice", "bob")}
    assert len(signatures) == 2
    assert set(read_statement(path).signatures) == signatures
    assert {signature.name.split(".")[0] for signature in signatures} == {path.stem}
    assert path.read_bytes() == before
    assert json.loads(before)["predicate"]["root"]
    assert not list(Path(path.parent).glob("*.new.sig"))
