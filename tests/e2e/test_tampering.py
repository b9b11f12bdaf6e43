"""Broken links of a real run are named by the command: edits of configuration, source, results and the README.

Single files are tampered with in tests/provenance/test_audit.py.
"""

from pathlib import Path

import pytest

RUNS = "results/smoke/twins/main/digits_5to9"


def findings(folder: Path, tools) -> list[str]:
    """Return the audit's findings, `[code] subject: text`; it must fail if there are any."""
    audit = tools["robustft"](folder, "audit", "--scale", "smoke")
    found = [line.removeprefix("broken: ") for line in audit.stdout.splitlines() if line.startswith("broken: ")]
    assert audit.returncode == (1 if found else 0), audit.stdout + audit.stderr
    return found


def flip_byte(path: Path, position: int) -> None:
    data = bytearray(path.read_bytes())
    data[position] ^= 0x01
    path.write_bytes(data)


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text, f"{old!r} is not in {path}"
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


def test_an_edited_configuration_is_named_once(copy_of_finished, tools):
    edit(
        copy_of_finished / "config" / "scales" / "smoke.yaml",
        "lr: 0.02, milestones",
        "lr: 0.03, milestones",
    )
    (found,) = findings(copy_of_finished, tools)
    assert found.startswith("[edited-config] recipe.lr: recorded 0.02, now 0.03 (in train:twins/main/")
    assert found.endswith("and 14 more steps)")


def test_an_edited_pretraining_is_named_once_and_not_for_each_run_that_starts_from_it(copy_of_finished, tools):
    path = copy_of_finished / "config" / "scales" / "demo.yaml"  # which smoke extends
    before, after = path.read_text().split("  digits_at:\n", 1)
    path.write_text(before + "  digits_at:\n" + after.replace("lr: 0.05", "lr: 0.06", 1))
    (found,) = findings(copy_of_finished, tools)
    assert found.startswith("[edited-config] recipe.lr: recorded 0.05, now 0.06 (in train:pretraining/digits_at)")


def test_an_edited_last_record_is_named_by_the_manifest(copy_of_finished, tools):
    record = "results/smoke/twins/tables/main.record.json"
    edit(copy_of_finished / record, '"attempt": 1', '"attempt": 2')
    (found,) = findings(copy_of_finished, tools)
    assert found.startswith(f"[changed-record] {record}:")


def test_an_edited_source_file_is_named(copy_of_finished, tools):
    edit(copy_of_finished / "pipeline" / "robustft" / "methods" / "trades.py", "self.beta * kl", "2 * self.beta * kl")
    (found,) = findings(copy_of_finished, tools)
    assert found.startswith(
        "[edited-source] pipeline/robustft/methods/trades.py: it is not the file that train:twins/main/"
    )


def test_edited_numbers_are_named(copy_of_finished, tools):
    numbers = "results/smoke/twins/numbers.json"
    edit(copy_of_finished / numbers, '"correct": 0', '"correct": 1')
    (found,) = findings(copy_of_finished, tools)
    assert found.startswith(f"[changed-file] {numbers}:")


@pytest.mark.parametrize("content", ["null\n", "[1,\n"])
def test_numbers_that_a_consistent_forger_emptied_are_a_finding(copy_of_finished, tools, content):
    import hashlib

    numbers, record = (copy_of_finished / f"results/smoke/twins/numbers{end}" for end in (".json", ".record.json"))
    old = hashlib.sha256(numbers.read_bytes()).hexdigest()
    numbers.write_text(content)
    edit(record, old, hashlib.sha256(numbers.read_bytes()).hexdigest())
    found = findings(copy_of_finished, tools)
    assert any("] results/smoke/twins/numbers.json:" in line for line in found)


def test_an_edited_figure_is_named(copy_of_finished, tools):
    figure = "results/smoke/twins/figures/diagnostics.svg"
    edit(copy_of_finished / figure, "</svg>", "<!-- --></svg>")
    (found,) = findings(copy_of_finished, tools)
    assert found.startswith(f"[changed-file] {figure}:")


def test_a_number_in_the_readme_that_no_file_backs_is_named(copy_of_finished, tools):
    readme = copy_of_finished / "README.md"
    readme.write_text((readme.read_text() if readme.exists() else "") + "\nWe reach 99.9 % robust accuracy.\n")
    (found,) = findings(copy_of_finished, tools)
    assert found.startswith("[unbound-readme] 99.9 %:")


def test_an_edited_input_stops_the_step_that_reads_it(copy_of_finished, tools):
    """A result that was edited by hand is not built upon: the consumer says so and writes nothing."""
    ledger = copy_of_finished / RUNS / "at/seed1/robustness.1of1.ledger.parquet"
    flip_byte(ledger, 400)
    numbers = copy_of_finished / "results/smoke/twins/numbers.json"
    before = numbers.read_bytes()
    said = tools["robustft"](copy_of_finished, "numbers", "twins", "--scale", "smoke")
    assert said.returncode == 2
    assert "is not what its step wrote" in said.stderr
    assert "expected:" in said.stderr
    assert "observed:" in said.stderr
    assert "to do:" in said.stderr
    assert numbers.read_bytes() == before
