"""The commands for those who doubt: what they print, where they write, and their exit status."""

from __future__ import annotations

import argparse

import pytest

from robustft.cli import trust
from robustft.cli.parser import CommandLine
from robustft.errors import RobustftError
from robustft.files import read_json, write_json
from tests.provenance.signed import allow, make_key, needs_ssh
from tests.toy_run import copied as _copied
from tests.toy_run import finished as _finished
from tests.toy_run import run_folder as _run_folder

finished, run_folder, copied = _finished, _run_folder, _copied


@pytest.fixture
def command(copied, monkeypatch):
    """Run a command on a copy of a small run; return its exit status."""
    monkeypatch.setattr(trust, "planned", lambda arguments: copied)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")

    def run(*words: str) -> int:
        arguments: argparse.Namespace = CommandLine().parse(words)
        return arguments.run(arguments)

    return run


def test_a_recheck_writes_its_result_beside_and_says_what_it_showed(command, capsys, torch_settings_restored):
    assert command("recheck", "--results", "results/small", "--ledgers", "2", "--seed", "7") == 0
    said = capsys.readouterr()
    assert "2 of " in said.out
    assert "2 identical" in said.out
    assert "this would have shown with 95 % probability" in said.out
    assert "1/3 data:digits: identical, about" in said.err
    path = said.out.split("result: ")[1].splitlines()[0]
    assert path.startswith("rechecks/small/")
    assert read_json(path)["predicate"]["seed"] == "7"


def test_a_difference_is_the_exit_status(command, monkeypatch, copied, capsys):
    ledger = {"claimed": {"population": 2, "drawn": 1}, "others": {"population": 0, "drawn": 0}, "would_show": {}}
    ledger |= {"checked": [{"step": "attack:a", "status": "differs"}]}
    none = {**ledger, "claimed": {"population": 0, "drawn": 0}, "checked": []}
    predicate = {"seed": "1", "sources": {"checked": []}, "ledgers": ledger, "trainings": none, "rule": {}}
    monkeypatch.setattr("robustft.recheck.recheck", lambda *args, **more: {"predicate": dict(predicate)})
    assert command("recheck", "--nonce", "today", "--to", "out.json") == 1
    assert read_json("out.json")["predicate"]["nonce"] == "today"
    assert "attack:a" in capsys.readouterr().out


@pytest.mark.parametrize(("text", "expected"), [("90s", 90), ("10m", 600), ("1.5h", 5400)])
def test_a_duration_has_a_unit(text, expected):
    assert trust.seconds(text) == expected


@pytest.mark.parametrize("words", [["--budget", "10"], ["--budget", "0m"], ["--ledgers", "-1"], ["--ledgers", "many"],
                                   ["--seed", "1", "--nonce", "x"]])  # fmt: skip
def test_a_wrong_amount_is_refused(words):
    with pytest.raises(RobustftError):
        CommandLine().parse(["recheck", *words])


def test_a_folder_without_data_is_no_folder_of_sources(tmp_path):
    with pytest.raises(RobustftError, match="no decoded data"):
        trust.results_folder_of_sources(tmp_path)
    (tmp_path / "results" / "data").mkdir(parents=True)
    assert trust.results_folder_of_sources(tmp_path) == tmp_path / "results"


@needs_ssh
def test_signing_and_verifying_from_one_end_to_the_other(command, capsys, tmp_path):
    key = make_key(tmp_path, "alice")
    assert command("sign", "--key", str(key)) == 0
    said = capsys.readouterr().out
    assert "statement: results/small/signatures/" in said
    assert "signed by: ED25519 key SHA256:" in said
    assert command("verify", "--signers", str(allow(tmp_path, alice=key))) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("VERIFIED")
    assert command("verify", "--no-audit") == 1
    assert "NOT VERIFIED" in capsys.readouterr().out


def test_without_a_key_the_statement_is_written_and_said_not_to_be_signed(command, capsys):
    assert command("sign") == 0
    said = capsys.readouterr().out
    assert "not signed" in said
    assert read_json(said.split("statement: ")[1].splitlines()[0])["predicate"]["content_root"]


def test_results_with_a_broken_link_are_not_signed(command, copied, tmp_path):
    path = copied.step("table", "toy/main").outputs["md"]
    with open(path, "a") as stream:
        stream.write("x")
    with pytest.raises(RobustftError, match="audit of scale small failed"):
        command("sign", "--key", str(tmp_path / "key"))


def test_a_file_that_is_no_statement_is_not_signed(command, tmp_path):
    write_json(tmp_path / "x.json", {})
    with pytest.raises(RobustftError, match="no statement of robustft"):
        command("sign", str(tmp_path / "x.json"), "--key", "k")
